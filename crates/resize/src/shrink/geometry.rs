//! Where fixed metadata lies in a filesystem of another size.
//!
//! ```text
//!   group with a copy:   superblock | descriptors D | room for more R | ...
//!   after the cut:       superblock | D' | R'                         | ...   D' + R' = D + R
//! ```
//!
//! What descriptors no longer need becomes room for them to grow again, so that nothing behind has
//! to move (as `resize2fs` does it, too). Only where R' would exceed what the resize inode can
//! hold, one block of block numbers, are blocks set free.

use cardkeep_ext4::{Superblock, feature};

use super::descriptors::Descriptors;

/// A range of blocks: start and count.
pub(crate) type Range = (u64, u64);

/// Returns the superblock of `old` with `block_count` blocks: its own functions then tell where
/// things lie.
pub(crate) fn resized(old: &Superblock, block_count: u64) -> Superblock {
    let mut new = old.clone();
    new.block_count = block_count;
    let groups = new.group_count();
    new.inode_count = u32::try_from(groups * u64::from(old.inodes_per_group)).unwrap_or(u32::MAX);
    if old.has_compat(feature::COMPAT_RESIZE_INODE) {
        let room = descriptor_blocks(old) + u64::from(old.reserved_gdt_blocks);
        let most = u64::from(old.block_bytes / 4);
        let left = room.saturating_sub(descriptor_blocks(&new)).min(most);
        new.reserved_gdt_blocks = u16::try_from(left).unwrap_or(u16::MAX);
    }
    for backup in &mut new.backup_groups {
        if u64::from(*backup) >= groups {
            *backup = 0;
        }
    }
    new
}

/// Returns the number of blocks that the group descriptors take.
pub(crate) fn descriptor_blocks(superblock: &Superblock) -> u64 {
    superblock
        .group_count()
        .div_ceil(superblock.descriptors_per_block())
}

/// Returns the fixed metadata of one group: copies, bitmaps, inode table.
pub(crate) fn metadata_of(
    superblock: &Superblock,
    descriptors: &Descriptors,
    group: u64,
) -> [Range; 4] {
    [
        (
            superblock.group_first_block(group),
            superblock.base_block_count(group),
        ),
        (descriptors.block_bitmap(group), 1),
        (descriptors.inode_bitmap(group), 1),
        (
            descriptors.inode_table(group),
            superblock.inode_table_block_count(),
        ),
    ]
}

/// Returns the fixed metadata of all groups.
pub(crate) fn metadata<'a>(
    superblock: &'a Superblock,
    descriptors: &'a Descriptors,
) -> impl Iterator<Item = Range> + 'a {
    (0..superblock.group_count())
        .flat_map(|group| metadata_of(superblock, descriptors, group))
        .filter(|(_, count)| *count > 0)
}

/// Returns the groups but the first that begin with a copy of the superblock, in order.
pub(crate) fn backup_groups(superblock: &Superblock) -> impl Iterator<Item = u64> + '_ {
    (1..superblock.group_count()).filter(|&group| superblock.has_superblock(group))
}
