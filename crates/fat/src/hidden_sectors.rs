//! The boot sector's own idea of where its partition begins.
//!
//! ```text
//!   FAT    0x1c BPB_HiddSec        copy in the sector that BPB_BkBootSec names, FAT32 only
//!   NTFS   0x1c hidden sectors     copy in the sector behind the volume, the partition's last
//!   exFAT  0x40 PartitionOffset    copy 12 sectors further; a checksum fills sector 11 of each
//! ```
//!
//! Sources: fatgen103 ("count of hidden sectors preceding the partition that contains this FAT
//! volume"); the layout of `$Boot` in linux-ntfs' documentation; "exFAT file system specification",
//! sections 3.1 and 3.4. Linux never reads the places; boot code in the boot sector does, and checks
//! compare both copies.

use cardkeep_block::{Patch, ReadAt, le_u16, le_u32, le_u64};

use crate::boot_sector::probe;
use crate::bpb::BOOT_SECTOR_BYTES;

const HIDDEN_SECTORS_OFFSET: u64 = 0x1c;
const OEM_NAME_OF_NTFS: &[u8] = b"NTFS    ";
const NAME_OF_EXFAT: &[u8] = b"EXFAT   ";
/// `PartitionOffset` of exFAT.
const PARTITION_OFFSET: usize = 0x40;
/// Sectors of exFAT's boot region that its checksum covers; the checksum's own follows.
const SUMMED_SECTORS: usize = 11;
/// `VolumeFlags` and `PercentInUse`, which the checksum leaves out because they change.
const UNSUMMED: [usize; 3] = [106, 107, 112];

/// Where a partition begins, in sectors.
#[derive(Clone, Copy, Debug)]
struct Place {
    old: u64,
    new: u64,
}

/// Returns the patches, by places in the partition, that let the FAT, NTFS or exFAT filesystem on
/// `medium` say that it begins at sector `new`, where it says `old` so far: in its boot sector, and in
/// the copy of it. None where it says something else (many a tool leaves 0 there, and a logical
/// partition may count from its own record), or where it is no such filesystem.
#[must_use]
pub fn moved_hidden_sectors(medium: &impl ReadAt, old: u64, new: u64) -> Vec<Patch> {
    let place = Place { old, new };
    // What can't be read is left as it is.
    let Ok(sector) = medium.read_vec(0, BOOT_SECTOR_BYTES) else {
        return Vec::new();
    };
    let sector_bytes = u64::from(le_u16(&sector, 0x0b)); // BPB_BytsPerSec
    let name = &sector[3..11];
    if old == new {
        Vec::new()
    } else if name == NAME_OF_EXFAT {
        place.in_exfat(medium, sector[0x6c]) // BytesPerSectorShift
    } else if name == OEM_NAME_OF_NTFS {
        let sectors = le_u64(&sector, 0x28); // sectors of the volume
        place.in_32_bits(medium, &[0, sectors.saturating_mul(sector_bytes)])
    } else if probe(medium).is_some() {
        let is_fat32 = le_u16(&sector, 0x16) == 0; // BPB_FATSz16 is 0 for FAT32
        let copy = le_u16(&sector, 0x32); // BPB_BkBootSec
        let copy = is_fat32.then_some(copy).filter(|&copy| copy < 0xffff);
        let copy = u64::from(copy.unwrap_or(0)) * sector_bytes;
        place.in_32_bits(medium, &[0, copy])
    } else {
        Vec::new()
    }
}

impl Place {
    /// Changes the field of 32 bits in the boot sectors that begin at these bytes of the partition.
    fn in_32_bits(self, medium: &impl ReadAt, sectors: &[u64]) -> Vec<Patch> {
        // The field has 32 bits: what exceeds them can't be what it says.
        let (Ok(old), Ok(new)) = (u32::try_from(self.old), u32::try_from(self.new)) else {
            return Vec::new();
        };
        let mut places: Vec<u64> = sectors
            .iter()
            .map(|sector| sector.saturating_add(HIDDEN_SECTORS_OFFSET))
            .collect();
        places.dedup();
        places.retain(|&place| {
            // A copy that can't be read is left as it is, too.
            let told = medium.read_vec(place, 4);
            told.is_ok_and(|told| le_u32(&told, 0) == old)
        });
        let patch = |place| Patch::new(place, new.to_le_bytes().to_vec());
        places.into_iter().map(patch).collect()
    }

    /// Changes the main and the backup boot region of exFAT, each with its checksum; a region whose
    /// checksum is wrong stays as it is.
    fn in_exfat(self, medium: &impl ReadAt, shift: u8) -> Vec<Patch> {
        // Section 3.1.14: from 512 to 4096 bytes.
        if !(9..=12).contains(&shift) {
            return Vec::new();
        }
        let sector_bytes = 1_usize << shift;
        let len = (SUMMED_SECTORS + 1) * sector_bytes;
        let regions = [0, len as u64].into_iter();
        let patches = regions.flat_map(|start| {
            let region = medium.read_vec(start, len);
            let patches = region.map(|region| self.in_region(start, &region));
            // What can't be read is left as it is.
            patches.unwrap_or_default()
        });
        patches.collect()
    }

