//! The superblock: 1024 bytes (kernel doc, "Super Block").
//!
//! ```text
//!   0x00 s_inodes_count          0x58 s_inode_size           0x104 s_first_meta_bg
//!   0x04 s_blocks_count_lo       0x5A s_block_group_nr       0x10C s_jnl_blocks
//!   0x08 s_r_blocks_count_lo     0x5C s_feature_compat       0x150 s_blocks_count_hi
//!   0x0C s_free_blocks_count_lo  0x60 s_feature_incompat     0x154 s_r_blocks_count_hi
//!   0x10 s_free_inodes_count     0x64 s_feature_ro_compat    0x158 s_free_blocks_count_hi
//!   0x14 s_first_data_block      0x68 s_uuid                 0x168 s_mmp_block
//!   0x18 s_log_block_size        0x78 s_volume_name          0x175 s_checksum_type
//!   0x1C s_log_cluster_size      0xCE s_reserved_gdt_blocks  0x248 s_overhead_clusters
//!   0x20 s_blocks_per_group      0xE0 s_journal_inum         0x24C s_backup_bgs
//!   0x24 s_clusters_per_group    0xE4 s_journal_dev          0x270 s_checksum_seed
//!   0x28 s_inodes_per_group      0xE8 s_last_orphan          0x274 s_wtime_hi
//!   0x30 s_wtime                 0xFD s_jnl_backup_type      0x280 s_orphan_file_inum
//!   0x38 s_magic                 0xFE s_desc_size            0x3FC s_checksum
//!   0x3A s_state   0x4C s_rev_level   0x54 s_first_ino
//! ```

use cardkeep_block::{le_u16, le_u32, le_u64};

use super::{BLOCK_FIELD_BYTES, check_len, put_u16, put_u32};
use crate::error::{Error, UnsupportedKind};

/// How long it is, in bytes.
pub const SUPERBLOCK_BYTES: usize = 1024;
/// `s_checksum`.
const CHECKSUM: usize = 0x3FC;
const MAGIC: u16 = 0xEF53;
/// 64bit, of `s_feature_incompat`.
const INCOMPAT_64BIT: u32 = 0x80;
const LAST_ORPHAN: usize = 0xE8;
/// Fields that hold inode numbers: `s_journal_inum`, `s_last_orphan`, `s_usr_quota_inum`,
/// `s_grp_quota_inum`, `s_lpf_ino`, `s_prj_quota_inum`, `s_orphan_file_inum`.
const INODE_FIELDS: [usize; 7] = [0xE0, LAST_ORPHAN, 0x240, 0x244, 0x268, 0x26C, 0x280];
/// `s_jnl_blocks`: a copy of the journal's `i_block`.
const JNL_BLOCKS: usize = 0x10C;

/// Where the halves of a count of blocks lie.
type Halves = (usize, usize);
const BLOCKS: Halves = (0x04, 0x150);
const RESERVED_BLOCKS: Halves = (0x08, 0x154);
const FREE_BLOCKS: Halves = (0x0C, 0x158);

/// A superblock's record, the first one or a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperblockRecord<B> {
    bytes: B,
}

/// A field of the superblock that is read as it is.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $kind:ident = $read:ident($offset:literal);)*) => {
        impl<B: AsRef<[u8]>> SuperblockRecord<B> {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> $kind {
                $read(self.bytes(), $offset)
            })*
        }
    };
}

fields! {
    /// Returns `s_inodes_count`.
    inodes_count: u32 = le_u32(0x00);
    /// Returns `s_free_inodes_count`.
    free_inodes_count: u32 = le_u32(0x10);
    /// Returns `s_first_data_block`.
    first_data_block: u32 = le_u32(0x14);
    /// Returns `s_log_block_size`: powers of two above 1024.
    log_block_size: u32 = le_u32(0x18);
    /// Returns `s_log_cluster_size`: powers of two above 1024.
    log_cluster_size: u32 = le_u32(0x1C);
    /// Returns `s_blocks_per_group`.
    blocks_per_group: u32 = le_u32(0x20);
    /// Returns `s_clusters_per_group`.
    clusters_per_group: u32 = le_u32(0x24);
    /// Returns `s_inodes_per_group`.
    inodes_per_group: u32 = le_u32(0x28);
    /// Returns `s_state`.
    state: u16 = le_u16(0x3A);
    /// Returns `s_rev_level`.
    revision: u32 = le_u32(0x4C);
    /// Returns `s_inode_size`, which revision 0 does not have.
    inode_size: u16 = le_u16(0x58);
    /// Returns `s_block_group_nr`: the group that this copy lies in.
    block_group_nr: u16 = le_u16(0x5A);
    /// Returns `s_feature_compat`.
    feature_compat: u32 = le_u32(0x5C);
    /// Returns `s_feature_incompat`.
    feature_incompat: u32 = le_u32(0x60);
    /// Returns `s_feature_ro_compat`.
    feature_ro_compat: u32 = le_u32(0x64);
    /// Returns `s_reserved_gdt_blocks`.
    reserved_gdt_blocks: u16 = le_u16(0xCE);
    /// Returns `s_journal_inum`.
    journal_inum: u32 = le_u32(0xE0);
    /// Returns `s_journal_dev`.
    journal_dev: u32 = le_u32(0xE4);
    /// Returns `s_last_orphan`: the first of the inodes that wait to be cleaned up, or 0.
    last_orphan: u32 = le_u32(0xE8);
    /// Returns `s_desc_size`, which means nothing without 64bit.
    desc_size: u16 = le_u16(0xFE);
    /// Returns `s_first_meta_bg`.
    first_meta_bg: u32 = le_u32(0x104);
    /// Returns `s_mmp_block`, which means nothing without mmp.
    mmp_block: u64 = le_u64(0x168);
    /// Returns `s_overhead_clusters`: 0 where it was never counted.
    overhead_clusters: u32 = le_u32(0x248);
    /// Returns `s_checksum_seed`, which means nothing without metadata_csum_seed.
    checksum_seed: u32 = le_u32(0x270);
    /// Returns `s_orphan_file_inum`, which means nothing without orphan_file.
    orphan_file_inum: u32 = le_u32(0x280);
    /// Returns `s_checksum`.
    checksum: u32 = le_u32(0x3FC);
}

