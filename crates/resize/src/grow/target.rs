//! What the grown filesystem will be: how many blocks and groups, and where its descriptors go.

use std::ops::Range;

use cardkeep_ext4::{Sealer, Superblock, feature};

use crate::declined::Declined;
use crate::unsupported::UnsupportedKind;

/// A last group with fewer blocks left than this beside its metadata is not worth making:
/// resize2fs decides alike (`adjust_new_size`).
const LAST_GROUP_ROOM_BLOCKS: u64 = 50;
/// resize2fs rounds to the pages of most machines.
const PAGE_BYTES: u64 = 4096;
/// As many groups as reading bears, see `Superblock::check_geometry`.
const GROUPS_MAX: u64 = 1 << 19;
/// `s_feature_compat` as e2fsprogs 1.47 knows it: dir_prealloc to dir_index, sparse_super2 to
/// orphan_file. Left out: snapshots, whose groups have another bitmap.
const COMPAT_KNOWN: u32 = 0x3F | 0x200 | 0x400 | 0x800 | 0x1000;
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
        return Err(UnsupportedKind::Frozen.into());
    }
    let unknown = old.compat & !COMPAT_KNOWN;
    if unknown != 0 {
        return Err(UnsupportedKind::Compat(unknown).into());
    }
    let has_resize_inode = old.has_compat(feature::COMPAT_RESIZE_INODE);
    let has_meta_bg = old.has_incompat(feature::INCOMPAT_META_BG);
    if has_resize_inode && has_meta_bg {
        return Err(UnsupportedKind::ResizeInodeAndMetaBg.into());
    }
    let descriptor_blocks = old.descriptor_block_count();
    if has_meta_bg && u64::from(old.first_meta_bg) > descriptor_blocks {
        // The kernel does not mount it, and groups may begin with more than is counted here.
        return Err(UnsupportedKind::MetaBgBehindEnd.into());
    }
    if !has_resize_inode && old.reserved_gdt_blocks != 0 {
        return Err(UnsupportedKind::ReserveWithoutInode.into());
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
        return Err(UnsupportedKind::ClustersWithoutReserve.into());
    }
    new.incompat |= feature::INCOMPAT_META_BG;
    new.compat &= !feature::COMPAT_RESIZE_INODE;
    new.first_meta_bg = u32::try_from(before + reserved).unwrap_or(u32::MAX);
    new.reserved_gdt_blocks = 0;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::declined::Declined;
    use cardkeep_ext4::{Superblock, feature};

    const GROUP_BYTES: u64 = 32768 * 4096;

    /// Blocks of 4 KiB, descriptors of 32 bytes, three groups, no features but those given.
    fn old(compat: u32, reserved: u16) -> Superblock {
        let mut bytes = vec![0; 1024];
        let mut put = |offset: usize, value: u32| {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        };
        put(0x00, 3 * 8192);
        put(0x04, 3 * 32768);
        put(0x18, 2);
        put(0x1C, 2);
        put(0x20, 32768);
        put(0x24, 32768);
        put(0x28, 8192);
        put(0x38, 0x1_EF53);
        put(0x4C, 1);
        put(0x58, 256);
        put(0x5C, compat);
        put(0x64, feature::RO_COMPAT_SPARSE_SUPER);
        put(0xCC, u32::from(reserved) << 16);
        Superblock::parse(&bytes).unwrap()
    }

    #[test]
    fn descriptors_take_the_reserve_first_and_then_meta_block_groups() {
        let old = old(feature::COMPAT_RESIZE_INODE, 2);
        let new = |groups: u64| Target::of(&old, groups * GROUP_BYTES).unwrap().new;
        assert_eq!(new(128).reserved_gdt_blocks, 2);
        assert_eq!(new(129).reserved_gdt_blocks, 1);
        let last = new(384);
        assert_eq!(last.reserved_gdt_blocks, 0);
        assert!(last.has_compat(feature::COMPAT_RESIZE_INODE));
        let beyond = new(385);
        assert_eq!((beyond.first_meta_bg, beyond.reserved_gdt_blocks), (3, 0));
        assert!(beyond.has_incompat(feature::INCOMPAT_META_BG));
        assert!(!beyond.has_compat(feature::COMPAT_RESIZE_INODE));
        // What groups begin with stays where it is.
        for group in [0, 1, 3] {
            assert_eq!(beyond.base_block_count(group), old.base_block_count(group));
            assert_eq!(last.base_block_count(group), old.base_block_count(group));
        }
    }

    #[test]
    fn a_last_group_without_room_is_not_made() {
        let old = old(0, 0);
        // Two bitmaps, an inode table of 512 blocks and 50 more; group 3 has copies of two blocks.
        let least = 2 + 512 + 50;
        let blocks = |groups: u64, more: u64| {
            let len = groups * GROUP_BYTES + more * 4096;
            Target::of(&old, len).unwrap().new.block_count
        };
        assert_eq!(blocks(3, least + 1), 3 * 32768);
        assert_eq!(blocks(3, least + 2), 3 * 32768 + least + 2);
        assert_eq!(blocks(4, least - 1), 4 * 32768);
        assert_eq!(blocks(4, least), 4 * 32768 + least);
    }

    #[test]
    fn numbers_of_32_bits_bound_the_size() {
        let declined = Target::of(&old(0, 0), 1 << 44).err();
        let Some(Declined::TooLarge { len_max }) = declined else {
            panic!("{declined:?}");
        };
        assert_eq!(len_max, u64::from(u32::MAX) * 4096);
        assert!(Target::of(&old(0, 0), len_max).is_ok());
        let mut many_inodes = old(0, 0);
        many_inodes.inodes_per_group = 32768;
        assert!(Target::of(&many_inodes, len_max).is_err());
        assert!(Target::of(&many_inodes, 131_071 * GROUP_BYTES).is_ok());
    }

    #[test]
    fn what_is_not_known_is_declined() {
        for (compat, reserved) in [(0x100, 0), (0x40, 0), (0, 3)] {
            let target = Target::of(&old(compat, reserved), 4 * GROUP_BYTES);
            assert!(matches!(target.err(), Some(Declined::Unsupported(_))));
        }
        assert!(matches!(
            Target::of(&old(0, 0), GROUP_BYTES).err(),
            Some(Declined::Smaller { len }) if len == 3 * GROUP_BYTES
        ));
    }
}
