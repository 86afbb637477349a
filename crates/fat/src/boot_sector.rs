//! The boot sector: whether it is that of a FAT filesystem, and what it says.

use cardkeep_block::{ReadAt, le_u16, le_u32};

use crate::Error;
use crate::bpb::{BOOT_SECTOR_BYTES, RawBpb};
use crate::error::{CorruptKind, Unsupported, UnsupportedKind};
use crate::geometry::Geometry;
use crate::kind::FatKind;

/// Where FAT32 keeps a copy of its boot sector (fatgen103, `BPB_BkBootSec`: no value other than 6
/// is recommended), in bytes, where sectors have 512.
const COPY_OFFSET: u64 = 6 * 512;

/// Tells from the boot sector alone whether a medium holds a FAT filesystem, and which.
///
/// NTFS, exFAT, BitLocker To Go and partition tables end their first sector in the same two bytes;
/// they are told apart. A medium that can't be read holds none.
pub fn probe(medium: &impl ReadAt) -> Option<FatKind> {
    // What fails here is told where the filesystem is read; what holds none is kept whole.
    let boot = BootSector::load(medium).ok()?;
    Some(boot.geometry.kind)
}

/// A boot sector that makes sense in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootSector {
    pub(crate) geometry: Geometry,
    /// The bits of `BS_Reserved1` by which Windows NT and Linux mark an unclean filesystem.
    pub(crate) is_dirty: bool,
    pub(crate) volume_id: Option<u32>,
    pub(crate) label: Option<[u8; 11]>,
}

impl BootSector {
    /// Reads the boot sector; where it can't be read, FAT32's copy of it, which does not tell
    /// whether the filesystem was unmounted.
    pub(crate) fn load(medium: &impl ReadAt) -> Result<Self, Error> {
        let mut sector = [0; BOOT_SECTOR_BYTES];
        let Err(error) = medium.read_at(0, &mut sector) else {
            return Self::parse(&sector);
        };
        // A copy that serves no better: the error of the boot sector itself is the one to tell.
        let copy = medium
            .read_at(COPY_OFFSET, &mut sector)
            .ok()
            .and_then(|()| Self::parse(&sector).ok())
            .filter(|boot| boot.geometry.kind == FatKind::Fat32);
        let mut boot = copy.ok_or(Error::Io(error))?;
        boot.is_dirty = true;
        Ok(boot)
    }

    pub(crate) fn parse(sector: &[u8; BOOT_SECTOR_BYTES]) -> Result<Self, Error> {
        let bpb = RawBpb::read(sector);
        if !has_frame(sector) || is_foreign(sector) || !bpb.is_plausible() {
            return Err(CorruptKind::NotFat.into());
        }
        if bpb.is_fat32() && bpb.version != 0 {
            let version = UnsupportedKind::Version(bpb.version);
            return Err(Error::Unsupported(Unsupported(version)));
        }
        // BS_Reserved1, BS_BootSig, BS_VolID and BS_VolLab follow each other in this order.
        let tail = if bpb.is_fat32() { 0x041 } else { 0x025 };
        let signature = sector[tail + 0x1];
        let mut label = [0; 11];
        label.copy_from_slice(&sector[tail + 0x6..tail + 0x11]);
        Ok(Self {
            geometry: Geometry::new(&bpb)?,
            // Bit 0: not unmounted; bit 1: read or write errors were met (Linux: FAT_STATE_DIRTY).
            is_dirty: sector[tail] & 0b11 != 0,
            volume_id: matches!(signature, 0x28 | 0x29).then(|| le_u32(sector, tail + 0x2)),
            label: (signature == 0x29).then_some(label),
        })
    }
}

/// Jump instruction at the start, signature at the end.
fn has_frame(sector: &[u8; BOOT_SECTOR_BYTES]) -> bool {
    matches!(sector[0], 0xeb | 0xe9) && le_u16(sector, 0x1fe) == 0xaa55
}

/// BitLocker To Go puts its identifier here, behind a BPB that looks like FAT32 (libbde's
/// documentation of the volume header).
const BITLOCKER_OFFSET: usize = 0x1a8;
const BITLOCKER_ID: [u8; 16] = [
    0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01,
];

fn is_foreign(sector: &[u8; BOOT_SECTOR_BYTES]) -> bool {
    matches!(&sector[3..11], b"NTFS    " | b"EXFAT   " | b"-FVE-FS-")
        || sector[BITLOCKER_OFFSET..].starts_with(&BITLOCKER_ID)
}

#[cfg(test)]
mod tests {
    use cardkeep_block::MemoryMedium;

    use super::{BITLOCKER_ID, FatKind, probe};
    use crate::test_writer::Writer;

    #[test]
    fn every_kind_is_recognised() {
        for (kind, clusters) in [
            (FatKind::Fat12, 1),
            (FatKind::Fat12, 4084),
            (FatKind::Fat16, 4085),
            (FatKind::Fat16, 65_524),
            (FatKind::Fat32, 65_525),
            (FatKind::Fat32, 100),
        ] {
            let writer = Writer::new(kind, clusters);
            assert_eq!(probe(&writer.medium), Some(kind), "{clusters}");
        }
    }

    #[test]
    fn other_boot_sectors_are_not_taken_for_fat() {
        let check = |offset: u64, bytes: &[u8]| {
            let writer = Writer::new(FatKind::Fat16, 5000);
            writer.put(offset, bytes);
            assert_eq!(probe(&writer.medium), None, "{offset:#x}");
        };
        check(0x003, b"NTFS    ");
        check(0x003, b"EXFAT   ");
        check(0x003, b"-FVE-FS-");
        check(0x1a8, &BITLOCKER_ID);
        check(0x1fe, &[0, 0]);
        check(0x000, &[0xfa]);
        for (offset, value) in [
            (0x00b, 1),
            (0x00d, 3),
            (0x00d, 0),
            (0x00e, 0),
            (0x010, 0),
            (0x010, 5),
            (0x015, 0xf7),
            (0x016, 0),
        ] {
            check(offset, &[value, 0][..1]);
        }
        assert_eq!(probe(&MemoryMedium::new(511)), None);
        // An MBR with boot code: signature and jump, no BPB.
        let mut mbr = [0; 512];
        mbr[..2].copy_from_slice(&[0xeb, 0x63]);
        mbr[0x1fe..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(probe(&MemoryMedium::from_bytes(&mbr)), None);
    }
}
