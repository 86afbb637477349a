//! The superblock, checked: what it says about the filesystem, in plain numbers.

use cardkeep_block::ReadAt;

use crate::checksum::crc32c;
use crate::error::{CorruptKind, Error, UnsupportedKind};
use crate::record::{SUPERBLOCK_BYTES, SuperblockRecord, has_magic};

/// Where the superblock lies, in bytes, whatever the block size.
pub const SUPERBLOCK_OFFSET: u64 = 1024;

/// Bits of `s_feature_compat`, `s_feature_incompat` and `s_feature_ro_compat`.
pub mod feature {
    /// has_journal
    pub const COMPAT_HAS_JOURNAL: u32 = 0x4;
    /// resize_inode
    pub const COMPAT_RESIZE_INODE: u32 = 0x10;
    /// sparse_super2
    pub const COMPAT_SPARSE_SUPER2: u32 = 0x200;
    /// fast_commit
    pub const COMPAT_FAST_COMMIT: u32 = 0x400;
    /// needs_recovery: a journal waits
    pub const INCOMPAT_RECOVER: u32 = 0x4;
    /// journal_dev
    pub const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
    /// meta_bg
    pub const INCOMPAT_META_BG: u32 = 0x10;
    /// extent
    pub const INCOMPAT_EXTENTS: u32 = 0x40;
    /// 64bit
    pub const INCOMPAT_64BIT: u32 = 0x80;
    /// mmp
    pub const INCOMPAT_MMP: u32 = 0x100;
    /// flex_bg
    pub const INCOMPAT_FLEX_BG: u32 = 0x200;
    /// metadata_csum_seed
    pub const INCOMPAT_CSUM_SEED: u32 = 0x2000;
    /// sparse_super
    pub const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
    /// huge_file
    pub const RO_COMPAT_HUGE_FILE: u32 = 0x8;
    /// uninit_bg
    pub const RO_COMPAT_GDT_CSUM: u32 = 0x10;
    /// bigalloc
    pub const RO_COMPAT_BIGALLOC: u32 = 0x200;
    /// metadata_csum
    pub const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

    /// filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir,
    /// inline_data, encrypt, casefold. Left out: compression, journal_dev, dirdata.
    pub(crate) const INCOMPAT_KNOWN: u32 = 0x2
        | INCOMPAT_RECOVER
        | INCOMPAT_META_BG
        | INCOMPAT_EXTENTS
        | INCOMPAT_64BIT
        | INCOMPAT_MMP
        | INCOMPAT_FLEX_BG
        | 0x400
        | INCOMPAT_CSUM_SEED
        | 0x4000
        | 0x8000
        | 0x1_0000
        | 0x2_0000;
    /// sparse_super to extra_isize, quota, bigalloc, metadata_csum, readonly, project,
    /// shared_blocks, verity, orphan_present. A bit that is not known here may well change what
    /// the bitmaps mean.
    pub(crate) const RO_COMPAT_KNOWN: u32 = 0x7F
        | 0x100
        | RO_COMPAT_BIGALLOC
        | RO_COMPAT_METADATA_CSUM
        | 0x1000
        | 0x2000
        | 0x4000
        | 0x8000
        | 0x1_0000;
}

/// `s_checksum_type` of CRC-32C, the only one there is.
const CHECKSUM_CRC32C: u8 = 1;
/// `s_state`: cleanly unmounted.
const STATE_VALID: u16 = 1;
/// `s_state`: the kernel found errors.
const STATE_ERROR: u16 = 2;

