//! The superblock, from bytes to a type (`struct erofs_super_block`).

use cardkeep_block::{ReadAt, le_u16, le_u32, le_u64};

use crate::error::{CorruptKind, Error, UnsupportedKind};

/// Where the superblock lies, in bytes (`EROFS_SUPER_OFFSET`).
pub const SUPERBLOCK_OFFSET: u64 = 1024;

/// The size of the superblock without its extra slots.
const SUPERBLOCK_BYTES: usize = 128;
const EXTRA_SLOT_BYTES: u64 = 16;
/// A mount wants the superblock in the first page, and the smallest pages have 4 KiB.
const PAGE_BYTES_MIN: u64 = 4096;
const MAGIC: [u8; 4] = 0xE0F5_E1E2_u32.to_le_bytes();
/// Sectors of 512 bytes up to the largest pages, 64 KiB.
const BLOCK_BITS: std::ops::RangeInclusive<u8> = 9..=16;
/// A number of an inode counts slots of this size from the metadata area's beginning on.
const INODE_SLOT_BYTES: u64 = 32;
const DEVICE_SLOT_BYTES: u64 = 128;

const COMPAT_SB_CHKSUM: u32 = 0x1;
const INCOMPAT_ZERO_PADDING: u32 = 0x1;
const INCOMPAT_COMPR_CFGS: u32 = 0x2;
const INCOMPAT_DEVICE_TABLE: u32 = 0x8;
const INCOMPAT_48BIT: u32 = 0x80;
const INCOMPAT_METABOX: u32 = 0x100;
/// All that is known here: up to `EROFS_FEATURE_INCOMPAT_METABOX`.
const INCOMPAT_KNOWN: u32 = (INCOMPAT_METABOX << 1) - 1;

/// By their bits in `available_compr_algs` (`Z_EROFS_COMPRESSION_LZ4` and so on).
const ALGORITHMS: [&str; 4] = ["lz4", "lzma", "deflate", "zstd"];

/// A superblock that makes sense in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The size of a block in bytes (`blkszbits`).
    pub block_bytes: u32,
    /// How many blocks it has on this medium (`blocks`).
    pub block_count: u64,
    /// The size of the superblock with its extra slots, in bytes.
    pub superblock_bytes: u64,
    /// When it was made, in seconds since 1970 (`epoch`, `build_time`).
    pub created_seconds: u64,
    /// `uuid`.
    pub uuid: [u8; 16],
    /// `volume_name`; empty where there is none.
    pub volume_name: String,
    /// How files are compressed, by the names of mkfs.erofs; empty where they are not.
    pub compression: Vec<&'static str>,
    /// How many more devices hold parts of it (`extra_devices`).
    pub extra_devices: u16,
}

/// Tells whether `medium` has the magic number of an erofs.
pub fn probe(medium: &impl ReadAt) -> bool {
    let magic = medium.read_vec(SUPERBLOCK_OFFSET, MAGIC.len());
    magic.is_ok_and(|magic| magic == MAGIC)
}

