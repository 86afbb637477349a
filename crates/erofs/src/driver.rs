//! The driver of erofs.

use cardkeep_block::{Driver, DriverError, Filesystem, ReadAt};

use crate::filesystem::Erofs;
use crate::superblock::{Superblock, probe};

/// The driver of erofs.
#[derive(Clone, Copy, Debug)]
pub struct ErofsDriver;

impl Driver for ErofsDriver {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn probe(&self, medium: &dyn ReadAt) -> bool {
        probe(&medium)
    }

    fn stated_len(&self, medium: &dyn ReadAt) -> Option<u64> {
        // What can't be decoded states nothing.
        let superblock = Superblock::load(&medium).ok()?;
        Some(superblock.len())
    }

    fn open<'m>(&self, medium: &'m dyn ReadAt) -> Result<Box<dyn Filesystem + 'm>, DriverError> {
        Ok(Box::new(Erofs::load(medium)?))
    }
}
