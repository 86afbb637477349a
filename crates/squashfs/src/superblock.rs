//! The superblock, from bytes to a type (`struct squashfs_super_block`).

use std::fmt;

use cardkeep_block::{ReadAt, le_u16, le_u32, le_u64};

use crate::error::{CorruptKind, Error, UnsupportedKind};

/// The size of the superblock, at the filesystem's first byte.
pub const SUPERBLOCK_BYTES: usize = 96;

const MAGIC: &[u8; 4] = b"hsqs";
/// `SQUASHFS_INVALID_BLK`: a table that is not there.
const NO_TABLE: u64 = u64::MAX;
/// `SQUASHFS_METADATA_SIZE`: what a block of metadata unpacks to.
const METADATA_BYTES: u64 = 8192;
/// mksquashfs makes no smaller ones, and `SQUASHFS_FILE_MAX_LOG` is the largest.
const BLOCK_LOG: std::ops::RangeInclusive<u16> = 12..=20;

/// How a squashfs is compressed (`compression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// zlib, which mksquashfs calls gzip.
    Gzip,
    /// LZMA, as patched kernels have it.
    Lzma,
    /// LZO.
    Lzo,
    /// xz.
    Xz,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// A superblock that makes sense in itself. Positions and sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// How many files and directories there are (`inodes`).
    pub inode_count: u32,
    /// When it was made, in seconds since 1970 (`mkfs_time`).
    pub created_seconds: u32,
    /// What a block of a file unpacks to (`block_size`).
    pub block_bytes: u32,
    /// What packs it.
    pub compression: Compression,
    /// How long it is (`bytes_used`).
    pub bytes_used: u64,
    /// Where the contents of files end and the inodes begin (`inode_table_start`).
    pub inode_table: u64,
    /// Where the directories begin (`directory_table_start`).
    pub directory_table: u64,
}

/// Tells whether `medium` begins with a squashfs's magic number.
pub fn probe(medium: &impl ReadAt) -> bool {
    let magic = medium.read_vec(0, MAGIC.len());
    magic.is_ok_and(|magic| magic == MAGIC)
}

impl Superblock {
    /// Reads the superblock of `medium`, and checks it in itself.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another version than 4.0, [`Error::Corrupt`] with the failed
    /// check, [`Error::Io`] where the medium fails.
    pub fn load(medium: &impl ReadAt) -> Result<Self, Error> {
        Self::parse(&medium.read_vec(0, SUPERBLOCK_BYTES)?)
    }

