//! Group descriptors as bytes, read whole and edited in place (kernel doc, "Block Group
//! Descriptors").

use cardkeep_block::ReadAt;
use cardkeep_ext4::{DescriptorRecord, INODE_UNINIT, Superblock};

use crate::declined::Declined;

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
        for index in 0..superblock.descriptor_block_count() {
            let offset = superblock.descriptor_block(index) * block_bytes;
            bytes.extend(medium.read_vec(offset, block_bytes as usize)?);
        }
        let size = usize::from(superblock.descriptor_bytes);
        let len = superblock.group_count() as usize * size;
        // None is shorter than a descriptor is, nor missing: what is asked for later is there.
        DescriptorRecord::new(bytes.get(len.saturating_sub(size)..len).unwrap_or_default())?;
        bytes.truncate(len);
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

    /// Returns what `field` says of a group.
    ///
    /// # Panics
    /// For a group that is not there: 0 in place of its bitmap would lead into other content.
    fn field<T>(&self, group: u64, field: impl Fn(DescriptorRecord<&[u8]>) -> T) -> T {
        let start = group as usize * self.size;
        let record = DescriptorRecord::new(&self.bytes[start..start + self.size]);
        // OK to unwrap: loading has checked how long each is.
        field(record.expect("a descriptor is as long as loading found"))
    }

    /// Returns the descriptor of a group, to be changed.
    pub(crate) fn one_mut(&mut self, group: u64) -> Result<DescriptorRecord<&mut [u8]>, Declined> {
        let start = group as usize * self.size;
        let bytes = self.bytes.get_mut(start..start + self.size);
        DescriptorRecord::new(bytes.unwrap_or(&mut [])).map_err(Declined::from_content)
    }

    /// Returns `bg_block_bitmap`.
    pub(crate) fn block_bitmap(&self, group: u64) -> u64 {
        self.field(group, |record| record.block_bitmap())
    }

    /// Returns `bg_inode_bitmap`.
    pub(crate) fn inode_bitmap(&self, group: u64) -> u64 {
        self.field(group, |record| record.inode_bitmap())
    }

    /// Returns `bg_inode_table`.
    pub(crate) fn inode_table(&self, group: u64) -> u64 {
        self.field(group, |record| record.inode_table())
    }

    /// Returns `bg_free_blocks_count`.
    pub(crate) fn free_clusters(&self, group: u64) -> u32 {
        self.field(group, |record| record.free_clusters())
    }

    /// Returns `bg_free_inodes_count`.
    pub(crate) fn free_inodes(&self, group: u64) -> u32 {
        self.field(group, |record| record.free_inodes())
    }

    /// Sets the three counts: of free clusters, of free inodes, of directories.
    pub(crate) fn put_counts(
        &mut self,
        group: u64,
        clusters: u32,
        inodes: u32,
        directories: u32,
    ) -> Result<(), Declined> {
        let mut record = self.one_mut(group)?;
        record
            .set_free_clusters(clusters)
            .and_then(|()| record.set_free_inodes(inodes))
            .and_then(|()| record.set_used_dirs(directories))
            .map_err(Declined::from_content)
    }

    /// Returns `bg_flags`, 0 where they mean nothing.
    pub(crate) fn flags(&self, group: u64) -> u16 {
        if self.has_flags {
            self.field(group, |record| record.flags())
        } else {
            0
        }
    }

    /// Takes flags away.
    pub(crate) fn clear_flags(&mut self, group: u64, flags: u16) -> Result<(), Declined> {
        let left = self.flags(group) & !flags;
        if self.has_flags {
            self.one_mut(group)?.set_flags(left);
        }
        Ok(())
    }

    /// Returns how many inodes at the beginning of the group's table may be in use.
    pub(crate) fn used_inodes(&self, group: u64, inodes_per_group: u32) -> u32 {
        if self.flags(group) & INODE_UNINIT != 0 {
            return 0;
        }
        if !self.has_flags {
            return inodes_per_group;
        }
        let unused = self.field(group, |record| record.unused_inodes());
        inodes_per_group
            .checked_sub(unused)
            .unwrap_or(inodes_per_group)
    }

    /// Says that the first `count` inodes of the group may be in use.
    pub(crate) fn put_used_inodes(
        &mut self,
        group: u64,
        count: u32,
        inodes_per_group: u32,
    ) -> Result<(), Declined> {
        if self.has_flags {
            let unused = inodes_per_group.saturating_sub(count);
            let put = self.one_mut(group)?.set_unused_inodes(unused);
            put.map_err(Declined::from_content)?;
        }
        Ok(())
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
    fn short_descriptors_have_no_high_halves_and_a_missing_group_is_an_error() {
        for (size, expected) in [(32, None), (64, Some(0x1234_5678))] {
            let mut descriptors = Descriptors::blank(2, size);
            let put = descriptors.put_counts(1, 0x1234_5678, 0, 0);
            assert_eq!(put.is_ok(), expected.is_some());
            assert_eq!(descriptors.free_clusters(1), expected.unwrap_or(0));
            assert_eq!(descriptors.free_clusters(0), 0);
            assert!(descriptors.put_counts(2, 1, 0, 0).is_err());
        }
    }

    #[test]
    fn an_uninitialised_group_has_no_inodes_in_use() {
        let mut descriptors = Descriptors::blank(1, 64);
        descriptors.put_used_inodes(0, 7, 10).unwrap();
        assert_eq!(descriptors.used_inodes(0, 10), 7);
        descriptors.one_mut(0).unwrap().set_flags(INODE_UNINIT);
        assert_eq!(descriptors.used_inodes(0, 10), 0);
        descriptors.clear_flags(0, INODE_UNINIT).unwrap();
        assert_eq!(descriptors.used_inodes(0, 10), 7);
    }
}