impl Superblock {
    /// Reads the superblock of `medium`, and checks it in itself, with its checksum.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for features not known here, [`Error::Corrupt`] with the failed
    /// check, [`Error::Io`] where the medium fails.
    pub fn load(medium: &impl ReadAt) -> Result<Self, Error> {
        let head = medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)?;
        let block_bytes = block_bytes(&head)?;
        let bytes = medium.read_vec(SUPERBLOCK_OFFSET, summed_bytes(block_bytes))?;
        Self::parse(&bytes)
    }

    /// Decodes and checks a superblock. `bytes` are all that its checksum covers.
    ///
    /// # Errors
    /// As [`Superblock::load`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let block_bytes = block_bytes(bytes)?;
        check_sum(bytes, block_bytes)?;
        let incompat = le_u32(bytes, 0x50);
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(UnsupportedKind::Incompat(incompat & !INCOMPAT_KNOWN).into());
        }
        if bytes[0x5A] != 0 {
            return Err(UnsupportedKind::DirectoryBlockBits(bytes[0x5A]).into());
        }
        let has = |feature| incompat & feature != 0;
        let superblock = Self {
            block_bytes,
            block_count: block_count(bytes, incompat),
            superblock_bytes: SUPERBLOCK_BYTES as u64 + u64::from(bytes[0x0D]) * EXTRA_SLOT_BYTES,
            created_seconds: match has(INCOMPAT_48BIT) {
                true => le_u64(bytes, 0x18).saturating_add(le_u32(bytes, 0x6C).into()),
                false => le_u64(bytes, 0x18),
            },
            uuid: std::array::from_fn(|index| bytes[0x30 + index]),
            volume_name: volume_name(&bytes[0x40..0x50]),
            compression: compression(incompat, le_u16(bytes, 0x54))?,
            extra_devices: match has(INCOMPAT_DEVICE_TABLE) {
                true => le_u16(bytes, 0x56),
                false => 0,
            },
        };
        superblock.check_places(bytes, incompat)?;
        Ok(superblock)
    }

    /// Returns the length in bytes that it states for this medium.
    #[must_use]
    pub fn len(&self) -> u64 {
        // 48 bits of blocks, of at most 2^16 bytes.
        self.block_count * u64::from(self.block_bytes)
    }

    /// Tells whether it states no length: a sound one never does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block_count == 0
    }

    /// All that the superblock points to lies in the filesystem.
    fn check_places(&self, bytes: &[u8], incompat: u32) -> Result<(), Error> {
        let impossible = |name, value| Err(CorruptKind::Field { name, value }.into());
        let end = SUPERBLOCK_OFFSET + self.superblock_bytes;
        if end > PAGE_BYTES_MIN {
            return impossible("sb_extslots", bytes[0x0D].into());
        }
        if end > self.len() {
            return impossible("blocks", self.block_count);
        }
        let metadata = u64::from(le_u32(bytes, 0x28));
        if metadata >= self.block_count {
            return impossible("meta_blkaddr", metadata);
        }
        let attributes = u64::from(le_u32(bytes, 0x2C));
        if attributes > self.block_count {
            return impossible("xattr_blkaddr", attributes);
        }
        // With more bits, the root may be one of the inodes that are packed in another one.
        let root = u64::from(le_u16(bytes, 0x0E));
        let root_place = metadata * u64::from(self.block_bytes) + root * INODE_SLOT_BYTES;
        let is_plain = incompat & (INCOMPAT_48BIT | INCOMPAT_METABOX) == 0;
        if is_plain && root_place + INODE_SLOT_BYTES > self.len() {
            return impossible("root_nid", root);
        }
        let slot = u64::from(le_u16(bytes, 0x58));
        let slots_end = (slot + u64::from(self.extra_devices)) * DEVICE_SLOT_BYTES;
        if self.extra_devices > 0 && slots_end > self.len() {
            return impossible("devt_slotoff", slot);
        }
        Ok(())
    }
}

/// Returns the size of a block, of a superblock that has the magic number.
fn block_bytes(bytes: &[u8]) -> Result<u32, Error> {
    if bytes.len() < SUPERBLOCK_BYTES {
        return Err(CorruptKind::ShortRecord(bytes.len()).into());
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(CorruptKind::NoMagic.into());
    }
    let bits = bytes[0x0C];
    if !BLOCK_BITS.contains(&bits) {
        return Err(UnsupportedKind::BlockBits(bits).into());
    }
    Ok(1 << bits)
}

/// Returns how many bytes from the superblock's first on its checksum covers: the rest of its block,
/// or a whole block of a size that ends before it (`erofs_superblock_csum_verify`).
fn summed_bytes(block_bytes: u32) -> usize {
    let block_bytes = block_bytes as usize;
    let rest = block_bytes.checked_sub(SUPERBLOCK_OFFSET as usize);
    rest.filter(|&rest| rest > 0).unwrap_or(block_bytes)
}

