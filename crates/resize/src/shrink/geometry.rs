//! Where fixed metadata lies in a filesystem of another size.
//!
//! ```text
//!   group with a copy:   superblock | descriptors D | room for more R | ...
//!   after the cut:       superblock | D' | R'                         | ...   D' + R' = D + R
//! ```
//!
//! What descriptors no longer need becomes room for them to grow again, so that nothing behind has
//! to move (as `resize2fs` does it, too). Only where R' would exceed what the resize inode can
//! hold, one block of block numbers, are blocks set free; and where there are meta block groups,
//! which need no room.
//!
//! ```text
//!   meta block group:    group 0   | superblock? | its descriptors | ...     one block of them
//!                        group 1   | superblock? | the same        | ...
//!                        the last  | superblock? | the same        | ...
//! ```
//!
//! Where blocks are handed out in clusters, a cluster that holds fixed metadata holds nothing else,
//! but maybe that of several groups.

use cardkeep_ext4::{Superblock, feature};

use super::descriptors::Descriptors;

/// A range of blocks: start and count.
pub(crate) type Range = (u64, u64);

/// What a block at the beginning of a group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// What boot loaders keep before the superblock.
    Boot,
    Superblock,
    /// The descriptor block of this index.
    Descriptors(u64),
    /// Room for more descriptors.
    Reserve,
}

/// Returns the superblock of `old` with `block_count` blocks: its own functions then tell where
/// things lie.
pub(crate) fn resized(old: &Superblock, block_count: u64) -> Superblock {
    let mut new = old.clone();
    new.block_count = block_count;
    let groups = new.group_count();
    new.inode_count = u32::try_from(groups * u64::from(old.inodes_per_group)).unwrap_or(u32::MAX);
    if old.has_compat(feature::COMPAT_RESIZE_INODE) {
        let room = old.descriptor_block_count() + u64::from(old.reserved_gdt_blocks);
        let most = u64::from(old.block_bytes / 4);
        let left = room.saturating_sub(new.descriptor_block_count()).min(most);
        new.reserved_gdt_blocks = u16::try_from(left).unwrap_or(u16::MAX);
    }
    if old.has_incompat(feature::INCOMPAT_META_BG) {
        // The kernel mounts none whose first meta block group lies further behind.
        let blocks = u32::try_from(new.descriptor_block_count()).unwrap_or(u32::MAX);
        new.first_meta_bg = old.first_meta_bg.min(blocks);
    }
    for backup in &mut new.backup_groups {
        if u64::from(*backup) >= groups {
            *backup = 0;
        }
    }
    new
}

/// Tells what the block `within` blocks behind the beginning of a group holds, one of its
/// [`Superblock::base_block_count`].
pub(crate) fn base(superblock: &Superblock, group: u64, within: u64) -> Base {
    let before = if group == 0 {
        superblock.odd_block_count()
    } else {
        0
    };
    let Some(behind) = within.checked_sub(before) else {
        return Base::Boot;
    };
    let index = match behind.checked_sub(u64::from(superblock.has_superblock(group))) {
        None => return Base::Superblock,
        Some(index) => index,
    };
    let meta_group = group / superblock.descriptors_per_block();
    if superblock.is_meta_bg(meta_group) {
        Base::Descriptors(meta_group)
    } else if index < superblock.descriptor_block_count() && !superblock.is_meta_bg(index) {
        Base::Descriptors(index)
    } else {
        Base::Reserve
    }
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

/// Returns the clusters that hold the fixed metadata of all groups, some of them more than once.
pub(crate) fn metadata<'a>(
    superblock: &'a Superblock,
    descriptors: &'a Descriptors,
) -> impl Iterator<Item = Range> + 'a {
    (0..superblock.group_count())
        .flat_map(|group| metadata_of(superblock, descriptors, group))
        .filter(|(_, count)| *count > 0)
        .map(|range| whole_clusters(superblock, range))
}

/// Returns how many blocks there are in the clusters that hold fixed metadata.
pub(crate) fn metadata_block_count(superblock: &Superblock, descriptors: &Descriptors) -> u64 {
    let ranges = metadata(superblock, descriptors);
    if superblock.cluster_blocks == 1 {
        return ranges.map(|(_, count)| count).sum();
    }
    let mut ranges: Vec<Range> = ranges.collect();
    ranges.sort_unstable();
    let mut done = 0;
    let counts = ranges.into_iter().map(|(start, count)| {
        let end = start + count;
        let own = end.saturating_sub(done.max(start));
        done = done.max(end);
        own
    });
    counts.sum()
}

