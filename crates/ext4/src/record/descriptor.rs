//! Group descriptors (kernel doc, "Block Group Descriptors").
//!
//! ```text
//!   0x00 bg_block_bitmap_lo   0x0C bg_free_blocks_count_lo    0x12 bg_flags
//!   0x04 bg_inode_bitmap_lo   0x0E bg_free_inodes_count_lo    0x18 bg_block_bitmap_csum_lo
//!   0x08 bg_inode_table_lo    0x10 bg_used_dirs_count_lo      0x1A bg_inode_bitmap_csum_lo
//!                                                             0x1C bg_itable_unused_lo
//!                                                             0x1E bg_checksum
//!   high halves, where the record is 64 bytes long or longer:
//!   0x20, 0x24, 0x28          0x2C, 0x2E, 0x30                0x32 unused, 0x38, 0x3A
//! ```

use cardkeep_block::{le_u16, le_u32};

use super::{check_len, put_u16, put_u32};
use crate::error::{Error, UnsupportedKind};

/// `bg_flags`: no inode of the group is in use, its inode table and bitmap are not written.
pub const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap is not written; it is what the layout implies.
pub const BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the unused part of the inode table was zeroed.
pub(crate) const INODE_ZEROED: u16 = 4;

const SHORT_BYTES: usize = 32;
const LONG_BYTES: usize = 64;
/// `bg_checksum`.
const CHECKSUM: usize = 0x1E;

/// Where the halves of a field lie.
type Halves = (usize, usize);
const BLOCK_BITMAP: Halves = (0x00, 0x20);
const INODE_BITMAP: Halves = (0x04, 0x24);
const INODE_TABLE: Halves = (0x08, 0x28);
const FREE_CLUSTERS: Halves = (0x0C, 0x2C);
const FREE_INODES: Halves = (0x0E, 0x2E);
const USED_DIRS: Halves = (0x10, 0x30);
const FLAGS: usize = 0x12;
const BLOCK_BITMAP_CSUM: Halves = (0x18, 0x38);
const INODE_BITMAP_CSUM: Halves = (0x1A, 0x3A);
const ITABLE_UNUSED: Halves = (0x1C, 0x32);

