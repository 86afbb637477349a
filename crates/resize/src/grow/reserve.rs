//! The blocks reserved for more group descriptors, and inode 7, which holds them so that nobody
//! else takes them (`ext2fs_create_resize_inode` in e2fsprogs, `reserve_backup_gdb` in the kernel).
//!
//! ```text
//!   inode 7 --> one block, doubly indirect          entry N: descriptor block N of group 0
//!                 --> reserved block of group 0     its copies' blocks, one of each group with
//!                                                   a copy of the superblock
//! ```
//!
//! A reserved block that comes to hold descriptors leaves the inode; one that stays names its
//! copies in the new groups as well.

use cardkeep_block::ReadAt;
use cardkeep_ext4::{BlockMap, Ext4, FileType, InodeRecord, Superblock, feature};

use super::edits::Edits;
use super::old_group::free_block;
use super::superblock::copy_groups;
use super::target::Target;
use crate::declined::Declined;
use crate::unsupported::UnsupportedKind;

const RESIZE_INODE: u32 = 7;
/// The doubly indirect entry of `i_block`.
const DOUBLY_INDIRECT: usize = 13;

/// Brings inode 7 and the blocks that it holds to the new size.
pub(super) fn update<M: ReadAt>(
    fs: &Ext4<M>,
    target: &Target,
    edits: &mut Edits<'_>,
) -> Result<(), Declined> {
    if !target.old.has_compat(feature::COMPAT_RESIZE_INODE) {
        return Ok(());
    }
    let bytes = u64::from(target.old.block_bytes);
    let offset = fs.inode_offset(RESIZE_INODE)?;
    // OK to cast: less than a block.
    let record = Record {
        block: offset / bytes,
        within: (offset % bytes) as usize,
        size: usize::from(target.old.inode_bytes),
    };
    let before = Reserve::of(&target.old);
    let after = Reserve::of(&target.new);
    let root = record.check(&before, edits)?;
    before.check(root, edits)?;
    // Blocks that hold descriptors from now on begin empty.
    for (block, _) in before.blocks().take((before.count - after.count) as usize) {
        edits.put(block, edits.empty_block())?;
    }
    if target.new.has_compat(feature::COMPAT_RESIZE_INODE) {
        record.put_block_count(after.sector_count(), target, edits)?;
        return after.store(&before, root, edits);
    }
    record.clear(target, edits)?;
    free_block(target, root, edits)
}

/// Where inode 7 lies.
struct Record {
    block: u64,
    within: usize,
    size: usize,
}

impl Record {
    /// Checks that it is as it should be, and returns its one block.
    fn check(&self, reserve: &Reserve, edits: &Edits<'_>) -> Result<u64, Declined> {
        let block = edits.block(self.block)?;
        let record = InodeRecord::new(&block[self.within..self.within + self.size])?;
        let field = record.block_field();
        let list = BlockMap::new(&field)?;
        let root = u64::from(list.get(DOUBLY_INDIRECT));
        let mut others = (0..list.count()).filter(|&index| index != DOUBLY_INDIRECT);
        let is_sound = others.all(|index| list.get(index) == 0)
            && record.file_type() == FileType::Regular
            && !record.has_extents()
            && !record.counts_blocks()
            && record.blocks(false) == reserve.sector_count()
            && root > reserve.last()
            && root < reserve.block_count;
        if is_sound { Ok(root) } else { Err(strange()) }
    }

    fn put_block_count(
        &self,
        sectors: u64,
        target: &Target,
        edits: &mut Edits<'_>,
    ) -> Result<(), Declined> {
        let sectors = u32::try_from(sectors).map_err(|_| strange())?;
        let sectors = u64::from(sectors);
        self.change(target, edits, |record| record.set_blocks(sectors, false))
    }

    fn clear(&self, target: &Target, edits: &mut Edits<'_>) -> Result<(), Declined> {
        self.change(target, edits, |record| record.clear())
    }