/// Widens a range of blocks to the clusters that they lie in.
pub(crate) fn whole_clusters(superblock: &Superblock, (start, count): Range) -> Range {
    let cluster = u64::from(superblock.cluster_blocks);
    // Where there are clusters, the first block is 0.
    let first = start / cluster * cluster;
    let end = start.saturating_add(count).next_multiple_of(cluster);
    (first, end - first)
}

/// Returns the groups but the first that begin with a copy of the superblock, in order.
pub(crate) fn backup_groups(superblock: &Superblock) -> impl Iterator<Item = u64> + '_ {
    (1..superblock.group_count()).filter(|&group| superblock.has_superblock(group))
}

#[cfg(test)]
mod tests {
    use super::{Base, Descriptors, base, metadata_block_count, resized, whole_clusters};
    use cardkeep_ext4::{Superblock, feature};

    /// 48 groups of 256 blocks of 1 KiB, in clusters or not, with 16 descriptors in a block.
    fn old(cluster_blocks: u32, first_meta_bg: u32) -> Superblock {
        let mut bytes = vec![0; 1024];
        let mut put = |offset: usize, value: u32| {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        };
        let is_plain = u32::from(cluster_blocks == 1);
        put(0x00, 48 * 16);
        put(0x04, 48 * 256 + is_plain);
        put(0x14, is_plain);
        put(0x1C, cluster_blocks.ilog2());
        put(0x20, 256);
        put(0x24, 256 / cluster_blocks);
        put(0x28, 16);
        put(0x38, 0x1_EF53);
        put(0x4C, 1);
        put(0x58, 128);
        put(0x60, feature::INCOMPAT_META_BG | feature::INCOMPAT_64BIT);
        let bigalloc = feature::RO_COMPAT_BIGALLOC * (1 - is_plain);
        put(0x64, feature::RO_COMPAT_SPARSE_SUPER | bigalloc);
        put(0xFE, 64);
        put(0x104, first_meta_bg);
        Superblock::parse(&bytes).unwrap()
    }

    fn bases(superblock: &Superblock, group: u64) -> Vec<Base> {
        let count = superblock.base_block_count(group);
        (0..count)
            .map(|within| base(superblock, group, within))
            .collect()
    }

    #[test]
    fn descriptors_lie_in_three_groups_of_each_meta_block_group() {
        let superblock = old(1, 1);
        let (own, second) = (Base::Descriptors(0), Base::Descriptors(1));
        assert_eq!(bases(&superblock, 0), [Base::Superblock, own]);
        assert_eq!(bases(&superblock, 9), [Base::Superblock, own]);
        assert_eq!(bases(&superblock, 15), []);
        assert_eq!(bases(&superblock, 16), [second]);
        assert_eq!(bases(&superblock, 17), [second]);
        assert_eq!(bases(&superblock, 18), []);
        assert_eq!(bases(&superblock, 25), [Base::Superblock]);
        assert_eq!(bases(&superblock, 31), [second]);
        assert_eq!(bases(&superblock, 32), [Base::Descriptors(2)]);
    }

    #[test]
    fn what_boot_loaders_keep_is_left_alone() {
        let superblock = old(4, 0);
        let expected = [Base::Boot, Base::Superblock, Base::Descriptors(0)];
        assert_eq!(bases(&superblock, 0), expected);
    }

    #[test]
    fn the_first_meta_block_group_stays_within_the_filesystem() {
        let superblock = old(1, 2);
        for (groups, expected) in [(48, 2), (33, 2), (32, 2), (17, 2), (16, 1), (3, 1)] {
            let new = resized(&superblock, groups * 256 + 1);
            assert_eq!(new.first_meta_bg, expected, "{groups} groups");
        }
    }

    #[test]
    fn clusters_that_groups_share_count_once() {
        let superblock = old(4, 0);
        assert_eq!(whole_clusters(&superblock, (3, 2)), (0, 8));
        assert_eq!(whole_clusters(&superblock, (4, 4)), (4, 4));
        let two = resized(&superblock, 512);
        // All bitmaps and tables at block 0: the beginnings of both groups are left.
        assert_eq!(metadata_block_count(&two, &Descriptors::blank(2, 64)), 8);
    }
}