/// The CRC-32C of the bytes with zeros in place of the checksum, without the final inversion.
fn check_sum(bytes: &[u8], block_bytes: u32) -> Result<(), Error> {
    if le_u32(bytes, 0x08) & COMPAT_SB_CHKSUM == 0 {
        return Ok(());
    }
    let Some(bytes) = bytes.get(..summed_bytes(block_bytes)) else {
        return Err(CorruptKind::ShortRecord(bytes.len()).into());
    };
    let stored = le_u32(bytes, 0x04);
    let computed = sum(bytes);
    if stored != computed {
        return Err(CorruptKind::Checksum { stored, computed }.into());
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u32 {
    let head = crc32c::crc32c(&bytes[..4]);
    let head = crc32c::crc32c_append(head, &[0; 4]);
    !crc32c::crc32c_append(head, &bytes[8..])
}

/// 32 bits, and 16 more in place of the root's number where the format says so.
fn block_count(bytes: &[u8], incompat: u32) -> u64 {
    let low = u64::from(le_u32(bytes, 0x24));
    match incompat & INCOMPAT_48BIT != 0 {
        true => low | u64::from(le_u16(bytes, 0x0E)) << 32,
        false => low,
    }
}

fn volume_name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// Older ones have the distance of LZ4's window where newer ones list algorithms; they are
/// compressed where their blocks are padded in front.
fn compression(incompat: u32, available: u16) -> Result<Vec<&'static str>, Error> {
    if incompat & INCOMPAT_COMPR_CFGS == 0 {
        let is_packed = incompat & INCOMPAT_ZERO_PADDING != 0 || available != 0;
        return Ok(is_packed.then_some(ALGORITHMS[0]).into_iter().collect());
    }
    if available >> ALGORITHMS.len() != 0 {
        return Err(UnsupportedKind::Compression(available).into());
    }
    let names = ALGORITHMS.into_iter().enumerate();
    let names = names.filter(|(bit, _)| available >> bit & 1 == 1);
    Ok(names.map(|(_, name)| name).collect())
}

#[cfg(test)]
pub(crate) mod test_superblock {
    use super::{MAGIC, sum};

    /// Returns the rest of the first block, from a sound superblock on: blocks of 4 KiB, `blocks` of
    /// them, LZMA, the name "root".
    pub(crate) fn superblock(blocks: u32) -> Vec<u8> {
        let mut bytes = vec![0; 3072];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0x00, &MAGIC);
        put(0x08, &[1]);
        put(0x0C, &[12]);
        put(0x0E, &36u16.to_le_bytes());
        put(0x18, &1_700_000_000u64.to_le_bytes());
        put(0x24, &blocks.to_le_bytes());
        put(0x30, &[0xAB; 16]);
        put(0x40, b"root");
        put(0x50, &[2]);
        put(0x54, &[2]);
        sealed(bytes)
    }

    /// Returns the bytes with a checksum that is true.
    pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = sum(&bytes);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::test_superblock::{sealed, superblock};
    use super::{Superblock, sum};
    use crate::error::{Corrupt, CorruptKind, Error, Unsupported, UnsupportedKind};

    fn parsed(offset: usize, field: &[u8]) -> Result<Superblock, Error> {
        let mut bytes = superblock(100);
        bytes[offset..offset + field.len()].copy_from_slice(field);
        Superblock::parse(&sealed(bytes))
    }

    fn corrupt(offset: usize, field: &[u8]) -> CorruptKind {
        match parsed(offset, field) {
            Err(Error::Corrupt(Corrupt(kind))) => kind,
            other => panic!("{other:?}"),
        }
    }

    fn unsupported(offset: usize, field: &[u8]) -> UnsupportedKind {
        match parsed(offset, field) {
            Err(Error::Unsupported(Unsupported(kind))) => kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sound_superblock_is_decoded() {
        let found = Superblock::parse(&superblock(100)).unwrap();
        let expected = Superblock {
            block_bytes: 4096,
            block_count: 100,
            superblock_bytes: 128,
            created_seconds: 1_700_000_000,
            uuid: [0xAB; 16],
            volume_name: "root".to_owned(),
            compression: vec!["lzma"],
            extra_devices: 0,
        };
        assert_eq!(found, expected);
        assert_eq!(found.len(), 409_600);
    }

    #[test]
    fn the_checksum_covers_the_rest_of_the_block() {
        for offset in [4, 0x30, 0x7F, 200, 3071] {
            let mut bytes = superblock(100);
            bytes[offset] ^= 1;
            let result = Superblock::parse(&bytes);
            assert!(
                matches!(
                    result,
                    Err(Error::Corrupt(Corrupt(CorruptKind::Checksum { .. })))
                ),
                "{offset}: {result:?}"
            );
        }
        // Without the feature nothing is compared.
        let mut bytes = superblock(100);
        bytes[8] = 0;
        bytes[200] = 1;
        assert!(Superblock::parse(&bytes).is_ok());
        // The catalogue's check value of CRC-32/ISCSI, of bytes whose second four are zeros here.
        let whole = !crc32c::crc32c(b"1234\0\0\0\x009");
        assert_eq!(sum(b"123456789"), whole);
    }

    #[test]
    fn unknown_features_are_not_supported() {
        let bits = |bits| UnsupportedKind::Incompat(bits);
        assert_eq!(unsupported(0x50, &[0, 2, 0, 0]), bits(0x200));
        assert_eq!(unsupported(0x50, &[0, 0, 0, 0x80]), bits(0x8000_0000));
        assert_eq!(
            unsupported(0x54, &[16, 0]),
            UnsupportedKind::Compression(16)
        );
        let directory = UnsupportedKind::DirectoryBlockBits(1);
        assert_eq!(unsupported(0x5A, &[1]), directory);
        for block_bits in [0, 8, 17, 255] {
            let expected = UnsupportedKind::BlockBits(block_bits);
            assert_eq!(unsupported(0x0C, &[block_bits]), expected);
        }
    }

    #[test]
    fn each_impossible_field_is_told() {
        let field = |name, value| CorruptKind::Field { name, value };
        assert_eq!(corrupt(0x00, &[0]), CorruptKind::NoMagic);
        assert_eq!(corrupt(0x0D, &[255]), field("sb_extslots", 255));
        assert_eq!(corrupt(0x24, &[0; 4]), field("blocks", 0));
        assert_eq!(corrupt(0x28, &[100]), field("meta_blkaddr", 100));
        assert_eq!(corrupt(0x2C, &[101]), field("xattr_blkaddr", 101));
        assert_eq!(corrupt(0x0E, &[0xFF; 2]), field("root_nid", 65535));
        let mut bytes = superblock(100);
        bytes[0x50] |= 8;
        bytes[0x56] = 1;
        bytes[0x58..0x5A].fill(0xFF);
        let result = Superblock::parse(&sealed(bytes));
        assert!(
            matches!(&result, Err(Error::Corrupt(Corrupt(kind))) if *kind == field("devt_slotoff", 65535)),
            "{result:?}"
        );
        for len in [0, 127] {
            let result = Superblock::parse(&superblock(100)[..len]);
            assert!(matches!(result, Err(Error::Corrupt(_))), "{len}");
        }
        // Too short for its checksum.
        let result = Superblock::parse(&superblock(100)[..3071]);
        assert!(matches!(result, Err(Error::Corrupt(_))));
    }

    #[test]
    fn wide_numbers_and_more_devices_count() {
        let mut bytes = superblock(100);
        bytes[0x50] |= 0x80 | 8;
        bytes[0x0E] = 3;
        bytes[0x56] = 2;
        bytes[0x58] = 40;
        bytes[0x6C] = 5;
        let found = Superblock::parse(&sealed(bytes)).unwrap();
        assert_eq!(found.block_count, 3 << 32 | 100);
        assert_eq!(found.extra_devices, 2);
        assert_eq!(found.created_seconds, 1_700_000_005);
        // The widest numbers overflow nothing.
        let mut bytes = superblock(u32::MAX);
        bytes[0x0C] = 16;
        bytes[0x50] = 0x80;
        bytes[0x0E..0x10].fill(0xFF);
        bytes[0x18..0x20].fill(0xFF);
        bytes.resize(65536 - 1024, 0);
        let found = Superblock::parse(&sealed(bytes)).unwrap();
        assert_eq!(found.len(), ((1 << 48) - 1) << 16);
    }

    #[test]
    fn older_ones_say_otherwise_that_they_are_compressed() {
        let names = |incompat: u8, window: u8| {
            let mut bytes = superblock(100);
            bytes[0x50] = incompat;
            bytes[0x54] = window;
            Superblock::parse(&sealed(bytes)).unwrap().compression
        };
        assert_eq!(names(0, 0), Vec::<&str>::new());
        assert_eq!(names(1, 0), ["lz4"]);
        assert_eq!(names(2, 0b1001), ["lz4", "zstd"]);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_parsing_ends_well(
            changes in proptest::collection::vec((0..128_usize, any::<u8>()), 0..24),
        ) {
            let mut bytes = superblock(100);
            for (offset, byte) in changes {
                bytes[offset] = byte;
            }
            if let Ok(superblock) = Superblock::parse(&sealed(bytes)) {
                assert!(superblock.len() > 1024);
            }
        }
    }
}
