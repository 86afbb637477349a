//! Puts new places and numbers into records and blocks that name old ones.

use cardkeep_ext4::{
    BlockMap, BlockOwner, DirectoryBlock, ExtentNode, FileExtent, InodeRecord, Mapping,
};

use crate::inconsistent::MediumChanged;

use super::census::{RESIZE_INODE, has_content};
use super::layout::Layout;
use super::numbers::renumbered;
use super::orphans::rename_slots;
use super::rebuild::put_tree;
use super::resize_inode;
use super::tally::Referrer;

/// Puts new places and numbers into what was read.
pub(crate) struct Rewriter<'a> {
    pub(crate) layout: &'a Layout,
}

impl Rewriter<'_> {
    fn place(&self, old: u64, count: u64) -> Result<u64, MediumChanged> {
        match self.layout.moves.new_place(old) {
            Some((new, run)) if run >= count => Ok(new),
            _ => Err(MediumChanged),
        }
    }

    /// Rewrites the record of the inode whose old number is `number`, and seals it for its new
    /// one where anything had to be changed.
    pub(crate) fn record<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        number: u32,
        record: &mut InodeRecord<B>,
    ) -> Result<(), MediumChanged> {
        let layout = self.layout;
        if !has_content(&layout.new, &layout.orphans, number, record) {
            return Ok(());
        }
        let new_number = layout.numbers.new_of(number);
        let mut is_changed = new_number != number;
        if let Some(tree) = layout.trees.get(&number) {
            put_tree(tree, &layout.new, record);
            is_changed = true;
        } else {
            is_changed |= match record.mapping() {
                Mapping::Inline => false,
                Mapping::Extents => self.extent_node(record.block_field_mut())?,
                Mapping::Indirect => self.block_numbers(record.block_field_mut())?,
            };
        }
        is_changed |= layout.orphans.rename_next(number, record, &layout.numbers);
        if number == RESIZE_INODE {
            record.set_blocks(u64::from(resize_inode::sectors(&layout.new)), false);
            is_changed = true;
        }
        let attributes = record.xattr_block();
        if attributes != 0 {
            let place = self.place(attributes, 1)?;
            record.set_xattr_block(place);
            is_changed |= place != attributes;
        }
        if is_changed {
            layout.sealer.inode(new_number, record);
        }
        Ok(())
    }

    /// Rewrites a node of an extent tree, and tells whether anything changed.
    fn extent_node(&self, bytes: &mut [u8]) -> Result<bool, MediumChanged> {
        let mut node = ExtentNode::parse(bytes).ok_or(MediumChanged)?;
        let mut is_changed = false;
        if node.depth() > 0 {
            let children: Vec<u64> = node.children().collect();
            for (index, old) in children.into_iter().enumerate() {
                let new = self.place(old, 1)?;
                node.set_child(index, new);
                is_changed |= old != new;
            }
            return Ok(is_changed);
        }
        let extents: Vec<FileExtent> = node.extents().collect();
        for (index, extent) in extents.into_iter().enumerate() {
            let new = self.place(extent.physical, extent.count)?;
            node.set_extent_start(index, new);
            is_changed |= extent.physical != new;
        }
        Ok(is_changed)
    }

    /// Rewrites a list of block numbers, 0 meaning none.
    fn block_numbers(&self, bytes: &mut [u8]) -> Result<bool, MediumChanged> {
        let mut list = BlockMap::new(bytes).map_err(|_| MediumChanged)?;
        let mut is_changed = false;
        for index in 0..list.count() {
            let old = list.get(index);
            if old != 0 {
                let new = self.place(u64::from(old), 1)? as u32;
                list.set(index, new);
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
    ) -> Result<(), MediumChanged> {
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
                let map = resize_inode::map_block(&self.layout.new).map_err(|_| MediumChanged)?;
                block.copy_from_slice(&map);
            }
            Referrer::Directory => {
                DirectoryBlock::new(&mut *block)
                    .renumber(|old| self.layout.numbers.new_of(old))
                    .map_err(|_| MediumChanged)?;
                sealer.directory_block(owner, block);
            }
            Referrer::Xattr => sealer.xattr_block(place, block),
            Referrer::Orphans => {
                rename_slots(block, &self.layout.numbers).ok_or(MediumChanged)?;
                sealer.orphan_block(owner, place, block);
            }
        }
        Ok(())
    }
}