    fn change(
        &self,
        target: &Target,
        edits: &mut Edits<'_>,
        change: impl Fn(&mut InodeRecord<&mut [u8]>),
    ) -> Result<(), Declined> {
        let block = edits.block_mut(self.block)?;
        let mut record = InodeRecord::new(&mut block[self.within..self.within + self.size])?;
        change(&mut record);
        target.sealer.inode(RESIZE_INODE, &mut record);
        Ok(())
    }
}

fn strange() -> Declined {
    UnsupportedKind::StrangeResizeInode.into()
}

/// The reserved blocks of one size of the filesystem.
struct Reserve {
    /// The first reserved block's position among all descriptor blocks.
    first_index: u64,
    count: u64,
    /// Where descriptor block 0 lies.
    table: u64,
    /// How far the copies lie behind the first group's blocks.
    copy_distances: Vec<u64>,
    block_bytes: usize,
    block_count: u64,
    cluster_blocks: u64,
}

impl Reserve {
    fn of(superblock: &Superblock) -> Self {
        let per_block = superblock.descriptors_per_block();
        let per_group = u64::from(superblock.blocks_per_group);
        let distances = copy_groups(superblock).into_iter();
        Self {
            first_index: superblock.group_count().div_ceil(per_block),
            count: u64::from(superblock.reserved_gdt_blocks),
            table: superblock.descriptor_block(0),
            copy_distances: distances.map(|group| group * per_group).collect(),
            block_bytes: superblock.block_bytes as usize,
            block_count: superblock.block_count,
            cluster_blocks: u64::from(superblock.cluster_blocks),
        }
    }

    /// Returns the last block before the first group's bitmaps may begin.
    fn last(&self) -> u64 {
        self.table + self.first_index + self.count - 1
    }

    /// Returns `i_blocks`: the root, the reserved blocks and their copies, in units of 512 bytes.
    fn sector_count(&self) -> u64 {
        let blocks = 1 + self.count * (1 + self.copy_distances.len() as u64);
        blocks * (self.block_bytes as u64 / 512) * self.cluster_blocks
    }

    /// Returns each reserved block and its position in the root.
    fn blocks(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let entries = self.block_bytes as u64 / 4;
        (self.first_index..self.first_index + self.count)
            .map(move |index| (self.table + index, (index % entries) as usize))
    }

    /// Returns what the root should hold.
    fn root(&self) -> Result<Vec<u8>, Declined> {
        let mut root = BlockMap::new(vec![0; self.block_bytes])?;
        for (block, at) in self.blocks() {
            root.set(at, number(block)?);
        }
        Ok(root.into_bytes())
    }

    /// Returns what a reserved block of the first group should hold.
    fn content(&self, block: u64) -> Result<Vec<u8>, Declined> {
        let mut content = BlockMap::new(vec![0; self.block_bytes])?;
        if self.copy_distances.len() > content.count() {
            return Err(UnsupportedKind::ReserveCopies.into());
        }
        for (index, distance) in self.copy_distances.iter().enumerate() {
            content.set(index, number(block + distance)?);
        }
        Ok(content.into_bytes())
    }

    fn check(&self, root: u64, edits: &Edits<'_>) -> Result<(), Declined> {
        if edits.block(root)? != self.root()? {
            return Err(strange());
        }
        for (block, _) in self.blocks() {
            if edits.block(block)? != self.content(block)? {
                return Err(strange());
            }
        }
        Ok(())
    }

    /// Writes what differs from `before`.
    fn store(&self, before: &Self, root: u64, edits: &mut Edits<'_>) -> Result<(), Declined> {
        edits.put(root, self.root()?)?;
        if self.copy_distances != before.copy_distances {
            for (block, _) in self.blocks() {
                edits.put(block, self.content(block)?)?;
            }
        }
        Ok(())
    }
}

/// The inode knows 32-bit block numbers only.
fn number(block: u64) -> Result<u32, Declined> {
    u32::try_from(block).map_err(|_| UnsupportedKind::ReserveNumbers.into())
}
