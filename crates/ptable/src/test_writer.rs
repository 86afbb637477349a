//! A small writer of partition tables for tests: plain and valid, to be broken by them.

use cardkeep_block::{MemoryMedium, WriteAt};

use crate::Guid;

/// One MBR or EBR entry: status, type, first sector, sectors.
pub(crate) type RawEntry = (u8, u8, u32, u32);

/// Writes an MBR or EBR into the sector at `lba`.
pub(crate) fn write_record(
    medium: &MemoryMedium,
    sector_bytes: u64,
    lba: u64,
    entries: &[RawEntry],
) {
    let mut bytes = [0; 512];
    bytes[0x1b8..0x1bc].copy_from_slice(&0x5049_424b_u32.to_le_bytes());
    for (&(status, kind, first, count), slot) in entries.iter().zip(0..) {
        let entry = &mut bytes[0x1be + slot * 16..][..16];
        entry[0] = status;
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&count.to_le_bytes());
    }
    bytes[0x1fe..].copy_from_slice(&[0x55, 0xaa]);
    medium.write_at(lba * sector_bytes, &bytes).unwrap();
}

/// A GPT to be written. Every partition is "Linux", named after its number.
#[derive(Clone, Debug)]
pub(crate) struct Gpt {
    pub(crate) sector_bytes: u64,
    /// The sectors of the medium that the table is made for.
    pub(crate) sector_count: u64,
    /// First and last sector by slot; `None` leaves the slot empty.
    pub(crate) partitions: Vec<Option<(u64, u64)>>,
}

pub(crate) const LINUX: Guid = Guid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4);
const ENTRY_COUNT: usize = 128;

impl Gpt {
    pub(crate) fn array_sectors(&self) -> u64 {
        (ENTRY_COUNT as u64 * 128).div_ceil(self.sector_bytes)
    }

    pub(crate) fn medium(&self) -> MemoryMedium {
        let medium = MemoryMedium::new(self.sector_bytes * self.sector_count);
        self.write(&medium);
        medium
    }

    pub(crate) fn write(&self, medium: &MemoryMedium) {
        let size = u32::try_from(self.sector_count - 1).unwrap_or(u32::MAX);
        write_record(medium, self.sector_bytes, 0, &[(0, 0xee, 1, size)]);
        let last = self.sector_count - 1;
        self.write_copy(medium, 1, last, 2);
        self.write_copy(medium, last, 1, last - self.array_sectors());
    }

    fn array(&self) -> Vec<u8> {
        let mut array = vec![0; ENTRY_COUNT * 128];
        for (slot, partition) in self.partitions.iter().enumerate() {
            let Some((first, last)) = partition else {
                continue;
            };
            let entry = &mut array[slot * 128..][..128];
            entry[..16].copy_from_slice(&LINUX.to_bytes());
            entry[16..32].copy_from_slice(&Guid::from_u128(slot as u128 + 1).to_bytes());
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            for (index, unit) in format!("p{}", slot + 1).encode_utf16().enumerate() {
                entry[56 + index * 2..][..2].copy_from_slice(&unit.to_le_bytes());
            }
        }
        array
    }

    fn write_copy(&self, medium: &MemoryMedium, lba: u64, alternate: u64, array_lba: u64) {
        let array = self.array();
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[0x08..0x0c].copy_from_slice(&[0, 0, 1, 0]);
        header[0x0c..0x10].copy_from_slice(&92_u32.to_le_bytes());
        for (offset, value) in [
            (0x18, lba),
            (0x20, alternate),
            (0x28, 2 + self.array_sectors()),
            (0x30, self.sector_count - 2 - self.array_sectors()),
            (0x48, array_lba),
        ] {
            header[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[0x38..0x48].copy_from_slice(&Guid::from_u128(0xD15C).to_bytes());
        header[0x50..0x54].copy_from_slice(&(ENTRY_COUNT as u32).to_le_bytes());
        header[0x54..0x58].copy_from_slice(&128_u32.to_le_bytes());
        header[0x58..0x5c].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
        seal(&mut header);
        medium
            .write_at(array_lba * self.sector_bytes, &array)
            .unwrap();
        medium.write_at(lba * self.sector_bytes, &header).unwrap();
    }
}

/// Sets the checksum of a header of 92 bytes.
pub(crate) fn seal(header: &mut [u8]) {
    header[0x10..0x14].fill(0);
    let crc = crc32fast::hash(&header[..92]);
    header[0x10..0x14].copy_from_slice(&crc.to_le_bytes());
}
