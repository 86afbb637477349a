//! The header of a GPT: 92 bytes at the start of a sector of its own, with a checksum.
//!
//! Source of all offsets: UEFI specification 2.10, table 5-5.

use cardkeep_block::{le_u32, le_u64};

use crate::Guid;
use crate::flaw::HeaderFlaw;

const SIGNATURE: &[u8] = b"EFI PART";
const HEADER_BYTES_MIN: u32 = 92;
/// The specification's entry is 128 bytes and may grow by powers of two.
const ENTRY_BYTES_MIN: u32 = 128;
const ENTRY_BYTES_MAX: u32 = 4096;
/// Bounds memory. Tools write 128 entries of 128 bytes, 16 KiB; this allows 64 times that.
pub(crate) const ARRAY_BYTES_MAX: u64 = 1 << 20;

/// A header whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) lba: u64,
    pub(crate) alternate_lba: u64,
    pub(crate) first_usable_lba: u64,
    pub(crate) last_usable_lba: u64,
    pub(crate) disk_guid: Guid,
    pub(crate) array_lba: u64,
    pub(crate) entry_count: u32,
    pub(crate) entry_bytes: u32,
    pub(crate) array_crc: u32,
}

/// Tells whether a sector starts like a header.
pub(crate) fn has_signature(sector: &[u8]) -> bool {
    sector.starts_with(SIGNATURE)
}

impl Header {
    /// Parses and validates the header in the sector at `lba`.
    pub(crate) fn parse(sector: &[u8], lba: u64) -> Result<Self, HeaderFlaw> {
        if !has_signature(sector) {
            return Err(HeaderFlaw::Signature { lba });
        }
        check_crc(sector, lba)?;
        let mut disk_guid = [0; 16];
        disk_guid.copy_from_slice(&sector[0x38..0x48]);
        let header = Self {
            lba: le_u64(sector, 0x18),              // MyLBA
            alternate_lba: le_u64(sector, 0x20),    // AlternateLBA
            first_usable_lba: le_u64(sector, 0x28), // FirstUsableLBA
            last_usable_lba: le_u64(sector, 0x30),  // LastUsableLBA
            disk_guid: Guid::from_bytes(disk_guid), // DiskGUID
            array_lba: le_u64(sector, 0x48),        // PartitionEntryLBA
            entry_count: le_u32(sector, 0x50),      // NumberOfPartitionEntries
            entry_bytes: le_u32(sector, 0x54),      // SizeOfPartitionEntry
            array_crc: le_u32(sector, 0x58),        // PartitionEntryArrayCRC32
        };
        header.check(lba)?;
        Ok(header)
    }

    fn check(&self, lba: u64) -> Result<(), HeaderFlaw> {
        if self.lba != lba {
            return Err(HeaderFlaw::Misplaced {
                lba,
                says: self.lba,
            });
        }
        if self.first_usable_lba > self.last_usable_lba {
            return Err(HeaderFlaw::UsableRange { lba });
        }
        let bytes = self.entry_bytes;
        if !bytes.is_power_of_two() || !(ENTRY_BYTES_MIN..=ENTRY_BYTES_MAX).contains(&bytes) {
            return Err(HeaderFlaw::EntrySize { lba, bytes });
        }
        if self.entry_count == 0 || self.array_bytes() > ARRAY_BYTES_MAX {
            let count = self.entry_count;
            return Err(HeaderFlaw::EntryCount { lba, count });
        }
        Ok(())
    }

    /// The length of the array of entries in bytes.
    pub(crate) fn array_bytes(&self) -> u64 {
        u64::from(self.entry_count) * u64::from(self.entry_bytes)
    }
}

/// The checksum covers as many bytes as the header says it has, with its own field as zero.
fn check_crc(sector: &[u8], lba: u64) -> Result<(), HeaderFlaw> {
    let bytes = le_u32(sector, 0x0c); // HeaderSize
    let whole = sector.get(..bytes as usize);
    let Some(header) = whole.filter(|_| bytes >= HEADER_BYTES_MIN) else {
        return Err(HeaderFlaw::HeaderSize { lba, bytes });
    };
    let stored = le_u32(header, 0x10); // HeaderCRC32
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..0x10]);
    hasher.update(&[0; 4]);
    hasher.update(&header[0x14..]);
    let computed = hasher.finalize();
    if stored == computed {
        Ok(())
    } else {
        Err(HeaderFlaw::HeaderCrc {
            lba,
            stored,
            computed,
        })
    }
}