    fn in_region(self, start: u64, region: &[u8]) -> Vec<Patch> {
        let summed = region.len() / (SUMMED_SECTORS + 1) * SUMMED_SECTORS;
        let (content, sums) = region.split_at(summed);
        let sum = exfat_sum(content);
        let is_sound = sums.chunks_exact(4).all(|told| le_u32(told, 0) == sum);
        if !is_sound || le_u64(content, PARTITION_OFFSET) != self.old {
            return Vec::new();
        }
        let field = self.new.to_le_bytes();
        let mut content = content.to_vec();
        content[PARTITION_OFFSET..PARTITION_OFFSET + 8].copy_from_slice(&field);
        let sums = exfat_sum(&content).to_le_bytes().repeat(sums.len() / 4);
        vec![
            Patch::new(start + PARTITION_OFFSET as u64, field.to_vec()),
            Patch::new(start + summed as u64, sums),
        ]
    }
}

/// Returns the checksum of a boot region of exFAT (section 3.4, figure 1).
fn exfat_sum(content: &[u8]) -> u32 {
    let bytes = content.iter().enumerate();
    let bytes = bytes.filter(|(index, _)| !UNSUMMED.contains(index));
    bytes.fold(0, |sum: u32, (_, &byte)| {
        sum.rotate_right(1).wrapping_add(u32::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{MemoryMedium, Patch, Patches, ReadAt, WriteAt};

    use super::{exfat_sum, moved_hidden_sectors};

    #[test]
    fn only_a_place_that_was_told_truly_changes() {
        let ntfs = MemoryMedium::new(4096);
        ntfs.write_at(3, b"NTFS    ").unwrap();
        ntfs.write_at(0x1c, &2048_u32.to_le_bytes()).unwrap();
        let expected = [Patch::new(0x1c, 1024_u32.to_le_bytes().to_vec())];
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1024), expected);
        assert_eq!(moved_hidden_sectors(&ntfs, 2049, 1024), []);
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1 << 32), []);
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 2048), []);
        ntfs.write_at(3, b"unknown ").unwrap();
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1024), []);
        let short = MemoryMedium::new(100);
        assert_eq!(moved_hidden_sectors(&short, 2048, 1024), []);
    }

    #[test]
    fn the_copy_of_ntfs_behind_the_volume_follows() {
        let ntfs = MemoryMedium::new(8 * 512);
        for place in [0, 7 * 512] {
            ntfs.write_at(place + 3, b"NTFS    ").unwrap();
            ntfs.write_at(place + 0x0b, &512_u16.to_le_bytes()).unwrap();
            ntfs.write_at(place + 0x1c, &2048_u32.to_le_bytes())
                .unwrap();
            ntfs.write_at(place + 0x28, &7_u64.to_le_bytes()).unwrap();
        }
        let patches = moved_hidden_sectors(&ntfs, 2048, 1024);
        let places: Vec<u64> = patches.iter().map(|patch| patch.offset).collect();
        assert_eq!(places, [0x1c, 7 * 512 + 0x1c]);
        // A volume that claims to end anywhere.
        ntfs.write_at(0x28, &[0xff; 8]).unwrap();
        assert_eq!(moved_hidden_sectors(&ntfs, 2048, 1024).len(), 1);
    }

    /// Both boot regions of exFAT, in sectors of 512 bytes.
    fn exfat(place: u64) -> MemoryMedium {
        let mut region = vec![7; 11 * 512];
        region[3..11].copy_from_slice(b"EXFAT   ");
        region[0x40..0x48].copy_from_slice(&place.to_le_bytes());
        region[0x6c] = 9;
        let sums = exfat_sum(&region).to_le_bytes().repeat(128);
        region.extend(sums);
        MemoryMedium::from_bytes(&region.repeat(2))
    }

    #[test]
    fn both_boot_regions_of_exfat_follow_with_their_checksums() {
        let mut moved = exfat(2048).to_vec();
        Patches::new(moved_hidden_sectors(&exfat(2048), 2048, 1024)).apply(0, &mut moved);
        assert_eq!(moved, exfat(1024).to_vec());
        assert_eq!(moved_hidden_sectors(&exfat(0), 2048, 1024), []);
        // A region whose checksum is wrong is left alone, and only it.
        let broken = exfat(2048);
        broken.write_at(5 * 512, &[8]).unwrap();
        let patches = moved_hidden_sectors(&broken, 2048, 1024);
        assert!(patches.iter().all(|patch| patch.offset >= 12 * 512));
        assert_eq!(patches.len(), 2);
        // Flags that change while it is mounted are not part of the sum.
        let dirty = exfat(2048);
        dirty.write_at(106, &[2]).unwrap();
        assert_eq!(moved_hidden_sectors(&dirty, 2048, 1024).len(), 4);
        for shift in [0, 8, 13, 255] {
            dirty.write_at(0x6c, &[shift]).unwrap();
            assert_eq!(moved_hidden_sectors(&dirty, 2048, 1024), []);
        }
        assert_eq!(exfat(1).read_vec(3, 8).unwrap(), b"EXFAT   ");
    }
}