/// A group descriptor, as long as `s_desc_size` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorRecord<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> DescriptorRecord<B> {
    /// Returns the descriptor in `bytes`, all of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for fewer than 32 bytes.
    pub fn new(bytes: B) -> Result<Self, Error> {
        check_len("group descriptor", bytes.as_ref(), SHORT_BYTES)?;
        Ok(Self { bytes })
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    fn is_long(&self) -> bool {
        self.bytes().len() >= LONG_BYTES
    }

    fn block(&self, (low, high): Halves) -> u64 {
        let upper = if self.is_long() {
            u64::from(le_u32(self.bytes(), high)) << 32
        } else {
            0
        };
        u64::from(le_u32(self.bytes(), low)) | upper
    }

    fn number(&self, (low, high): Halves) -> u32 {
        let upper = if self.is_long() {
            u32::from(le_u16(self.bytes(), high)) << 16
        } else {
            0
        };
        u32::from(le_u16(self.bytes(), low)) | upper
    }

    /// Returns `bg_block_bitmap`.
    #[must_use]
    pub fn block_bitmap(&self) -> u64 {
        self.block(BLOCK_BITMAP)
    }

    /// Returns `bg_inode_bitmap`.
    #[must_use]
    pub fn inode_bitmap(&self) -> u64 {
        self.block(INODE_BITMAP)
    }

    /// Returns `bg_inode_table`: its first block.
    #[must_use]
    pub fn inode_table(&self) -> u64 {
        self.block(INODE_TABLE)
    }

    /// Returns `bg_free_blocks_count`, which counts clusters.
    #[must_use]
    pub fn free_clusters(&self) -> u32 {
        self.number(FREE_CLUSTERS)
    }

    /// Returns `bg_free_inodes_count`.
    #[must_use]
    pub fn free_inodes(&self) -> u32 {
        self.number(FREE_INODES)
    }

    /// Returns `bg_flags`, which mean nothing without checksums of descriptors.
    #[must_use]
    pub fn flags(&self) -> u16 {
        le_u16(self.bytes(), FLAGS)
    }

    /// Returns `bg_itable_unused`: inodes at the table's end that were never in use.
    #[must_use]
    pub fn unused_inodes(&self) -> u32 {
        self.number(ITABLE_UNUSED)
    }

    /// Returns `bg_block_bitmap_csum`; a short record has its low half only.
    #[must_use]
    pub fn block_bitmap_checksum(&self) -> u32 {
        self.number(BLOCK_BITMAP_CSUM)
    }

    /// Returns `bg_inode_bitmap_csum`; a short record has its low half only.
    #[must_use]
    pub fn inode_bitmap_checksum(&self) -> u32 {
        self.number(INODE_BITMAP_CSUM)
    }

    /// Returns `bg_checksum`.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        le_u16(self.bytes(), CHECKSUM)
    }

    /// Returns what lies before and behind `bg_checksum`, which a sum covers.
    pub(crate) fn around_checksum(&self) -> (&[u8], &[u8]) {
        let bytes = self.bytes();
        (&bytes[..CHECKSUM], &bytes[CHECKSUM + 2..])
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> DescriptorRecord<B> {
    fn set_block(&mut self, (low, high): Halves, block: u64) -> Result<(), Error> {
        if self.is_long() {
            put_u32(self.bytes.as_mut(), high, (block >> 32) as u32);
        } else if block > u64::from(u32::MAX) {
            return Err(UnsupportedKind::DescriptorTooShort.into());
        }
        put_u32(self.bytes.as_mut(), low, block as u32);
        Ok(())
    }

    fn set_number(&mut self, (low, high): Halves, value: u32) -> Result<(), Error> {
        if self.is_long() {
            put_u16(self.bytes.as_mut(), high, (value >> 16) as u16);
        } else if value > u32::from(u16::MAX) {
            return Err(UnsupportedKind::DescriptorTooShort.into());
        }
        put_u16(self.bytes.as_mut(), low, value as u16);
        Ok(())
    }

    /// Sets `bg_block_bitmap`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a number that a short record has no room for. So with all that
    /// have halves.
    pub fn set_block_bitmap(&mut self, block: u64) -> Result<(), Error> {
        self.set_block(BLOCK_BITMAP, block)
    }

    /// Sets `bg_inode_bitmap`.
    ///
    /// # Errors
    /// As [`DescriptorRecord::set_block_bitmap`].
    pub fn set_inode_bitmap(&mut self, block: u64) -> Result<(), Error> {
        self.set_block(INODE_BITMAP, block)
    }

    /// Sets `bg_inode_table`.
    ///
    /// # Errors
    /// As [`DescriptorRecord::set_block_bitmap`].
    pub fn set_inode_table(&mut self, block: u64) -> Result<(), Error> {
        self.set_block(INODE_TABLE, block)
    }

    /// Sets `bg_free_blocks_count`, which counts clusters.
    ///
    /// # Errors
    /// As [`DescriptorRecord::set_block_bitmap`].
    pub fn set_free_clusters(&mut self, count: u32) -> Result<(), Error> {
        self.set_number(FREE_CLUSTERS, count)
    }

    /// Sets `bg_free_inodes_count`.
    ///
    /// # Errors
    /// As [`DescriptorRecord::set_block_bitmap`].
    pub fn set_free_inodes(&mut self, count: u32) -> Result<(), Error> {
        self.set_number(FREE_INODES, count)
    }

    /// Sets `bg_used_dirs_count`.
    ///
    /// # Errors
    /// As [`DescriptorRecord::set_block_bitmap`].
    pub fn set_used_dirs(&mut self, count: u32) -> Result<(), Error> {
        self.set_number(USED_DIRS, count)
    }

    /// Sets `bg_flags`.
    pub fn set_flags(&mut self, flags: u16) {
        put_u16(self.bytes.as_mut(), FLAGS, flags);
    }

    /// Sets `bg_itable_unused`.
    ///
    /// # Errors
    /// As [`DescriptorRecord::set_block_bitmap`].
    pub fn set_unused_inodes(&mut self, count: u32) -> Result<(), Error> {
        self.set_number(ITABLE_UNUSED, count)
    }

    /// Sets `bg_block_bitmap_csum`; of a short record, the low half, as the kernel does.
    pub(crate) fn set_block_bitmap_checksum(&mut self, sum: u32) {
        self.set_sum(BLOCK_BITMAP_CSUM, sum);
    }

    /// Sets `bg_inode_bitmap_csum`; of a short record, the low half, as the kernel does.
    pub(crate) fn set_inode_bitmap_checksum(&mut self, sum: u32) {
        self.set_sum(INODE_BITMAP_CSUM, sum);
    }

    fn set_sum(&mut self, (low, high): Halves, sum: u32) {
        put_u16(self.bytes.as_mut(), low, sum as u16);
        if self.is_long() {
            put_u16(self.bytes.as_mut(), high, (sum >> 16) as u16);
        }
    }

    /// Sets `bg_checksum`.
    pub(crate) fn set_checksum(&mut self, sum: u16) {
        put_u16(self.bytes.as_mut(), CHECKSUM, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::DescriptorRecord;
    use crate::error::Error;

    #[test]
    fn a_number_that_a_short_descriptor_has_no_room_for_is_an_error() {
        let mut long = DescriptorRecord::new(vec![0; 64]).unwrap();
        long.set_free_clusters(0x1234_5678).unwrap();
        long.set_inode_table(0x12_3456_789A).unwrap();
        assert_eq!(long.free_clusters(), 0x1234_5678);
        assert_eq!(long.inode_table(), 0x12_3456_789A);
        let mut short = DescriptorRecord::new(vec![0; 32]).unwrap();
        assert!(matches!(
            short.set_free_clusters(0x1_0000),
            Err(Error::Unsupported(_))
        ));
        assert!(matches!(
            short.set_inode_table(1 << 32),
            Err(Error::Unsupported(_))
        ));
        assert_eq!(short.bytes(), [0; 32]);
        assert!(matches!(
            DescriptorRecord::new(vec![0; 31]),
            Err(Error::Corrupt(_))
        ));
    }
}
