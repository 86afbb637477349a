//! What opening, reading ahead and writing back take on Linux beyond the standard library.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use cardkeep_block::Extent;
use rustix::fs::{Advice, fadvise};

pub(crate) use super::udisks::ask_to_open;

/// The sector sizes in bytes that are believed: the kernel knows none above its limit of 64 KiB.
const SECTOR_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// Opens a block device read-only, past the page cache where the system lets us; tells whether it did.
pub(crate) fn open_device(path: &Path, exclusive: bool) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    let (file, direct) = open_direct(
        options.read(true),
        path,
        if exclusive { libc::O_EXCL } else { 0 },
    )?;
    if !direct {
        expect_sequential(&file);
    }
    Ok((file, direct))
}

/// Opens a file past the page cache, or having emptied it of this file; tells which.
pub(crate) fn open_uncached(options: &mut OpenOptions, path: &Path) -> io::Result<(File, bool)> {
    let (file, direct) = open_direct(options, path, 0)?;
    if !direct {
        drop_cache(&file, Extent::between(0, u64::MAX))?;
    }
    Ok((file, direct))
}

pub(super) fn open_direct(
    options: &mut OpenOptions,
    path: &Path,
    flags: i32,
) -> io::Result<(File, bool)> {
    match options.custom_flags(flags | libc::O_DIRECT).open(path) {
        Ok(file) => Ok((file, true)),
        // The answer of filesystems and drivers without direct I/O: open(2), "EINVAL".
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok((options.custom_flags(flags).open(path)?, false))
        }
        Err(error) => Err(error),
    }
}

/// Returns the device's logical sector size in bytes, where it tells a sensible one.
pub(crate) fn sector_bytes(file: &File) -> Option<u32> {
    // A device that does not tell is one of 512 bytes: the caller's default.
    let bytes = rustix::fs::ioctl_blksszget(file).ok()?;
    (bytes.is_power_of_two() && SECTOR_BYTES.contains(&bytes)).then_some(bytes)
}

/// Returns the device's size in bytes.
pub(crate) fn device_len(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Returns the kernel's sequence number of the medium in this device.
pub(crate) fn diskseq(file: &File) -> Option<u64> {
    // Kernels before 5.15 count no media, and nothing can be compared then.
    diskseq_of(file.metadata().ok()?.rdev())
}

/// Returns the same for the device of a number.
pub(super) fn diskseq_of(number: u64) -> Option<u64> {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let folder = format!("/sys/dev/block/{major}:{minor}");
    // A partition has its disk's number, one level up.
    ["diskseq", "../diskseq"].iter().find_map(|name| {
        // Missing in one of the two places, and in both before Linux 5.15.
        let text = std::fs::read_to_string(format!("{folder}/{name}")).ok()?;
        text.trim().parse().ok()
    })
}

/// Tells the system that the file will be read once, from its start to its end.
pub(crate) fn expect_sequential(file: &File) {
    // A hint: where it isn't taken, reading is slower and nothing else.
    fadvise(file, 0, None, Advice::Sequential).unwrap_or(());
}

/// Names what a special file is, or returns `None` for a block device.
pub(crate) fn special_file(kind: FileType) -> Option<&'static str> {
    if kind.is_block_device() {
        None
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a character device")
    }
}

/// Starts to write the cached part of `extent` to the disk without waiting for it.
#[allow(unsafe_code)]
pub(crate) fn start_writeback(file: &File, extent: Extent) -> io::Result<()> {
    let (Ok(start), Ok(len)) = (extent.start().try_into(), extent.len().try_into()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call takes no pointers.
    let result =
        unsafe { libc::sync_file_range(file.as_raw_fd(), start, len, libc::SYNC_FILE_RANGE_WRITE) };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // Filesystems without it write back when they see fit.
            error
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ESPIPE | libc::ENOSYS | libc::EINVAL)
                ) =>
            {
                Ok(())
            }
            error => Err(error),
        },
    }
}

/// Drops the clean pages of `extent` from the page cache.
pub(crate) fn drop_cache(file: &File, extent: Extent) -> io::Result<()> {
    // A length of 0 means up to the end: posix_fadvise(2).
    let len = NonZeroU64::new(extent.len()).filter(|len| i64::try_from(len.get()).is_ok());
    Ok(fadvise(file, extent.start(), len, Advice::DontNeed)?)
}
