//! The boot sector's own idea of where its partition begins.
//!
//! `BPB_HiddSec` (fatgen103: "count of hidden sectors preceding the partition that contains this FAT
//! volume") stands at 0x1c, and again in the copy of the boot sector that FAT32 keeps. NTFS has the
//! same field in the same place. Linux never reads it; boot code in the boot sector does.

use cardkeep_block::{Patch, ReadAt, le_u16, le_u32};

use crate::boot_sector::probe;
use crate::bpb::BOOT_SECTOR_BYTES;

const HIDDEN_SECTORS_OFFSET: u64 = 0x1c;
const OEM_NAME_OF_NTFS: &[u8] = b"NTFS    ";

/// Returns the patches, by places in the partition, that let the FAT or NTFS filesystem on `medium`
/// say that it begins at sector `new`, where it says `old` so far. None where it says something else
/// (many a tool leaves 0 there, and a logical partition may count from its own record), or where it
/// is no such filesystem.
#[must_use]
pub fn moved_hidden_sectors(medium: &impl ReadAt, old: u64, new: u64) -> Vec<Patch> {
    // The field has 32 bits: what exceeds them can't be what it says.
    let (Ok(old), Ok(new)) = (u32::try_from(old), u32::try_from(new)) else {
        return Vec::new();
    };
    let mut patches = Vec::new();
    // What can't be read is left as it is.
    let Ok(sector) = medium.read_vec(0, BOOT_SECTOR_BYTES) else {
        return patches;
    };
    let is_fat = probe(medium).is_some();
    if !is_fat && sector[3..11] != *OEM_NAME_OF_NTFS {
        return patches;
    }
    let mut places = vec![0];
    let has_copy = is_fat && le_u16(&sector, 0x16) == 0; // BPB_FATSz16 is 0 for FAT32
    let copy = u64::from(le_u16(&sector, 0x32)); // BPB_BkBootSec
    if has_copy && copy > 0 && copy < 0xffff {
        places.push(copy * u64::from(le_u16(&sector, 0x0b))); // BPB_BytsPerSec
    }
    for place in places {
        // A copy that can't be read is left as it is, too.
        let told = medium.read_vec(place + HIDDEN_SECTORS_OFFSET, 4);
        if told.is_ok_and(|told| le_u32(&told, 0) == old) && old != new {
            let bytes = new.to_le_bytes().to_vec();
            patches.push(Patch::new(place + HIDDEN_SECTORS_OFFSET, bytes));
        }
    }
    patches
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{MemoryMedium, Patch, WriteAt};

    use super::moved_hidden_sectors;

    #[test]
    fn only_a_place_that_was_told_truly_changes() {
        let ntfs = MemoryMedium::new(4096);
        ntfs.write_at(3, b"NTFS    ").unwrap();
        ntfs.write_at(0x1c, &2048_u32.to_le_bytes()).unwrap();
        let expected = [Patch::new(0x1c, 1024_u32.to_le_bytes().to_vec())];
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1024), expected);
        assert_eq!(moved_hidden_sectors(&ntfs, 2049, 1024), []);
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1 << 32), []);
        ntfs.write_at(3, b"unknown ").unwrap();
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1024), []);
        let short = MemoryMedium::new(100);
        assert_eq!(moved_hidden_sectors(&short, 2048, 1024), []);
    }
}
