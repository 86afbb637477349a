//! Puts new places and numbers into records and blocks that name old ones.

use cardkeep_block::{le_u16, le_u32};
use cardkeep_ext4::BlockOwner;

use super::attempt::renumbered;
use super::census::{RESIZE_INODE, has_content};
use super::field::{put_u16, put_u32};
use super::file_map::{
    ENTRY_BYTES, EXTENT_MAGIC, Mapping, ROOT, WRITTEN_LEN_MAX, child_of, xattr_block,
};
use super::layout::Layout;
use super::orphans::rename_slots;
use super::rebuild::put_tree;
use super::resize_inode;
use super::tally::Referrer;

/// What is told where bytes are not what the plan was made from: the medium changed since.
const CHANGED: &str = "the medium is not what it was when the plan was made";

/// Puts new places and numbers into what was read.
pub(crate) struct Rewriter<'a> {
    pub(crate) layout: &'a Layout,
}

impl Rewriter<'_> {
    fn place(&self, old: u64, count: u64) -> Result<u64, &'static str> {
        match self.layout.moves.new_place(old) {
            Some((new, run)) if run >= count => Ok(new),
            _ => Err(CHANGED),
        }
    }

    /// Rewrites the record of the inode whose old number is `number`, and seals it for its new
    /// one where anything had to be changed.
    pub(crate) fn record(&self, number: u32, record: &mut [u8]) -> Result<(), &'static str> {
        let layout = self.layout;
        if !has_content(&layout.new, &layout.orphans, number, record) {
            return Ok(());
        }
        let new_number = layout.numbers.new_of(number);
        let mut is_changed = new_number != number;
        if let Some(tree) = layout.trees.get(&number) {
            put_tree(tree, &layout.new, record);
            is_changed = true;
        } else if let Mapping::Extents | Mapping::Indirect = Mapping::of(record) {
            let is_extents = Mapping::of(record) == Mapping::Extents;
            let root = record.get_mut(ROOT).ok_or(CHANGED)?;
            is_changed |= if is_extents {
                self.extent_node(root)?
            } else {
                self.block_numbers(root)?
            };
        }
        is_changed |= layout.orphans.rename_next(number, record, &layout.numbers);
        if number == RESIZE_INODE {
            put_u32(record, 0x1C, resize_inode::sectors(&layout.new));
            is_changed = true;
        }
        let attributes = xattr_block(record);
        if attributes != 0 {
            let place = self.place(attributes, 1)?;
            put_u32(record, 0x68, place as u32);
            put_u16(record, 0x76, (place >> 32) as u16);
            is_changed |= place != attributes;
        }
        if is_changed {
            layout.sealer.inode(new_number, record);
        }
        Ok(())
    }

    /// Rewrites a node of an extent tree, and tells whether anything changed.
    fn extent_node(&self, node: &mut [u8]) -> Result<bool, &'static str> {
        let (depth, count) = (le_u16(node, 6), usize::from(le_u16(node, 2)));
        let fits = node.len() / ENTRY_BYTES - 1;
        if le_u16(node, 0) != EXTENT_MAGIC || count > fits {
            return Err(CHANGED);
        }
        let mut is_changed = false;
        for entry in node[ENTRY_BYTES..]
            .chunks_exact_mut(ENTRY_BYTES)
            .take(count)
        {
            if depth > 0 {
                let old = child_of(entry);
                let new = self.place(old, 1)?;
                put_u32(entry, 4, new as u32);
                put_u16(entry, 8, (new >> 32) as u16);
                is_changed |= old != new;
                continue;
            }
            let len = le_u16(entry, 4);
            let len = if len > WRITTEN_LEN_MAX {
                len - WRITTEN_LEN_MAX
            } else {
                len
            };
            let old = u64::from(le_u32(entry, 8)) | u64::from(le_u16(entry, 6)) << 32;
            let new = self.place(old, u64::from(len))?;
            put_u32(entry, 8, new as u32);
            put_u16(entry, 6, (new >> 32) as u16);
            is_changed |= old != new;
        }
        Ok(is_changed)
    }

    /// Rewrites a list of block numbers, 0 meaning none.
    fn block_numbers(&self, list: &mut [u8]) -> Result<bool, &'static str> {
        let mut is_changed = false;
        for field in list.chunks_exact_mut(4) {
            let old = le_u32(field, 0);
            if old != 0 {
                let new = self.place(u64::from(old), 1)? as u32;
                put_u32(field, 0, new);
                is_changed |= old != new;
            }
        }
        Ok(is_changed)
    }

    /// Rewrites a block that refers to others, and seals it. `place` is where it is now.
    pub(crate) fn referrer(
        &self,
        kind: Referrer,
        owner: BlockOwner,
        place: u64,
        block: &mut [u8],
    ) -> Result<(), &'static str> {
        let sealer = &self.layout.sealer;
        let owner = renumbered(owner, &self.layout.numbers);
        match kind {
            Referrer::ExtentNode => {
                self.extent_node(block)?;
                sealer.extent_block(owner, block);
            }
            Referrer::BlockMap => {
                self.block_numbers(block)?;
            }
            Referrer::ResizeMap => {
                block.copy_from_slice(&resize_inode::map_block(&self.layout.new));
            }
            Referrer::Directory => {
                self.layout.numbers.rename_entries(block).ok_or(CHANGED)?;
                sealer.directory_block(owner, block);
            }
            Referrer::Xattr => sealer.xattr_block(place, block),
            Referrer::Orphans => {
                rename_slots(block, &self.layout.numbers);
                sealer.orphan_block(owner, place, block);
            }
        }
        Ok(())
    }
}
