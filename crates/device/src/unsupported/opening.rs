//! Opening files where devices are not supported.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::path::Path;

use cardkeep_block::{BlockError, Extent, Monitor};

use crate::purpose::Purpose;

/// Refuses: see the module.
pub(crate) fn open_device(_: &Path, _: bool) -> io::Result<(File, bool)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns `None`: there are no devices.
pub(crate) fn ask_to_open(
    _: &Path,
    _: Purpose,
    _: &dyn Monitor,
) -> Option<Result<(File, bool), BlockError>> {
    None
}

/// Opens a file; through the cache, which it tells.
pub(crate) fn open_uncached(options: &mut OpenOptions, path: &Path) -> io::Result<(File, bool)> {
    Ok((options.open(path)?, false))
}

/// Returns `None`: there are no devices.
pub(crate) fn sector_bytes(_: &File) -> Option<u32> {
    None
}

/// Refuses: there are no devices.
pub(crate) fn device_len(_: &File) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns `None`: there are no devices.
pub(crate) fn diskseq(_: &File) -> Option<u64> {
    None
}

/// Does nothing.
pub(crate) fn expect_sequential(_: &File) {}

/// Names what a special file is: nothing that is supported.
pub(crate) fn special_file(_: FileType) -> Option<&'static str> {
    Some("a special file")
}

/// Does nothing.
pub(crate) fn start_writeback(_: &File, _: Extent) -> io::Result<()> {
    Ok(())
}

/// Does nothing.
pub(crate) fn drop_cache(_: &File, _: Extent) -> io::Result<()> {
    Ok(())
}