/// The fields of a superblock that passed all checks. Counts are in the unit that the name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// `s_inodes_count`.
    pub inode_count: u32,
    /// `s_blocks_count`.
    pub block_count: u64,
    /// `s_free_blocks_count`, in blocks even where there are clusters.
    pub free_block_count: u64,
    /// `s_first_data_block`: 1 for blocks of 1 KiB without clusters, else 0.
    pub first_data_block: u32,
    /// The size of a block.
    pub block_bytes: u32,
    /// How many blocks make a cluster: 1 without bigalloc.
    pub cluster_blocks: u32,
    /// `s_blocks_per_group`.
    pub blocks_per_group: u32,
    /// `s_clusters_per_group`: the number of bits in a block bitmap.
    pub clusters_per_group: u32,
    /// `s_inodes_per_group`.
    pub inodes_per_group: u32,
    /// `s_inode_size`.
    pub inode_bytes: u16,
    /// `s_desc_size`: 32 without 64bit.
    pub descriptor_bytes: u16,
    /// `s_reserved_gdt_blocks`.
    pub reserved_gdt_blocks: u16,
    /// `s_first_meta_bg`: the first descriptor block that lies in its meta block group.
    pub first_meta_bg: u32,
    /// `s_backup_bgs`: the groups with copies where there is sparse_super2.
    pub backup_groups: [u32; 2],
    /// `s_feature_compat`.
    pub compat: u32,
    /// `s_feature_incompat`.
    pub incompat: u32,
    /// `s_feature_ro_compat`.
    pub ro_compat: u32,
    /// `s_state`.
    pub state: u16,
    /// `s_journal_inum`.
    pub journal_inode: u32,
    /// `s_journal_dev`.
    pub journal_device: u32,
    /// What CRC-32C sums begin with: that of the UUID, or `s_checksum_seed`.
    pub checksum_seed: u32,
    /// `s_uuid`.
    pub uuid: [u8; 16],
    /// `s_volume_name`.
    pub label: String,
    /// `s_wtime`, in seconds since 1970.
    pub last_write_seconds: u64,
}

/// Tells whether an ext superblock seems to lie on `medium`.
#[must_use]
pub fn probe(medium: &impl ReadAt) -> bool {
    medium
        .read_vec(SUPERBLOCK_OFFSET + 0x38, 2)
        .is_ok_and(|magic| has_magic(&magic))
}

