//! What both ways to map a file's blocks have in common: the steps of a walk, and the checks that
//! each block has to pass.

use cardkeep_block::ReadAt;

use crate::effort::Effort;
use crate::error::{CorruptKind, Error, FileFault};
use crate::record::FileExtent;
use crate::seal::{BlockOwner, Sealer};
use crate::superblock::Superblock;

/// One step of a walk through a file's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A range of the file's content. They come in logical order.
    Extent(FileExtent),
    /// A block of the tree itself, which is about to be read.
    Tree(u64),
    /// What was read of the last reported tree block refers to blocks below this one.
    RefersTo(u64),
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The whole tree.
    All,
    /// Only what stands in the inode itself: costs no read.
    InodeOnly,
}

/// Takes a step.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Step) -> Result<(), Error>;

/// Walks a file's blocks in logical order.
pub(crate) struct Walk<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) superblock: &'a Superblock,
    pub(crate) depth: Depth,
    pub(crate) owner: BlockOwner,
    pub(crate) sealer: Sealer,
    /// Where the last range ended, in blocks of the file.
    pub(crate) logical_end: u64,
    pub(crate) effort: &'a mut Effort,
}

impl<M: ReadAt> Walk<'_, M> {
    /// Returns the error that names this file.
    pub(crate) fn fault(&self, fault: FileFault) -> Error {
        let number = self.owner.number;
        CorruptKind::File { number, fault }.into()
    }

    /// Tells of a range of the file's content, which has to follow those before it and to lie
    /// within the filesystem (`ext4_valid_extent_entries`).
    pub(crate) fn extent(&mut self, extent: FileExtent, visit: Visit<'_>) -> Result<(), Error> {
        if extent.count == 0 || extent.logical < self.logical_end {
            return Err(self.fault(FileFault::ExtentOrder));
        }
        self.logical_end = extent.logical.saturating_add(extent.count);
        self.check_place(extent.physical, extent.count)?;
        visit(Step::Extent(extent))
    }

    /// Checks that a range lies within the filesystem.
    fn check_place(&self, start: u64, count: u64) -> Result<(), Error> {
        let end = start.checked_add(count);
        let first = u64::from(self.superblock.first_data_block);
        if start < first || end.is_none_or(|end| end > self.superblock.block_count) {
            return Err(self.fault(FileFault::OutsideBlocks));
        }
        Ok(())
    }

    /// Tells of a block of the tree, and reads it.
    pub(crate) fn tree_block(&mut self, block: u64, visit: Visit<'_>) -> Result<Vec<u8>, Error> {
        self.effort.spend()?;
        self.check_place(block, 1)?;
        visit(Step::Tree(block))?;
        let bytes = u64::from(self.superblock.block_bytes);
        // No overflow: the filesystem's length in bytes fits, and the block lies within.
        let offset = block.saturating_mul(bytes);
        Ok(self.medium.read_vec(offset, bytes as usize)?)
    }
}