    /// Decodes and checks a superblock.
    ///
    /// # Errors
    /// As [`Superblock::load`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() < SUPERBLOCK_BYTES {
            return Err(CorruptKind::ShortRecord(bytes.len()).into());
        }
        if !bytes.starts_with(MAGIC) {
            return Err(CorruptKind::NoMagic.into());
        }
        let (major, minor) = (le_u16(bytes, 0x1C), le_u16(bytes, 0x1E));
        if (major, minor) != (4, 0) {
            return Err(UnsupportedKind::Version { major, minor }.into());
        }
        let superblock = Self {
            inode_count: le_u32(bytes, 0x04),
            created_seconds: le_u32(bytes, 0x08),
            block_bytes: le_u32(bytes, 0x0C),
            compression: Compression::from_id(le_u16(bytes, 0x14))?,
            bytes_used: le_u64(bytes, 0x28),
            inode_table: le_u64(bytes, 0x40),
            directory_table: le_u64(bytes, 0x48),
        };
        superblock.check_numbers(le_u16(bytes, 0x16), le_u16(bytes, 0x1A))?;
        superblock.check_tables(bytes)?;
        superblock.check_root(le_u64(bytes, 0x20))?;
        Ok(superblock)
    }

    fn check_numbers(&self, block_log: u16, no_ids: u16) -> Result<(), Error> {
        let impossible = |name, value| Err(CorruptKind::Field { name, value }.into());
        if !BLOCK_LOG.contains(&block_log) {
            return impossible("block_log", block_log.into());
        }
        if self.block_bytes != 1 << block_log {
            return impossible("block_size", self.block_bytes.into());
        }
        // There is a root, and it has an owner.
        if self.inode_count == 0 {
            return impossible("inodes", 0);
        }
        if no_ids == 0 {
            return impossible("no_ids", 0);
        }
        if self.bytes_used < SUPERBLOCK_BYTES as u64 {
            return impossible("bytes_used", self.bytes_used);
        }
        Ok(())
    }

    /// Tables follow one another in one order, as a mount demands; each begins before the end.
    fn check_tables(&self, bytes: &[u8]) -> Result<(), Error> {
        let fragments = match le_u32(bytes, 0x10) {
            0 => NO_TABLE,
            _ => le_u64(bytes, 0x50),
        };
        let tables = [
            ("inode_table_start", self.inode_table),
            ("directory_table_start", self.directory_table),
            ("fragment_table_start", fragments),
            ("lookup_table_start", le_u64(bytes, 0x58)),
            ("id_table_start", le_u64(bytes, 0x30)),
            ("xattr_id_table_start", le_u64(bytes, 0x38)),
        ];
        let mut least = SUPERBLOCK_BYTES as u64;
        for (name, start) in tables {
            let is_needed = matches!(
                name,
                "inode_table_start" | "directory_table_start" | "id_table_start"
            );
            if start == NO_TABLE && !is_needed {
                continue;
            }
            if start < least || start >= self.bytes_used {
                return Err(CorruptKind::TableOrder { name, start }.into());
            }
            least = start;
        }
        // The root is an inode, so that table is not empty.
        if self.inode_table >= self.directory_table {
            let (name, start) = tables[1];
            return Err(CorruptKind::TableOrder { name, start }.into());
        }
        Ok(())
    }

    /// `root_inode` has where its block lies in the inode table above 16 bits of place in it.
    fn check_root(&self, root_inode: u64) -> Result<(), Error> {
        let (block, offset) = (root_inode >> 16, root_inode & 0xFFFF);
        let table_bytes = self.directory_table - self.inode_table;
        if offset > METADATA_BYTES || block >= table_bytes {
            let (name, value) = ("root_inode", root_inode);
            return Err(CorruptKind::Field { name, value }.into());
        }
        Ok(())
    }
}

