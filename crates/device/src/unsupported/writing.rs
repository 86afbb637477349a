//! Writing to files where devices are not supported.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use cardkeep_block::Extent;

use crate::refusal::Refusal;

/// Refuses: see the module.
pub(crate) fn open_device(_: &Path) -> io::Result<(File, bool)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns `None`: there are no devices.
pub(crate) fn device_number(_: &Path) -> Option<u64> {
    None
}

/// Returns `None`: there are no devices.
pub(crate) fn number_of(_: &Metadata) -> Option<u64> {
    None
}

/// Returns `None`: the standard library tells no such numbers here.
pub(crate) fn file_identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Refuses nothing: there are no devices.
pub(crate) fn expect_no_device(_: &Path, _: &Metadata) -> Result<(), Refusal> {
    Ok(())
}

/// Opens a file to look at it.
pub(crate) fn open_to_look(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Returns `None`: the platform can't be asked.
pub(crate) fn other_user(_: &File) -> Option<&'static str> {
    None
}

/// Returns `false`: zeros are written.
pub(crate) fn zero(_: &File, _: Extent) -> bool {
    false
}

/// Returns once all that was written is durable.
pub(crate) fn make_durable(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Does nothing: reads may come from the cache here.
pub(crate) fn forget(_: &File) -> io::Result<()> {
    Ok(())
}

/// Refuses: there are no devices.
pub(crate) fn reread_partitions(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
