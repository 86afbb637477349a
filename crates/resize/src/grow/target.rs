//! What the grown filesystem will be: how many blocks and groups, and where its descriptors go.

use std::ops::Range;

use cardkeep_ext4::{Sealer, Superblock, feature};

use super::declined::Declined;

/// A last group with fewer blocks left than this beside its metadata is not worth making:
/// resize2fs decides alike (`adjust_new_size`).
const LAST_GROUP_ROOM_BLOCKS: u64 = 50;
/// resize2fs rounds to the pages of most machines.
const PAGE_BYTES: u64 = 4096;
/// As many groups as reading bears, see `Superblock::check_geometry`.
const GROUPS_MAX: u64 = 1 << 19;
/// `s_feature_ro_compat`: readonly, shared_blocks. Not meant to be changed any more.
const FROZEN: u32 = 0x1000 | 0x4000;

/// The filesystem before and after.
pub(super) struct Target {
    pub(super) old: Superblock,
    /// Free counts are those of before.
    pub(super) new: Superblock,
    pub(super) sealer: Sealer,
}

impl Target {
    /// Decides what fits `new_len` bytes.
    pub(super) fn of(old: &Superblock, new_len: u64) -> Result<Self, Declined> {
        let bytes = u64::from(old.block_bytes);
        if new_len / bytes < old.block_count {
            let len = old.block_count.saturating_mul(bytes);
            return Err(Declined::Smaller { len });
        }
        check_features(old)?;
        let whole = u64::from(old.cluster_blocks).max(PAGE_BYTES / bytes);
        let count = new_len / bytes / whole * whole;
        let count = count.max(old.block_count);
        let count_max = block_count_max(old);
        if count > count_max {
            let len_max = (count_max / whole * whole).saturating_mul(bytes);
            return Err(Declined::TooLarge { len_max });
        }
        let mut new = with_block_count(old, count)?;
        if let Some(start) = start_of_cramped_group(old, &new) {
            new = with_block_count(old, start)?;
        }
        Ok(Self {
            old: old.clone(),
            new,
            sealer: Sealer::new(old),
        })
    }

    pub(super) fn is_same(&self) -> bool {
        self.new.block_count == self.old.block_count
    }

    pub(super) fn len_before(&self) -> u64 {
        let bytes = u64::from(self.old.block_bytes);
        self.old.block_count.saturating_mul(bytes)
    }

    pub(super) fn len(&self) -> u64 {
        let bytes = u64::from(self.new.block_bytes);
        self.new.block_count.saturating_mul(bytes)
    }

    /// Returns the numbers of the groups to be added.
    pub(super) fn new_groups(&self) -> Range<u64> {
        self.old.group_count()..self.new.group_count()
    }

    /// Returns the number of clusters in a group, before and after.
    pub(super) fn cluster_counts(&self, group: u64) -> (u64, u64) {
        let clusters = |superblock: &Superblock| {
            let blocks = superblock.group_block_count(group);
            blocks.div_ceil(u64::from(superblock.cluster_blocks))
        };
        (clusters(&self.old), clusters(&self.new))
    }
}

fn check_features(old: &Superblock) -> Result<(), Declined> {
    if old.has_ro_compat(FROZEN) {
        return Err(Declined::unsupported(
            "blocks that are shared or must not be changed",
        ));
    }
    let has_resize_inode = old.has_compat(feature::COMPAT_RESIZE_INODE);
    if has_resize_inode && old.has_incompat(feature::INCOMPAT_META_BG) {
        return Err(Declined::unsupported(
            "both a resize inode and meta block groups",
        ));
    }
    if !has_resize_inode && old.reserved_gdt_blocks != 0 {
        return Err(Declined::unsupported(
            "blocks reserved for descriptors that no inode holds",
        ));
    }
    Ok(())
}

/// Block numbers of 32 bits, inode numbers of 32 bits, and memory bound the size.
fn block_count_max(old: &Superblock) -> u64 {
    let groups = GROUPS_MAX.min(u64::from(u32::MAX) / u64::from(old.inodes_per_group));
    let count = groups.saturating_mul(u64::from(old.blocks_per_group));
    let count = count.saturating_add(u64::from(old.first_data_block));
    if old.has_incompat(feature::INCOMPAT_64BIT) {
        count
    } else {
        count.min(u64::from(u32::MAX))
    }
}

/// Returns the first block of the last group where that one is new and has hardly room for more
/// than its own metadata.
fn start_of_cramped_group(old: &Superblock, new: &Superblock) -> Option<u64> {
    let last = new.group_count() - 1;
    let blocks = new.group_block_count(last);
    let needed = new
        .base_block_count(last)
        .saturating_add(new.inode_table_block_count())
        .saturating_add(2 + LAST_GROUP_ROOM_BLOCKS);
    let is_whole = blocks == u64::from(new.blocks_per_group);
    let is_cramped = last >= old.group_count() && !is_whole && blocks < needed;
    is_cramped.then(|| new.group_first_block(last))
}

/// Returns the superblock with more blocks, and with its descriptors placed: in the reserve as long
/// as there is one, then in meta block groups.
fn with_block_count(old: &Superblock, block_count: u64) -> Result<Superblock, Declined> {
    let mut new = old.clone();
    new.block_count = block_count;
    let per_block = old.descriptors_per_block();
    let (before, after) = (
        old.group_count().div_ceil(per_block),
        new.group_count().div_ceil(per_block),
    );
    let inodes = new.group_count() * u64::from(new.inodes_per_group);
    // It has more inodes than that only where it had before.
    new.inode_count = u32::try_from(inodes).unwrap_or(u32::MAX);
    let is_meta =
        old.has_incompat(feature::INCOMPAT_META_BG) && u64::from(old.first_meta_bg) <= before;
    if after == before || is_meta {
        return Ok(new);
    }
    let reserved = u64::from(old.reserved_gdt_blocks);
    if let Some(left) = reserved.checked_sub(after - before) {
        // OK to cast: less than before.
        new.reserved_gdt_blocks = left as u16;
        return Ok(new);
    }
    if old.cluster_blocks > 1 {
        // The one block that is set free shares its cluster with others.
        return Err(Declined::unsupported(
            "clusters, and no blocks reserved for that many descriptors",
        ));
    }
    new.incompat |= feature::INCOMPAT_META_BG;
    new.compat &= !feature::COMPAT_RESIZE_INODE;
    new.first_meta_bg = u32::try_from(before + reserved).unwrap_or(u32::MAX);
    new.reserved_gdt_blocks = 0;
    Ok(new)
}