impl Compression {
    fn from_id(id: u16) -> Result<Self, Error> {
        Ok(match id {
            1 => Self::Gzip,
            2 => Self::Lzma,
            3 => Self::Lzo,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd,
            id => return Err(UnsupportedKind::Compression(id).into()),
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
pub(crate) mod test_superblock {
    use super::SUPERBLOCK_BYTES;

    /// Returns a sound superblock: 3 inodes, blocks of 128 KiB, xz, tables at 1000, 1100, ..., 1500.
    pub(crate) fn superblock(bytes_used: u64) -> Vec<u8> {
        let mut bytes = vec![0; SUPERBLOCK_BYTES];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0x00, b"hsqs");
        put(0x04, &3u32.to_le_bytes());
        put(0x08, &1_700_000_000u32.to_le_bytes());
        put(0x0C, &131_072u32.to_le_bytes());
        put(0x10, &1u32.to_le_bytes());
        put(0x14, &4u16.to_le_bytes());
        put(0x16, &17u16.to_le_bytes());
        put(0x1A, &1u16.to_le_bytes());
        put(0x1C, &4u16.to_le_bytes());
        put(0x20, &(5u64 << 16 | 40).to_le_bytes());
        put(0x28, &bytes_used.to_le_bytes());
        let tables = [0x40, 0x48, 0x50, 0x58, 0x30, 0x38];
        for (offset, start) in tables.into_iter().zip((1000u64..).step_by(100)) {
            put(offset, &start.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::test_superblock::superblock;
    use super::{Compression, SUPERBLOCK_BYTES, Superblock};
    use crate::error::{Corrupt, CorruptKind, Error, Unsupported, UnsupportedKind};

    /// A sound superblock.
    fn sound() -> Vec<u8> {
        superblock(2000)
    }

    fn changed(offset: usize, field: &[u8]) -> Result<Superblock, Error> {
        let mut bytes = sound();
        bytes[offset..offset + field.len()].copy_from_slice(field);
        Superblock::parse(&bytes)
    }

    fn corrupt(offset: usize, field: &[u8]) -> CorruptKind {
        match changed(offset, field) {
            Err(Error::Corrupt(Corrupt(kind))) => kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sound_superblock_is_decoded() {
        let superblock = Superblock::parse(&sound()).unwrap();
        let expected = Superblock {
            inode_count: 3,
            created_seconds: 1_700_000_000,
            block_bytes: 131_072,
            compression: Compression::Xz,
            bytes_used: 2000,
            inode_table: 1000,
            directory_table: 1100,
        };
        assert_eq!(superblock, expected);
    }

    #[test]
    fn other_versions_and_compressions_are_not_supported() {
        let unsupported = |offset, value: u16| match changed(offset, &value.to_le_bytes()) {
            Err(Error::Unsupported(Unsupported(kind))) => kind,
            other => panic!("{other:?}"),
        };
        let version = |major, minor| UnsupportedKind::Version { major, minor };
        assert_eq!(unsupported(0x1C, 3), version(3, 0));
        assert_eq!(unsupported(0x1E, 1), version(4, 1));
        assert_eq!(unsupported(0x14, 0), UnsupportedKind::Compression(0));
        assert_eq!(unsupported(0x14, 7), UnsupportedKind::Compression(7));
    }

    #[test]
    fn each_impossible_field_is_told() {
        let field = |name, value| CorruptKind::Field { name, value };
        assert_eq!(corrupt(0x00, b"sqsh"), CorruptKind::NoMagic);
        assert_eq!(corrupt(0x04, &[0; 4]), field("inodes", 0));
        assert_eq!(corrupt(0x0C, &[0; 4]), field("block_size", 0));
        assert_eq!(corrupt(0x16, &[11, 0]), field("block_log", 11));
        assert_eq!(corrupt(0x16, &[21, 0]), field("block_log", 21));
        assert_eq!(corrupt(0x16, &[16, 0]), field("block_size", 131_072));
        assert_eq!(corrupt(0x1A, &[0, 0]), field("no_ids", 0));
        assert_eq!(corrupt(0x28, &95u64.to_le_bytes()), field("bytes_used", 95));
        let past_block = 5u64 << 16 | 8193;
        assert_eq!(
            corrupt(0x20, &past_block.to_le_bytes()),
            field("root_inode", past_block)
        );
        let past_table = 100u64 << 16;
        assert_eq!(
            corrupt(0x20, &past_table.to_le_bytes()),
            field("root_inode", past_table)
        );
        assert_eq!(corrupt(0x20, &[0xFF; 8]), field("root_inode", u64::MAX));
        assert!(matches!(
            Superblock::parse(&sound()[..95]),
            Err(Error::Corrupt(Corrupt(CorruptKind::ShortRecord(95))))
        ));
    }

    #[test]
    fn tables_out_of_order_or_behind_the_end_are_told() {
        let order = |name, start| CorruptKind::TableOrder { name, start };
        let names = [
            (0x40, "inode_table_start", 95),
            (0x48, "directory_table_start", 999),
            (0x50, "fragment_table_start", 1099),
            (0x58, "lookup_table_start", 1199),
            (0x30, "id_table_start", 1299),
            (0x38, "xattr_id_table_start", 1399),
        ];
        for (offset, name, early) in names {
            for start in [early, 2000, u64::MAX - 1] {
                let expected = order(name, start);
                assert_eq!(corrupt(offset, &start.to_le_bytes()), expected);
            }
        }
        assert_eq!(
            corrupt(0x48, &1000u64.to_le_bytes()),
            order("directory_table_start", 1000)
        );
        // All of the filesystem lies behind this end.
        let early_end = corrupt(0x28, &96u64.to_le_bytes());
        assert_eq!(early_end, order("inode_table_start", 1000));
    }

    #[test]
    fn tables_that_may_be_missing_may_and_others_not() {
        for offset in [0x38, 0x58] {
            assert!(changed(offset, &[0xFF; 8]).is_ok());
        }
        for offset in [0x30, 0x40, 0x48] {
            assert!(changed(offset, &[0xFF; 8]).is_err());
        }
        // Without fragments, where their table would lie does not matter.
        let mut bytes = sound();
        bytes[0x10..0x14].fill(0);
        bytes[0x50..0x58].fill(7);
        assert!(Superblock::parse(&bytes).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_parsing_ends_well(
            changes in proptest::collection::vec((0..SUPERBLOCK_BYTES, any::<u8>()), 0..24),
        ) {
            let mut bytes = sound();
            for (offset, byte) in changes {
                bytes[offset] = byte;
            }
            if let Ok(superblock) = Superblock::parse(&bytes) {
                assert!(superblock.inode_table < superblock.directory_table);
                assert!(superblock.directory_table < superblock.bytes_used);
            }
        }
    }
}