impl<B: AsRef<[u8]>> SuperblockRecord<B> {
    /// Returns the superblock in `bytes`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for fewer than 1024 bytes.
    pub fn new(bytes: B) -> Result<Self, Error> {
        check_len("superblock", bytes.as_ref(), SUPERBLOCK_BYTES)?;
        Ok(Self { bytes })
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Tells whether `s_magic` is ext's.
    #[must_use]
    pub fn has_magic(&self) -> bool {
        has_magic(&self.bytes()[0x38..])
    }

    fn is_wide(&self) -> bool {
        self.feature_incompat() & INCOMPAT_64BIT != 0
    }

    fn count(&self, (low, high): Halves) -> u64 {
        let upper = if self.is_wide() {
            u64::from(le_u32(self.bytes(), high)) << 32
        } else {
            0
        };
        u64::from(le_u32(self.bytes(), low)) | upper
    }

    /// Returns `s_blocks_count`.
    #[must_use]
    pub fn blocks_count(&self) -> u64 {
        self.count(BLOCKS)
    }

    /// Returns `s_r_blocks_count`: blocks that only root may use.
    #[must_use]
    pub fn reserved_blocks_count(&self) -> u64 {
        self.count(RESERVED_BLOCKS)
    }

    /// Returns `s_free_blocks_count`.
    #[must_use]
    pub fn free_blocks_count(&self) -> u64 {
        self.count(FREE_BLOCKS)
    }

    /// Returns `s_first_ino`: inodes below are reserved. 11 in revision 0.
    #[must_use]
    pub fn first_inode(&self) -> u32 {
        match self.revision() {
            0 => 11,
            _ => le_u32(self.bytes(), 0x54),
        }
    }

    /// Returns `s_uuid`.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        std::array::from_fn(|index| self.bytes()[0x68 + index])
    }

    /// Returns `s_volume_name`, up to its first NUL.
    #[must_use]
    pub fn volume_name(&self) -> String {
        let field = &self.bytes()[0x78..0x88];
        let end = field.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
    }

    /// Returns `s_checksum_type`.
    #[must_use]
    pub fn checksum_type(&self) -> u8 {
        self.bytes()[0x175]
    }

    /// Returns `s_wtime`, in seconds since 1970.
    #[must_use]
    pub fn wtime(&self) -> u64 {
        u64::from(le_u32(self.bytes(), 0x30)) | u64::from(self.bytes()[0x274]) << 32
    }

    /// Returns `s_backup_bgs`: the groups with copies where there is sparse_super2.
    #[must_use]
    pub fn backup_groups(&self) -> [u32; 2] {
        [le_u32(self.bytes(), 0x24C), le_u32(self.bytes(), 0x250)]
    }

    /// Tells whether there is a copy of the journal's map (`s_jnl_backup_type`,
    /// EXT3_JNL_BACKUP_BLOCKS).
    #[must_use]
    pub fn has_journal_copy(&self) -> bool {
        self.bytes()[0xFD] == 1
    }

