//! The master boot record, and the records of the same shape that chain logical partitions.
//!
//! ```text
//!   0x000  boot code          0x1be  four entries of 16 bytes:
//!   0x1b8  disk signature            +0 status (0x80 active)  +4 type
//!   0x1fe  55 aa                     +8 first sector  +12 sectors
//! ```
//!
//! Source: UEFI specification 2.10, section 5.2; numbers as block/partitions/msdos.c of Linux
//! counts them. The addresses in cylinders and heads (+1, +5) are ignored, as there.

use cardkeep_block::{le_u16, le_u32};

/// The bytes of a record that count, whatever the sector size.
pub(crate) const RECORD_BYTES: usize = 512;
pub(crate) const ENTRIES_OFFSET: usize = 0x1be;
pub(crate) const ENTRY_BYTES: usize = 16;
/// Marks a disk whose real table is a GPT (UEFI 2.10, 5.2.3).
const PROTECTIVE: u8 = 0xee;

/// One of the four entries of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) status: u8,
    pub(crate) kind: u8,
    /// In sectors; of the medium, or of what the record's place in a chain says.
    pub(crate) first_sector: u32,
    pub(crate) sector_count: u32,
}

impl Entry {
    fn parse(bytes: &[u8]) -> Self {
        Self {
            status: bytes.first().copied().unwrap_or(0), // 0x0
            kind: bytes.get(4).copied().unwrap_or(0),    // 0x4
            first_sector: le_u32(bytes, 0x8),
            sector_count: le_u32(bytes, 0xc),
        }
    }

    /// Linux asks for nothing but a length, so neither does this.
    pub(crate) const fn is_used(&self) -> bool {
        self.sector_count != 0
    }

    pub(crate) const fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    pub(crate) const fn is_protective(&self) -> bool {
        self.kind == PROTECTIVE
    }

    pub(crate) const fn is_active(&self) -> bool {
        self.status & 0x80 != 0
    }
}

/// A record with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) disk_signature: u32,
    pub(crate) entries: [Entry; 4],
}

impl Record {
    /// Returns the record, or `None` where the signature is missing.
    pub(crate) fn parse(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        if le_u16(bytes, 0x1fe) != 0xaa55 {
            return None;
        }
        let entry = |index: usize| {
            let start = ENTRIES_OFFSET + index * ENTRY_BYTES;
            Entry::parse(&bytes[start..start + ENTRY_BYTES])
        };
        Some(Self {
            disk_signature: le_u32(bytes, 0x1b8),
            entries: [entry(0), entry(1), entry(2), entry(3)],
        })
    }

    /// Tells whether the status bytes are those of a table. Boot code that runs on to the
    /// signature, as in the boot sectors of filesystems, shows itself there (as Linux judges).
    pub(crate) fn has_valid_status(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| matches!(entry.status, 0 | 0x80))
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.entries.iter().any(Entry::is_used)
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, RECORD_BYTES, Record};

    #[test]
    fn fields_are_read_at_their_offsets() {
        let mut bytes = [0; RECORD_BYTES];
        assert_eq!(Record::parse(&bytes), None);
        bytes[0x1fe..].copy_from_slice(&[0x55, 0xaa]);
        bytes[0x1b8..0x1bc].copy_from_slice(&0x5049_424b_u32.to_le_bytes());
        bytes[0x1ce] = 0x80;
        bytes[0x1d2] = 0x83;
        bytes[0x1d6..0x1da].copy_from_slice(&2048_u32.to_le_bytes());
        bytes[0x1da..0x1de].copy_from_slice(&77_u32.to_le_bytes());
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.disk_signature, 0x5049_424b);
        let entry = Entry {
            status: 0x80,
            kind: 0x83,
            first_sector: 2048,
            sector_count: 77,
        };
        assert_eq!(record.entries[1], entry);
        assert_eq!(record.entries[0], Entry::default());
        assert!(record.has_valid_status() && !record.is_empty());
        bytes[0x1be] = 1;
        assert!(!Record::parse(&bytes).unwrap().has_valid_status());
    }
}
