//! What writing to devices and to files in their place takes on Linux.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use cardkeep_block::Extent;
use rustix::fs::{FallocateFlags, fallocate};

use super::opening::{drop_cache, open_direct};

/// `BLKRRPART`, `_IO(0x12, 95)`: linux/fs.h.
const BLKRRPART: libc::Ioctl = 0x125f;

/// Opens a block device for writing and reading, exclusively, past the page cache where the
/// system lets us; tells whether it did. Without `O_CREAT`, `O_EXCL` fails where anything has
/// claimed the device or one of its partitions: open(2).
pub(crate) fn open_device(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    open_direct(options.read(true).write(true), path, libc::O_EXCL)
}

/// Returns the number of the special file that `path` leads to, where it does.
pub(crate) fn device_number(path: &Path) -> Option<u64> {
    // What can't be looked at is no device that could be compared.
    number_of(&path.metadata().ok()?)
}

/// Returns the number of a block device's special file.
pub(crate) fn number_of(metadata: &Metadata) -> Option<u64> {
    metadata
        .file_type()
        .is_block_device()
        .then(|| metadata.rdev())
}

/// Returns the numbers of a file's filesystem and inode, by which it is one file under all names.
pub(crate) fn file_identity(metadata: &Metadata) -> Option<(u64, u64)> {
    Some((metadata.dev(), metadata.ino()))
}

pub(crate) use super::loop_devices::expect_no_device;
pub(crate) use super::other_users::other_user;

/// Opens a file to look at it: whatever has its name by now is not waited for.
pub(crate) fn open_to_look(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Makes the bytes of `extent` zero by the fastest sure way, and tells whether one was open. A
/// refusal is no error: plain writes will do, or will say what is wrong.
///
/// On devices the kernel asks for whole sectors. Punching zeroes by the device's own command or
/// fails (`BLKDEV_ZERO_NOFALLBACK`), and zeroing a range falls back to writing zeros within the
/// kernel (`BLKDEV_ZERO_NOUNMAP`); both forget what the page cache held: block/fops.c,
/// `blkdev_fallocate`, read 2026-11. A device that lies about its command is found out by reading
/// back alone. In files both leave bytes that read as zero: fallocate(2).
pub(crate) fn zero(file: &File, extent: Extent) -> bool {
    let ways = [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE];
    ways.into_iter().any(|way| {
        let flags = way | FallocateFlags::KEEP_SIZE;
        fallocate(file, flags, extent.start(), extent.len()).is_ok()
    })
}

/// Returns once all that was written is durable, on the medium and not in its cache either.
pub(crate) fn make_durable(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Drops what the page cache holds of the file.
pub(crate) fn forget(file: &File) -> io::Result<()> {
    drop_cache(file, Extent::between(0, u64::MAX))
}

/// Makes the kernel read the device's partition table anew.
#[allow(unsafe_code)]
pub(crate) fn reread_partitions(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open while `file` is borrowed; the request takes no argument.
    match unsafe { libc::ioctl(file.as_raw_fd(), BLKRRPART, 0) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // A device whose partitions the kernel does not look for, as loop devices are by
            // default: block/genhd.c, `disk_scan_partitions`.
            error if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            error => Err(error),
        },
    }
}
