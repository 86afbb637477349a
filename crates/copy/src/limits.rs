//! How much may be under way at once: what bounds memory and keeps the card busy.

use cardkeep_image::FRAME_BYTES;

/// Free gaps up to this are read through rather than skipped: at 45 MB/s that costs 0.7 ms. On the
/// lab card it adds 0.6 % to what is read (measured); what a request costs on a real card's reader
/// is an estimate. Only speed depends on it.
pub const READ_THROUGH_BYTES: u64 = 32 * 1024;

/// A worker needs its frame's compressor (some 5 MiB) and two buffers; more than this would break
/// the bound of 128 MiB without making any card faster.
const WORKERS_MAX: usize = 6;
/// Two requests in flight keep a card busy while one of them is being handed on.
const READERS: usize = 2;

/// The sizes of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads that read the source.
    pub readers: usize,
    /// Threads that digest and compress.
    pub workers: usize,
    /// Free gaps up to this many bytes are read through.
    pub read_through_bytes: u64,
}

impl Limits {
    /// Returns the limits for a machine with `cores` processors.
    #[must_use]
    pub fn for_cores(cores: usize) -> Self {
        Self {
            readers: READERS,
            workers: cores.clamp(1, WORKERS_MAX),
            read_through_bytes: READ_THROUGH_BYTES,
        }
    }

    /// Returns the number of buffers for frames that were read and not yet compressed.
    #[must_use]
    pub const fn buffer_count(&self) -> usize {
        self.workers + self.readers + 2
    }

    /// Returns how many frames may be under way at once between reader and writer.
    #[must_use]
    pub const fn frames_in_flight(&self) -> usize {
        self.buffer_count() + 2
    }

    /// Returns an upper bound of the memory that frames and pieces take, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        (self.buffer_count() + self.frames_in_flight()) * FRAME_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn memory_stays_below_the_bound_on_any_machine() {
        for cores in [0, 1, 2, 4, 8, 64, 1000] {
            let limits = Limits::for_cores(cores);
            // The rest of the 128 MiB: compressors, the map, the verifier, the program.
            assert!(limits.memory_bytes() <= 96 << 20, "{limits:?}");
            assert!(limits.workers >= 1);
        }
    }
}
