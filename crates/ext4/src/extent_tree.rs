//! Extent trees (kernel doc, "Extent Tree"), and the common face of both ways to map blocks.

use cardkeep_block::{ReadAt, le_u16, le_u32};

use crate::effort::Effort;
use crate::error::Error;
use crate::indirect;
use crate::inode::Inode;
use crate::superblock::Superblock;

const EXTENT_MAGIC: u16 = 0xF30A;
const ENTRY_BYTES: usize = 12;
/// The kernel's `EXT4_MAX_EXTENT_DEPTH`.
const DEPTH_MAX: u16 = 5;
/// `ee_len` above this means an unwritten extent of the rest.
const WRITTEN_LEN_MAX: u16 = 32768;

/// What a mapped range of blocks holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The file's data.
    Data,
    /// Allocated, but reads as zero by definition.
    Unwritten,
    /// A block of the tree itself.
    Tree,
}

/// A range of blocks of a file. For tree blocks, `logical` means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) count: u64,
    pub(crate) content: Content,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The whole tree.
    All,
    /// Only what stands in the inode itself: costs no read.
    InodeOnly,
}

/// Walks a file's blocks in logical order.
pub(crate) struct Walk<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) superblock: &'a Superblock,
    pub(crate) depth: Depth,
    inode_number: u32,
    /// Where the last range ended, in blocks of the file.
    logical_end: u64,
    effort: &'a mut Effort,
}

/// Calls `visit` for each mapped range of `inode`, in logical order. Each block of the tree costs
/// `effort`.
pub(crate) fn walk_blocks<M: ReadAt>(
    medium: &M,
    superblock: &Superblock,
    inode: &Inode,
    depth: Depth,
    effort: &mut Effort,
    visit: &mut dyn FnMut(Mapping) -> Result<(), Error>,
) -> Result<(), Error> {
    if !inode.maps_blocks() {
        return Ok(());
    }
    let mut walk = Walk {
        medium,
        superblock,
        depth,
        inode_number: inode.number,
        logical_end: 0,
        effort,
    };
    if inode.has_extents() {
        walk.node(&inode.block_field, None, visit)
    } else {
        indirect::walk(&mut walk, &inode.block_field, visit)
    }
}

impl<M: ReadAt> Walk<'_, M> {
    /// Returns the error that names this file.
    pub(crate) fn corrupt(&self, what: &str) -> Error {
        Error::corrupt(format!("inode {}: {what}", self.inode_number))
    }

    /// Checks that a range of the file's content follows those before it, and lies within the
    /// filesystem (`ext4_valid_extent_entries`).
    pub(crate) fn check_content(&mut self, mapping: Mapping) -> Result<Mapping, Error> {
        if mapping.count == 0 || mapping.logical < self.logical_end {
            return Err(self.corrupt("its extents are empty or out of order"));
        }
        self.logical_end = mapping.logical.saturating_add(mapping.count);
        self.check_place(mapping)
    }

    /// Checks that a range lies within the filesystem.
    fn check_place(&self, mapping: Mapping) -> Result<Mapping, Error> {
        let end = mapping.physical.checked_add(mapping.count);
        let first = u64::from(self.superblock.first_data_block);
        if mapping.physical < first || end.is_none_or(|end| end > self.superblock.block_count) {
            return Err(self.corrupt("it has blocks outside the filesystem"));
        }
        Ok(mapping)
    }

    /// Reads a block of the tree, and tells of it.
    pub(crate) fn tree_block(
        &mut self,
        physical: u64,
        visit: &mut dyn FnMut(Mapping) -> Result<(), Error>,
    ) -> Result<Vec<u8>, Error> {
        self.effort.spend()?;
        let content = Content::Tree;
        visit(self.check_place(Mapping {
            logical: 0,
            physical,
            count: 1,
            content,
        })?)?;
        let bytes = u64::from(self.superblock.block_bytes);
        let offset = physical
            .checked_mul(bytes)
            .ok_or_else(|| self.corrupt("block overflow"))?;
        Ok(self.medium.read_vec(offset, bytes as usize)?)
    }

    /// Walks one node; `depth` is what its parent says it has, `None` for the root.
    fn node(
        &mut self,
        bytes: &[u8],
        depth: Option<u16>,
        visit: &mut dyn FnMut(Mapping) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let own_depth = le_u16(bytes, 6);
        let count = usize::from(le_u16(bytes, 2));
        let fits = (bytes.len() - ENTRY_BYTES) / ENTRY_BYTES;
        if le_u16(bytes, 0) != EXTENT_MAGIC
            || count > fits
            || own_depth > DEPTH_MAX
            || depth.is_some_and(|depth| depth != own_depth)
        {
            return Err(self.corrupt("an extent tree node is damaged"));
        }
        for entry in bytes[ENTRY_BYTES..].chunks_exact(ENTRY_BYTES).take(count) {
            if own_depth == 0 {
                visit(self.check_content(leaf_entry(entry))?)?;
            } else if self.depth == Depth::All {
                let child = u64::from(le_u32(entry, 4)) | u64::from(le_u16(entry, 8)) << 32;
                let block = self.tree_block(child, visit)?;
                self.node(&block, Some(own_depth - 1), visit)?;
            }
        }
        Ok(())
    }
}

fn leaf_entry(entry: &[u8]) -> Mapping {
    let len = le_u16(entry, 4);
    let (count, content) = if len > WRITTEN_LEN_MAX {
        (len - WRITTEN_LEN_MAX, Content::Unwritten)
    } else {
        (len, Content::Data)
    };
    Mapping {
        logical: u64::from(le_u32(entry, 0)),
        physical: u64::from(le_u32(entry, 8)) | u64::from(le_u16(entry, 6)) << 32,
        count: u64::from(count),
        content,
    }
}
