//! The driver of squashfs.

use cardkeep_block::{Driver, DriverError, Filesystem, ReadAt};

use crate::filesystem::Squashfs;
use crate::superblock::{Superblock, probe};

/// The driver of squashfs.
#[derive(Clone, Copy, Debug)]
pub struct SquashfsDriver;

impl Driver for SquashfsDriver {
    fn name(&self) -> &'static str {
        "squashfs"
    }

    fn probe(&self, medium: &dyn ReadAt) -> bool {
        probe(&medium)
    }

    fn stated_len(&self, medium: &dyn ReadAt) -> Option<u64> {
        // What can't be decoded states nothing.
        let superblock = Superblock::load(&medium).ok()?;
        Some(superblock.bytes_used)
    }

    fn open<'m>(&self, medium: &'m dyn ReadAt) -> Result<Box<dyn Filesystem + 'm>, DriverError> {
        Ok(Box::new(Squashfs::load(medium)?))
    }
}
