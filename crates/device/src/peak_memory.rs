//! How much memory the program took at its fullest, for benchmarks and the promise that it is
//! bounded.

/// Returns the largest resident size of this process so far in bytes, where the system tells.
#[cfg(unix)]
#[must_use]
#[allow(unsafe_code)]
pub fn peak_memory_bytes() -> Option<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a `rusage` of ours, which getrusage(2) fills.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: all fields are integers, for which the zeros it began with are valid too.
    let usage = unsafe { usage.assume_init() };
    // The same field counts KiB on Linux and bytes on macOS: getrusage(2) of either.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    // A figure for people: where there is none, none is shown.
    let peak = u64::try_from(usage.ru_maxrss).ok()?;
    (result == 0 && peak > 0).then(|| peak.saturating_mul(unit))
}

/// Returns `None`: not asked for on this platform.
#[cfg(not(unix))]
#[must_use]
pub fn peak_memory_bytes() -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::peak_memory_bytes;

    #[test]
    fn the_peak_rises_with_what_is_touched() {
        let before = peak_memory_bytes().unwrap();
        let filled = std::hint::black_box(vec![1_u8; 256 << 20]);
        let after = peak_memory_bytes().unwrap();
        assert!(
            filled.len() == 256 << 20 && after >= before + (64 << 20),
            "{before} {after}"
        );
    }
}
