//! What writing to devices and to files in their place takes on macOS.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use cardkeep_block::Extent;

use crate::refusal::Refusal;

use super::opening::opened_path;

/// `DKIOCSYNCHRONIZECACHE`, `_IO('d', 22)`: sys/disk.h.
const DKIOCSYNCHRONIZECACHE: libc::c_ulong = 0x2000_6416;

/// Opens a disk for writing and reading by its raw device, which takes aligned requests alone; so
/// it tells. The lock fails at once where another program holds one, and the system refuses to
/// open a disk for writing from which anything is mounted.
pub(crate) fn open_device(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let file = options
        .custom_flags(libc::O_EXLOCK | libc::O_NONBLOCK)
        .open(opened_path(path))?;
    rustix::fs::fcntl_nocache(&file, true)?;
    Ok((file, true))
}

/// Returns the number of the special file that is opened for `path`, where there is one.
pub(crate) fn device_number(path: &Path) -> Option<u64> {
    number_of(&opened_path(path).metadata().ok()?)
}

/// Returns the number of a device's special file. Raw disks are character devices.
pub(crate) fn number_of(metadata: &Metadata) -> Option<u64> {
    let kind = metadata.file_type();
    (kind.is_block_device() || kind.is_char_device()).then(|| metadata.rdev())
}

/// Returns the numbers of a file's filesystem and inode, by which it is one file under all names.
pub(crate) fn file_identity(metadata: &Metadata) -> Option<(u64, u64)> {
    Some((metadata.dev(), metadata.ino()))
}

/// Refuses nothing: macOS has no cheap way to tell which files are attached as disks.
pub(crate) fn expect_no_device(_: &Path, _: &Metadata) -> Result<(), Refusal> {
    Ok(())
}

/// Opens a file to look at it: whatever has its name by now is not waited for.
pub(crate) fn open_to_look(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Returns `None`: macOS has no leases.
pub(crate) fn other_user(_: &File) -> Option<&'static str> {
    None
}

/// Returns `false`: zeros are written. Raw disks know no other way.
pub(crate) fn zero(_: &File, _: Extent) -> bool {
    false
}

/// Returns once all that was written is durable. For files the standard library asks for
/// `F_FULLFSYNC`, which empties the medium's own cache too: fcntl(2). Raw disks have no cache but
/// that one.
pub(crate) fn make_durable(file: &File) -> io::Result<()> {
    match number_of(&file.metadata()?) {
        None => file.sync_all(),
        Some(_) => synchronize_cache(file),
    }
}

#[allow(unsafe_code)]
fn synchronize_cache(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open while `file` is borrowed; the request takes no argument.
    match unsafe { libc::ioctl(file.as_raw_fd(), DKIOCSYNCHRONIZECACHE) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // A device that doesn't know the request has no cache to empty.
            error if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::ENOTSUP)) => Ok(()),
            error => Err(error),
        },
    }
}

/// Does nothing: the file was opened so that its reads leave nothing in the cache.
pub(crate) fn forget(_: &File) -> io::Result<()> {
    Ok(())
}

/// Does nothing: the system reads the partition table anew when a written disk is closed.
pub(crate) fn reread_partitions(_: &File) -> io::Result<()> {
    Ok(())
}