    /// Returns what `s_checksum` covers.
    pub(crate) fn before_checksum(&self) -> &[u8] {
        &self.bytes()[..CHECKSUM]
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> SuperblockRecord<B> {
    fn put_u32(&mut self, offset: usize, value: u32) {
        put_u32(self.bytes.as_mut(), offset, value);
    }

    fn put_u16(&mut self, offset: usize, value: u16) {
        put_u16(self.bytes.as_mut(), offset, value);
    }

    fn set_count(&mut self, (low, high): Halves, count: u64) -> Result<(), Error> {
        if self.is_wide() {
            self.put_u32(high, (count >> 32) as u32);
        } else if count > u64::from(u32::MAX) {
            return Err(UnsupportedKind::BlockCount(count).into());
        }
        self.put_u32(low, count as u32);
        Ok(())
    }

    /// Sets `s_inodes_count`.
    pub fn set_inodes_count(&mut self, count: u32) {
        self.put_u32(0x00, count);
    }

    /// Sets `s_free_inodes_count`.
    pub fn set_free_inodes_count(&mut self, count: u32) {
        self.put_u32(0x10, count);
    }

    /// Sets `s_blocks_count`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a count that needs 64bit where that is not on. So with all counts
    /// of blocks.
    pub fn set_blocks_count(&mut self, count: u64) -> Result<(), Error> {
        self.set_count(BLOCKS, count)
    }

    /// Sets `s_r_blocks_count`.
    ///
    /// # Errors
    /// As [`SuperblockRecord::set_blocks_count`].
    pub fn set_reserved_blocks_count(&mut self, count: u64) -> Result<(), Error> {
        self.set_count(RESERVED_BLOCKS, count)
    }

    /// Sets `s_free_blocks_count`.
    ///
    /// # Errors
    /// As [`SuperblockRecord::set_blocks_count`].
    pub fn set_free_blocks_count(&mut self, count: u64) -> Result<(), Error> {
        self.set_count(FREE_BLOCKS, count)
    }

    /// Sets `s_state`.
    pub fn set_state(&mut self, state: u16) {
        self.put_u16(0x3A, state);
    }

    /// Sets `s_block_group_nr`.
    pub fn set_block_group_nr(&mut self, group: u16) {
        self.put_u16(0x5A, group);
    }

    /// Sets `s_feature_compat`.
    pub fn set_feature_compat(&mut self, bits: u32) {
        self.put_u32(0x5C, bits);
    }

    /// Sets `s_feature_incompat`. Comes before counts of blocks where it switches 64bit.
    pub fn set_feature_incompat(&mut self, bits: u32) {
        self.put_u32(0x60, bits);
    }

    /// Sets `s_reserved_gdt_blocks`.
    pub fn set_reserved_gdt_blocks(&mut self, count: u16) {
        self.put_u16(0xCE, count);
    }

    /// Sets `s_first_meta_bg`.
    pub fn set_first_meta_bg(&mut self, index: u32) {
        self.put_u32(0x104, index);
    }

    /// Sets `s_mmp_block`.
    pub fn set_mmp_block(&mut self, block: u64) {
        self.put_u32(0x168, block as u32);
        self.put_u32(0x16C, (block >> 32) as u32);
    }

    /// Sets `s_overhead_clusters`.
    pub fn set_overhead_clusters(&mut self, count: u32) {
        self.put_u32(0x248, count);
    }

    /// Sets `s_backup_bgs`.
    pub fn set_backup_groups(&mut self, groups: [u32; 2]) {
        self.put_u32(0x24C, groups[0]);
        self.put_u32(0x250, groups[1]);
    }

    /// Gives each inode that it names the number that `number_of` returns for its old one.
    pub fn renumber_inodes(&mut self, number_of: impl Fn(u32) -> u32) {
        for field in INODE_FIELDS {
            let old = le_u32(self.bytes(), field);
            if old != 0 {
                self.put_u32(field, number_of(old));
            }
        }
    }

    /// Sets the copy of the journal's `i_block` in `s_jnl_blocks`.
    pub fn set_journal_copy(&mut self, block_field: &[u8; BLOCK_FIELD_BYTES]) {
        self.bytes.as_mut()[JNL_BLOCKS..JNL_BLOCKS + BLOCK_FIELD_BYTES]
            .copy_from_slice(block_field);
    }

    /// Sets `s_checksum`.
    pub(crate) fn set_checksum(&mut self, sum: u32) {
        self.put_u32(CHECKSUM, sum);
    }
}

/// Tells whether `s_magic`, which begins `bytes`, is ext's.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    le_u16(bytes, 0) == MAGIC
}

#[cfg(test)]
mod tests {
    use super::SuperblockRecord;
    use crate::error::Error;

    #[test]
    fn counts_of_64_bits_need_the_feature_and_short_records_are_errors() {
        let mut record = SuperblockRecord::new(vec![0; 1024]).unwrap();
        let count = 0x12_3456_789A;
        assert!(matches!(
            record.set_blocks_count(count),
            Err(Error::Unsupported(_))
        ));
        assert_eq!(record.bytes(), [0; 1024]);
        record.set_feature_incompat(super::INCOMPAT_64BIT);
        record.set_blocks_count(count).unwrap();
        assert_eq!(record.blocks_count(), count);
        assert!(matches!(
            SuperblockRecord::new([0; 1023]),
            Err(Error::Corrupt(_))
        ));
    }
}
