//! How small a filesystem can get.
//!
//! What files hold stays the same; each group that goes takes its metadata with it. A size is
//! *settled* where everything fits: files' blocks, the metadata of the groups that are left, each
//! of its pieces where it is, and the inodes in use.

use cardkeep_ext4::Superblock;

use super::descriptors::Descriptors;
use super::geometry::{metadata_block_count, metadata_of, resized};

/// Sizes are raised to settle them; this bounds how often. Each time the metadata of the groups
/// that were added has to fit, too, a small part of what they hold.
const ROUNDS_MAX: u32 = 64;

/// What has to fit.
#[derive(Debug)]
pub(crate) struct Sizes<'a> {
    old: &'a Superblock,
    descriptors: &'a Descriptors,
    /// Blocks in use, but for clusters that hold fixed metadata.
    file_blocks: u64,
    /// Inodes in use.
    inodes: u64,
    /// Summed ends: `ends[g]` is how many blocks there must be for the metadata of groups `0..=g`
    /// to be within.
    ends: Vec<u64>,
}

impl<'a> Sizes<'a> {
    /// Counts what the descriptors say is in use. The census has to confirm it.
    pub(crate) fn new(old: &'a Superblock, descriptors: &'a Descriptors) -> Self {
        let groups = 0..old.group_count();
        let free_clusters: u64 = groups
            .clone()
            .map(|group| u64::from(descriptors.free_clusters(group)))
            .sum();
        let free_blocks = free_clusters.saturating_mul(u64::from(old.cluster_blocks));
        let free_inodes: u64 = groups
            .clone()
            .map(|group| u64::from(descriptors.free_inodes(group)))
            .sum();
        let fixed = metadata_block_count(old, descriptors);
        let all = old.block_count - u64::from(old.first_data_block);
        let ends = groups.scan(0, |end, group| {
            // The copies at the beginning may get fewer, never more: they are counted later.
            let places = &metadata_of(old, descriptors, group)[1..];
            let own = places.iter().map(|(start, count)| start + count).max();
            *end = own.unwrap_or(0).max(*end);
            Some(*end)
        });
        Self {
            old,
            descriptors,
            file_blocks: all.saturating_sub(free_blocks).saturating_sub(fixed),
            inodes: u64::from(old.inode_count).saturating_sub(free_inodes),
            ends: ends.collect(),
        }
    }

    /// Returns how many blocks are in use, metadata included.
    pub(crate) fn used_blocks(&self) -> u64 {
        self.file_blocks + metadata_block_count(self.old, self.descriptors)
    }

    /// Returns the smallest size that is settled.
    pub(crate) fn least(&self) -> Option<u64> {
        self.settled(u64::from(self.old.first_data_block) + self.file_blocks + 1)
    }

    /// Returns the smallest size from `from` on that is settled: of whole clusters, too.
    pub(crate) fn settled(&self, from: u64) -> Option<u64> {
        let cluster = u64::from(self.old.cluster_blocks);
        let mut blocks = from.max(u64::from(self.old.first_data_block) + 1);
        for _ in 0..ROUNDS_MAX {
            blocks = blocks.checked_next_multiple_of(cluster)?;
            if blocks > self.old.block_count {
                return None;
            }
            let needed = self.needed(blocks);
            if needed <= blocks {
                return Some(blocks);
            }
            blocks = needed;
        }
        None
    }

    /// Returns how many blocks are needed by what a filesystem of `blocks` blocks has to hold.
    fn needed(&self, blocks: u64) -> u64 {
        let new = resized(self.old, blocks);
        let last = new.group_count() - 1;
        let fixed = metadata_block_count(&new, self.descriptors);
        let all = u64::from(new.first_data_block) + fixed + self.file_blocks;
        let copies = new.group_first_block(last) + new.base_block_count(last) + 1;
        let places = self.ends.get(last as usize).copied().unwrap_or(0);
        all.max(copies)
            .max(places)
            .max(self.for_inodes(self.inodes))
    }

    /// Returns how many blocks there must be to have `count` inodes.
    pub(crate) fn for_inodes(&self, count: u64) -> u64 {
        let groups = count.div_ceil(u64::from(self.old.inodes_per_group)).max(1);
        self.old.group_first_block(groups - 1) + 1
    }

    /// Returns the largest settled size that is not above `wanted`, but in the same group or the
    /// one before: a group's metadata may not fit what a size leaves of it.
    pub(crate) fn not_above(&self, wanted: u64) -> Option<u64> {
        let cluster = u64::from(self.old.cluster_blocks);
        if wanted > self.old.block_count {
            return None;
        }
        let wanted = wanted / cluster * cluster;
        if wanted <= u64::from(self.old.first_data_block) {
            return None;
        }
        if self.settled(wanted) == Some(wanted) {
            return Some(wanted);
        }
        let last = resized(self.old, wanted).group_count() - 1;
        let before = self.old.group_first_block(last);
        (last > 0 && self.settled(before) == Some(before)).then_some(before)
    }
}