impl Superblock {
    /// Reads and checks the superblock of `medium`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for features not known here, [`Error::Corrupt`] with the failed
    /// check, [`Error::Io`] where the medium fails.
    pub fn load(medium: &impl ReadAt) -> Result<Self, Error> {
        let bytes = medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)?;
        let superblock = Self::parse(&bytes)?;
        let end = superblock
            .block_count
            .checked_mul(u64::from(superblock.block_bytes));
        if end.is_none_or(|end| end > medium.len()) {
            return Err(CorruptKind::PastEnd {
                block_count: superblock.block_count,
                block_bytes: superblock.block_bytes,
                medium_bytes: medium.len(),
            }
            .into());
        }
        Ok(superblock)
    }

    /// Decodes and checks 1024 bytes.
    ///
    /// # Errors
    /// As [`Superblock::load`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let record = SuperblockRecord::new(bytes)?;
        if !record.has_magic() {
            return Err(CorruptKind::NoMagic.into());
        }
        let (incompat, ro_compat) = (record.feature_incompat(), record.feature_ro_compat());
        check_features(incompat, ro_compat)?;
        if ro_compat & feature::RO_COMPAT_METADATA_CSUM != 0 {
            check_checksum(&record)?;
        }
        let superblock = Self::decode(&record)?;
        superblock.check_geometry()?;
        Ok(superblock)
    }

    fn decode(record: &SuperblockRecord<&[u8]>) -> Result<Self, Error> {
        let (incompat, ro_compat) = (record.feature_incompat(), record.feature_ro_compat());
        let bigalloc = ro_compat & feature::RO_COMPAT_BIGALLOC != 0;
        let wide = incompat & feature::INCOMPAT_64BIT != 0;
        let own_seed = incompat & feature::INCOMPAT_CSUM_SEED != 0;
        let (log_block_size, log_cluster_size) = log_sizes(record, bigalloc)?;
        Ok(Self {
            inode_count: record.inodes_count(),
            block_count: record.blocks_count(),
            free_block_count: record.free_blocks_count(),
            first_data_block: record.first_data_block(),
            block_bytes: 1024 << log_block_size,
            cluster_blocks: 1 << (log_cluster_size - log_block_size),
            blocks_per_group: record.blocks_per_group(),
            clusters_per_group: if bigalloc {
                record.clusters_per_group()
            } else {
                record.blocks_per_group()
            },
            inodes_per_group: record.inodes_per_group(),
            inode_bytes: match record.revision() {
                0 => 128,
                _ => record.inode_size(),
            },
            descriptor_bytes: if wide { record.desc_size() } else { 32 },
            reserved_gdt_blocks: record.reserved_gdt_blocks(),
            first_meta_bg: record.first_meta_bg(),
            backup_groups: record.backup_groups(),
            compat: record.feature_compat(),
            incompat,
            ro_compat,
            state: record.state(),
            journal_inode: record.journal_inum(),
            journal_device: record.journal_dev(),
            checksum_seed: if own_seed {
                record.checksum_seed()
            } else {
                crc32c(!0, &record.uuid())
            },
            uuid: record.uuid(),
            label: record.volume_name(),
            last_write_seconds: record.wtime(),
        })
    }

    fn check_geometry(&self) -> Result<(), Error> {
        let bits = self.block_bytes * 8;
        let impossible = |name, value: u64| Err(CorruptKind::Field { name, value }.into());
        if self.clusters_per_group == 0 || self.clusters_per_group > bits {
            return impossible("s_clusters_per_group", self.clusters_per_group.into());
        }
        if u64::from(self.clusters_per_group) * u64::from(self.cluster_blocks)
            != u64::from(self.blocks_per_group)
        {
            return impossible("s_blocks_per_group", self.blocks_per_group.into());
        }
        if !self.clusters_per_group.is_multiple_of(8) {
            return Err(CorruptKind::BitmapEnd.into());
        }
        if self.inodes_per_group == 0 || self.inodes_per_group > bits {
            return impossible("s_inodes_per_group", self.inodes_per_group.into());
        }
        let inode_bytes = u32::from(self.inode_bytes);
        if inode_bytes < 128 || !inode_bytes.is_power_of_two() || inode_bytes > self.block_bytes {
            return impossible("s_inode_size", inode_bytes.into());
        }
        let descriptor_bytes = u32::from(self.descriptor_bytes);
        let wide = self.has_incompat(feature::INCOMPAT_64BIT);
        let least = if wide { 64 } else { 32 };
        if !(least..=1024).contains(&descriptor_bytes) || !descriptor_bytes.is_power_of_two() {
            return impossible("s_desc_size", descriptor_bytes.into());
        }
        // Byte 1024 is in block 1 for blocks of 1 KiB; with clusters, groups begin at block 0 even
        // so (ext2fs_initialize).
        let first = u32::from(self.block_bytes == 1024 && self.cluster_blocks == 1);
        if u64::from(self.first_data_block) >= self.block_count || self.first_data_block != first {
            return impossible("s_first_data_block", self.first_data_block.into());
        }
        // What memory may be spent on descriptors: 4 TB in blocks of 1 KiB, 64 TB in blocks of 4.
        if self.group_count() > 1 << 19 {
            return Err(CorruptKind::GroupCount(self.group_count()).into());
        }
        Ok(())
    }

    /// Returns the number of block groups.
    #[must_use]
    pub fn group_count(&self) -> u64 {
        (self.block_count - u64::from(self.first_data_block))
            .div_ceil(u64::from(self.blocks_per_group))
    }

    /// Tells whether a `s_feature_compat` bit is set.
    #[must_use]
    pub const fn has_compat(&self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    /// Tells whether a `s_feature_incompat` bit is set.
    #[must_use]
    pub const fn has_incompat(&self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    /// Tells whether a `s_feature_ro_compat` bit is set.
    #[must_use]
    pub const fn has_ro_compat(&self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// Tells whether group descriptors carry checksums: only then their flags mean anything.
    #[must_use]
    pub const fn has_group_checksums(&self) -> bool {
        self.has_ro_compat(feature::RO_COMPAT_GDT_CSUM | feature::RO_COMPAT_METADATA_CSUM)
    }

    /// Tells whether a journal waits to be replayed.
    #[must_use]
    pub const fn needs_recovery(&self) -> bool {
        self.has_compat(feature::COMPAT_HAS_JOURNAL) && self.has_incompat(feature::INCOMPAT_RECOVER)
    }

    /// Tells whether it is marked as in order. Without a journal the mark goes while mounted; with
    /// one, only tools that want to be followed by e2fsck take it away.
    #[must_use]
    pub const fn is_marked_valid(&self) -> bool {
        self.state & STATE_VALID != 0
    }

    /// Tells whether the kernel found errors on it since the last check.
    #[must_use]
    pub const fn has_errors(&self) -> bool {
        self.state & STATE_ERROR != 0
    }

    /// Returns the number of bytes of the filesystem.
    pub(crate) fn len(&self) -> u64 {
        self.block_count.saturating_mul(u64::from(self.block_bytes))
    }
}

/// Decodes `s_log_block_size` and, where clusters are in use, `s_log_cluster_size`: powers of two
/// above 1024.
fn log_sizes(record: &SuperblockRecord<&[u8]>, bigalloc: bool) -> Result<(u32, u32), Error> {
    let block = record.log_block_size();
    if block > 6 {
        let (name, value) = ("s_log_block_size", block.into());
        return Err(CorruptKind::Field { name, value }.into());
    }
    let cluster = if bigalloc {
        record.log_cluster_size()
    } else {
        block
    };
    if cluster < block || cluster > 20 {
        let (name, value) = ("s_log_cluster_size", cluster.into());
        return Err(CorruptKind::Field { name, value }.into());
    }
    Ok((block, cluster))
}

fn check_features(incompat: u32, ro_compat: u32) -> Result<(), Error> {
    if incompat & feature::INCOMPAT_JOURNAL_DEV != 0 {
        return Err(UnsupportedKind::JournalDevice.into());
    }
    let unknown = incompat & !feature::INCOMPAT_KNOWN;
    if unknown != 0 {
        return Err(UnsupportedKind::Incompat(unknown).into());
    }
    let unknown = ro_compat & !feature::RO_COMPAT_KNOWN;
    if unknown != 0 {
        return Err(UnsupportedKind::RoCompat(unknown).into());
    }
    Ok(())
}

fn check_checksum(record: &SuperblockRecord<&[u8]>) -> Result<(), Error> {
    if record.checksum_type() != CHECKSUM_CRC32C {
        return Err(UnsupportedKind::ChecksumType(record.checksum_type()).into());
    }
    if record.checksum() != crc32c(!0, record.before_checksum()) {
        return Err(CorruptKind::SuperblockChecksum.into());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Superblock, feature};
    use crate::error::Error;

    /// A smallest valid superblock: 4 KiB blocks, one group, no features.
    pub(crate) fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let mut put = |offset: usize, value: u32| {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        };
        put(0x00, 64);
        put(0x04, 1000);
        put(0x18, 2);
        put(0x1C, 2);
        put(0x20, 32768);
        put(0x24, 32768);
        put(0x28, 64);
        put(0x38, 0x1_EF53);
        put(0x4C, 1);
        put(0x58, 256);
        bytes
    }

    #[test]
    fn a_valid_superblock_is_decoded() {
        let superblock = Superblock::parse(&bytes()).unwrap();
        assert_eq!(superblock.block_bytes, 4096);
        assert_eq!(superblock.group_count(), 1);
        assert!(superblock.is_marked_valid());
    }

    #[test]
    fn each_impossible_field_is_named() {
        let cases: [(usize, u32, &str); 9] = [
            (0x14, 1, "s_first_data_block"),
            (0x18, 7, "s_log_block_size"),
            (0x20, 0, "s_clusters_per_group"),
            (0x20, 32769, "s_clusters_per_group"),
            (0x28, 0, "s_inodes_per_group"),
            (0x58, 100, "s_inode_size"),
            (0x14, 2, "s_first_data_block"),
            (0x04, 0, "s_first_data_block"),
            (0x38, 0, "magic"),
        ];
        for (offset, value, name) in cases {
            let mut bytes = bytes();
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            let error = Superblock::parse(&bytes).unwrap_err();
            let Error::Corrupt(corrupt) = error else {
                panic!("{name}: {error:?}")
            };
            assert!(corrupt.to_string().contains(name), "{corrupt}");
        }
    }

    #[test]
    fn descriptors_with_64_bits_are_not_short() {
        let mut bytes = bytes();
        bytes[0x60] = feature::INCOMPAT_64BIT as u8;
        bytes[0xFE] = 32;
        assert!(matches!(Superblock::parse(&bytes), Err(Error::Corrupt(_))));
        bytes[0xFE] = 64;
        assert_eq!(Superblock::parse(&bytes).unwrap().descriptor_bytes, 64);
    }

    #[test]
    fn unknown_features_are_unsupported_not_corrupt() {
        for (offset, value) in [(0x60, 0x8000_0000u32), (0x64, 0x8000_0000), (0x60, 1)] {
            let mut bytes = bytes();
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            assert!(matches!(
                Superblock::parse(&bytes),
                Err(Error::Unsupported(_))
            ));
        }
    }

    #[test]
    fn a_wrong_checksum_is_corrupt() {
        let mut bytes = bytes();
        bytes[0x64..0x68].copy_from_slice(&feature::RO_COMPAT_METADATA_CSUM.to_le_bytes());
        assert!(matches!(
            Superblock::parse(&bytes),
            Err(Error::Unsupported(_))
        ));
        bytes[0x175] = 1;
        assert!(matches!(Superblock::parse(&bytes), Err(Error::Corrupt(_))));
    }
}
