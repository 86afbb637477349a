//! Group descriptors as bytes, read whole and edited in place (kernel doc, "Block Group
//! Descriptors").

use cardkeep_block::{ReadAt, le_u16, le_u32};
use cardkeep_ext4::Superblock;

use super::declined::Declined;
use super::field::put_u16;
use super::geometry::descriptor_blocks;

/// `bg_flags`: no inode of the group is in use; its bitmap is not written.
pub(crate) const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap is not written.
pub(crate) const BLOCK_UNINIT: u16 = 2;

/// The descriptors of all groups of a filesystem.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    bytes: Vec<u8>,
    size: usize,
    has_flags: bool,
}

impl Descriptors {
    /// Reads them all; [`cardkeep_ext4::Ext4::load`] has checked that their number is bounded, and
    /// that what they name lies within the filesystem.
    pub(crate) fn load(medium: &impl ReadAt, superblock: &Superblock) -> Result<Self, Declined> {
        let block_bytes = u64::from(superblock.block_bytes);
        let mut bytes = Vec::new();
        for index in 0..descriptor_blocks(superblock) {
            let offset = superblock.descriptor_block(index) * block_bytes;
            bytes.extend(medium.read_vec(offset, block_bytes as usize)?);
        }
        let size = usize::from(superblock.descriptor_bytes);
        bytes.truncate(superblock.group_count() as usize * size);
        Ok(Self {
            bytes,
            size,
            has_flags: superblock.has_group_checksums(),
        })
    }

    /// Keeps the first `count` of them.
    pub(crate) fn truncate(&mut self, count: u64) {
        self.bytes.truncate(count as usize * self.size);
    }

    /// Returns all their bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn one(&self, group: u64) -> &[u8] {
        let start = group as usize * self.size;
        self.bytes.get(start..start + self.size).unwrap_or(&[])
    }

    /// Returns the bytes of one.
    pub(crate) fn one_mut(&mut self, group: u64) -> &mut [u8] {
        let start = group as usize * self.size;
        self.bytes
            .get_mut(start..start + self.size)
            .unwrap_or(&mut [])
    }

    fn block(&self, group: u64, low: usize, high: usize) -> u64 {
        // Short descriptors end before the high half, which reads as 0 then.
        u64::from(le_u32(self.one(group), low)) | u64::from(le_u32(self.one(group), high)) << 32
    }

    fn number(&self, group: u64, low: usize, high: usize) -> u32 {
        u32::from(le_u16(self.one(group), low)) | u32::from(le_u16(self.one(group), high)) << 16
    }

    fn put_number(&mut self, group: u64, low: usize, high: usize, value: u32) {
        let one = self.one_mut(group);
        put_u16(one, low, value as u16);
        put_u16(one, high, (value >> 16) as u16);
    }

    /// Returns `bg_block_bitmap`.
    pub(crate) fn block_bitmap(&self, group: u64) -> u64 {
        self.block(group, 0x00, 0x20)
    }

    /// Returns `bg_inode_bitmap`.
    pub(crate) fn inode_bitmap(&self, group: u64) -> u64 {
        self.block(group, 0x04, 0x24)
    }

    /// Returns `bg_inode_table`.
    pub(crate) fn inode_table(&self, group: u64) -> u64 {
        self.block(group, 0x08, 0x28)
    }

    /// Returns `bg_free_blocks_count`.
    pub(crate) fn free_clusters(&self, group: u64) -> u32 {
        self.number(group, 0x0C, 0x2C)
    }

    /// Returns `bg_free_inodes_count`.
    pub(crate) fn free_inodes(&self, group: u64) -> u32 {
        self.number(group, 0x0E, 0x2E)
    }

    /// Sets the three counts: of free clusters, of free inodes, of directories.
    pub(crate) fn put_counts(&mut self, group: u64, clusters: u32, inodes: u32, directories: u32) {
        self.put_number(group, 0x0C, 0x2C, clusters);
        self.put_number(group, 0x0E, 0x2E, inodes);
        self.put_number(group, 0x10, 0x30, directories);
    }

    /// Returns `bg_flags`, 0 where they mean nothing.
    pub(crate) fn flags(&self, group: u64) -> u16 {
        if self.has_flags {
            le_u16(self.one(group), 0x12)
        } else {
            0
        }
    }

    /// Takes flags away.
    pub(crate) fn clear_flags(&mut self, group: u64, flags: u16) {
        let left = self.flags(group) & !flags;
        if self.has_flags {
            put_u16(self.one_mut(group), 0x12, left);
        }
    }

    /// Returns how many inodes at the beginning of the group's table may be in use.
    pub(crate) fn used_inodes(&self, group: u64, inodes_per_group: u32) -> u32 {
        if self.flags(group) & INODE_UNINIT != 0 {
            return 0;
        }
        if !self.has_flags {
            return inodes_per_group;
        }
        let unused = self.number(group, 0x1C, 0x32);
        inodes_per_group
            .checked_sub(unused)
            .unwrap_or(inodes_per_group)
    }

    /// Says that the first `count` inodes of the group may be in use.
    pub(crate) fn put_used_inodes(&mut self, group: u64, count: u32, inodes_per_group: u32) {
        if self.has_flags {
            let unused = inodes_per_group.saturating_sub(count);
            self.put_number(group, 0x1C, 0x32, unused);
        }
    }

    #[cfg(test)]
    pub(crate) fn blank(count: usize, size: usize) -> Self {
        Self {
            bytes: vec![0; count * size],
            size,
            has_flags: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Descriptors, INODE_UNINIT};

    #[test]
    fn short_descriptors_have_no_high_halves() {
        for (size, expected) in [(32, 0x5678), (64, 0x1234_5678)] {
            let mut descriptors = Descriptors::blank(2, size);
            descriptors.put_counts(1, 0x1234_5678, 0, 0);
            assert_eq!(descriptors.free_clusters(1), expected);
            assert_eq!(descriptors.free_clusters(0), 0);
        }
    }

    #[test]
    fn an_uninitialised_group_has_no_inodes_in_use() {
        let mut descriptors = Descriptors::blank(1, 64);
        descriptors.put_used_inodes(0, 7, 10);
        assert_eq!(descriptors.used_inodes(0, 10), 7);
        descriptors.one_mut(0)[0x12] = INODE_UNINIT as u8;
        assert_eq!(descriptors.used_inodes(0, 10), 0);
        descriptors.clear_flags(0, INODE_UNINIT);
        assert_eq!(descriptors.used_inodes(0, 10), 7);
    }
}
