//! Who else uses a file that is to be overwritten: a program that holds a lock on it, or has it open for
//! writing, and the system that swaps to it.

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::file_id::FileId;

use super::swaps;

/// The signal by which the kernel tells of somebody who waits for the lease: one that nobody dies of.
const HARMLESS: libc::c_int = libc::SIGURG;
/// `F_SETSIG`: asm-generic/fcntl.h.
const F_SETSIG: libc::c_int = 10;
/// `F_OFD_GETLK`: asm-generic/fcntl.h. Asks without regard to this process's own locks of the older kind.
const F_OFD_GETLK: libc::c_int = 36;

/// Returns what another process does with a file, in words; `None` where nothing is known of any.
pub(crate) fn other_user(file: &File) -> Option<&'static str> {
    if is_locked(file) {
        return Some("another program holds a lock on it");
    }
    if is_written(file) {
        return Some("another program has it open for writing");
    }
    is_swap(file).then_some("the system swaps to it")
}

/// Tells whether a file is swap space in use: `/proc/swaps`. One whose name there leads elsewhere by now
/// is refused by the kernel when it is opened for writing: `ETXTBSY`.
fn is_swap(file: &File) -> bool {
    // The kernel itself refuses to write to a swap file (`ETXTBSY`): this only says so earlier.
    let own = file
        .metadata()
        .ok()
        .and_then(|it| FileId::from_metadata(&it));
    let table = std::fs::read("/proc/swaps").unwrap_or_default();
    let mut swaps = swaps::parse(&table).into_iter();
    own.is_some() && swaps.any(|path| FileId::of_path(&path) == own)
}

/// Tells whether somebody holds a lock of fcntl(2) on any byte of the file, as QEMU does on the images of
/// its machines.
#[allow(unsafe_code)]
fn is_locked(file: &File) -> bool {
    // SAFETY: the type is plain numbers, of which all zeros are a valid value: the whole file.
    let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
    // OK to cast: both are small constants, whatever width the platform gives the fields.
    wanted.l_type = libc::F_WRLCK as _;
    wanted.l_whence = libc::SEEK_SET as _;
    // SAFETY: the descriptor is open while `file` is borrowed; the call fills the record that it is given
    // and keeps no pointer to it.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), F_OFD_GETLK, &raw mut wanted) };
    // OK to cast: as above.
    asked == 0 && i32::from(wanted.l_type) != libc::F_UNLCK
}

/// Tells whether somebody has the file open for writing: then the kernel refuses a lease on it, fcntl(2),
/// "Leases". The file must be open for reading alone.
#[allow(unsafe_code)]
fn is_written(file: &File) -> bool {
    let number = file.as_raw_fd();
    // SAFETY: the descriptor is open while `file` is borrowed; the calls take numbers.
    unsafe {
        if libc::fcntl(number, F_SETSIG, HARMLESS) != 0 {
            return false;
        }
        if libc::fcntl(number, libc::F_SETLEASE, libc::F_RDLCK) == 0 {
            libc::fcntl(number, libc::F_SETLEASE, libc::F_UNLCK);
            return false;
        }
    }
    // Whoever owns neither the file nor the right to ask gets another answer, as do network shares.
    std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::other_user;
    use std::fs::File;

    #[test]
    fn who_writes_a_file_is_seen_as_long_as_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.img");
        let writer = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(
            other_user(&file),
            Some("another program has it open for writing")
        );
        drop(writer);
        assert_eq!(other_user(&file), None);
        // Again: the lease that was asked for is gone.
        assert_eq!(other_user(&file), None);
        let reader = File::open(&path).unwrap();
        assert_eq!(other_user(&file), None);
        drop(reader);
    }
}
