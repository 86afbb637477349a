//! What opening devices and files takes on macOS beyond the standard library.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cardkeep_block::{BlockError, Extent, Monitor};

use crate::purpose::Purpose;

/// `DKIOCGETBLOCKSIZE`, `_IOR('d', 24, uint32_t)`: sys/disk.h.
const DKIOCGETBLOCKSIZE: libc::c_ulong = 0x4004_6418;
/// `DKIOCGETBLOCKCOUNT`, `_IOR('d', 25, uint64_t)`: sys/disk.h.
const DKIOCGETBLOCKCOUNT: libc::c_ulong = 0x4008_6419;

/// Returns the raw device's path for a buffered one: `/dev/rdisk4` for `/dev/disk4`. The buffered
/// device goes through small blocks of a cache and reads many times slower.
pub(super) fn opened_path(path: &Path) -> PathBuf {
    let rest = path
        .to_str()
        .and_then(|path| path.strip_prefix("/dev/disk"));
    rest.map_or_else(
        || path.to_path_buf(),
        |rest| PathBuf::from(format!("/dev/rdisk{rest}")),
    )
}

/// Opens a disk read-only by its raw device, which takes aligned requests alone; so it tells.
pub(crate) fn open_device(path: &Path, exclusive: bool) -> io::Result<(File, bool)> {
    let flags = if exclusive {
        libc::O_EXLOCK | libc::O_NONBLOCK
    } else {
        0
    };
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(flags)
        .open(opened_path(path))?;
    rustix::fs::fcntl_nocache(&file, true)?;
    Ok((file, true))
}

/// Returns `None`: there is no service that opens disks for others, but `sudo`.
pub(crate) fn ask_to_open(
    _: &Path,
    _: Purpose,
    _: &dyn Monitor,
) -> Option<Result<(File, bool), BlockError>> {
    None
}

/// Opens a file so that reads leave nothing in the cache. What a write left there is still served
/// from it: macOS has no way to drop it for one file.
pub(crate) fn open_uncached(options: &mut OpenOptions, path: &Path) -> io::Result<(File, bool)> {
    let file = options.open(path)?;
    rustix::fs::fcntl_nocache(&file, true)?;
    Ok((file, false))
}

/// Returns the device's logical sector size in bytes, where it tells a sensible one.
pub(crate) fn sector_bytes(file: &File) -> Option<u32> {
    let bytes = block_size(file).ok()?;
    (bytes.is_power_of_two() && (512..=65_536).contains(&bytes)).then_some(bytes)
}

/// Returns the device's size in bytes.
pub(crate) fn device_len(file: &File) -> io::Result<u64> {
    let bytes = u64::from(block_size(file)?);
    let len = block_count(file)?.checked_mul(bytes);
    len.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[allow(unsafe_code)]
fn block_size(file: &File) -> io::Result<u32> {
    let mut bytes = 0_u32;
    // SAFETY: the descriptor is open while `file` is borrowed, and the request writes one u32.
    match unsafe { libc::ioctl(file.as_raw_fd(), DKIOCGETBLOCKSIZE, &raw mut bytes) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

#[allow(unsafe_code)]
fn block_count(file: &File) -> io::Result<u64> {
    let mut count = 0_u64;
    // SAFETY: the descriptor is open while `file` is borrowed, and the request writes one u64.
    match unsafe { libc::ioctl(file.as_raw_fd(), DKIOCGETBLOCKCOUNT, &raw mut count) } {
        0 => Ok(count),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns `None`: macOS does not count insertions.
pub(crate) fn diskseq(_: &File) -> Option<u64> {
    None
}

/// Does nothing: macOS reads ahead by itself.
pub(crate) fn expect_sequential(_: &File) {}

/// Names what a special file is, or returns `None` for a device. Raw disks are character devices;
/// those that are no disks answer no size.
pub(crate) fn special_file(kind: FileType) -> Option<&'static str> {
    if kind.is_block_device() || kind.is_char_device() {
        None
    } else if kind.is_fifo() {
        Some("a pipe")
    } else {
        Some("a socket")
    }
}

/// Does nothing: macOS writes back by itself.
///
/// # Errors
/// None here.
pub(crate) fn start_writeback(_: &File, _: Extent) -> io::Result<()> {
    Ok(())
}

/// Does nothing: see [`open_uncached`].
///
/// # Errors
/// None here.
pub(crate) fn drop_cache(_: &File, _: Extent) -> io::Result<()> {
    Ok(())
}
