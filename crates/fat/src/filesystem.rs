//! A FAT filesystem that was loaded: who it is and how full.

use std::ops::ControlFlow;

use cardkeep_block::{AllocationMap, ReadAt};

use crate::Error;
use crate::boot_sector::BootSector;
use crate::bpb::BOOT_SECTOR_BYTES;
use crate::directory::{EntryKind, each_entry};
use crate::error::{CorruptKind, Unsupported, UnsupportedKind};
use crate::geometry::{FIRST_CLUSTER, Geometry};
use crate::kind::FatKind;
use crate::name::decode;
use crate::table::{Lookup, Mark, SCAN_BYTES};

/// What a filesystem says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The width of its FAT's entries.
    pub kind: FatKind,
    /// Its name: that of the root directory's volume entry, else that of the boot sector.
    pub label: Option<String>,
    /// Its serial number as blkid writes it, `5049-424B`; `None` in boot sectors of before 1987.
    pub volume_id: Option<String>,
    /// The size of a cluster in bytes.
    pub cluster_bytes: u32,
    /// How many clusters there are.
    pub cluster_count: u32,
    /// The filesystem's own length in bytes (BPB_TotSec): its partition may be longer.
    pub len: u64,
    /// How many of them the FAT calls free (bad ones are not).
    pub free_clusters: u32,
    /// Whether it was not unmounted, or errors were met: as it marks itself, in the boot sector or
    /// in the FAT's second entry.
    pub dirty: bool,
}

/// A FAT filesystem on a medium that starts with its boot sector.
#[derive(Debug)]
pub struct FatFs<M> {
    pub(crate) medium: M,
    pub(crate) geometry: Geometry,
    info: Info,
}

impl<M: ReadAt> FatFs<M> {
    /// Loads and validates the boot sector, and reads one FAT through to count what is free.
    ///
    /// Parts of the FAT that can't be read count as in use.
    ///
    /// # Errors
    /// [`Error::Io`] where neither the boot sector nor FAT32's copy of it can be read. [`Error::Corrupt`] where it is none,
    /// contradicts itself, or promises more bytes than the medium has.
    pub fn load(medium: M) -> Result<Self, Error> {
        let boot = BootSector::load(&medium)?;
        if medium.len() > AllocationMap::LEN_MAX {
            let kind = UnsupportedKind::MediumLen(medium.len());
            return Err(Error::Unsupported(Unsupported(kind)));
        }
        let geometry = boot.geometry.clone();
        if geometry.end > medium.len() {
            return Err(CorruptKind::PastEnd {
                fs_bytes: geometry.end,
                medium_bytes: medium.len(),
            }
            .into());
        }
        let info = Info {
            kind: geometry.kind,
            label: root_label(&medium, &geometry).or_else(|| boot_label(&boot)),
            volume_id: boot
                .volume_id
                .map(|id| format!("{:04X}-{:04X}", id >> 16, id & 0xffff)),
            cluster_bytes: geometry.cluster_bytes,
            cluster_count: geometry.cluster_count,
            len: geometry.end,
            free_clusters: free_clusters(&medium, &geometry),
            dirty: boot.is_dirty || is_marked_dirty(&medium, &geometry),
        };
        Ok(Self {
            medium,
            geometry,
            info,
        })
    }

    /// Returns what the filesystem says of itself.
    pub const fn info(&self) -> &Info {
        &self.info
    }
}

/// Returns how many bytes from the filesystem's beginning on hold all that its allocation map is
/// made of: the reserved sectors, the FATs, and the fixed root directory where there is one. Reads
/// the boot sector only; `None` where it is none.
pub fn head_bytes(medium: &impl ReadAt) -> Option<u64> {
    let mut sector = [0; BOOT_SECTOR_BYTES];
    // What can't be read is no boot sector, as for `probe`.
    medium.read_at(0, &mut sector).ok()?;
    let boot = BootSector::parse(&sector).ok()?;
    Some(boot.geometry.data_start)
}

/// Returns how long the filesystem says it is, in bytes, whether its medium is that long or not. Reads
/// the boot sector only; `None` where it is none.
pub fn stated_len(medium: &impl ReadAt) -> Option<u64> {
    // What can't be read is no boot sector, as for `probe`.
    let boot = BootSector::load(medium).ok()?;
    Some(boot.geometry.end)
}

/// Returns the label in the root directory.
fn root_label(medium: &impl ReadAt, geometry: &Geometry) -> Option<String> {
    let mut label = None;
    let mut find = |entry: crate::directory::Entry| {
        if entry.kind == EntryKind::Label {
            label = Some(entry.short_name);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    // The label is for people: where the root directory can't be read, the boot sector's serves.
    each_entry(medium, geometry, geometry.root_place(), &mut find).ok()?;
    label.filter(|name| !name.is_empty())
}

fn boot_label(boot: &BootSector) -> Option<String> {
    let name = decode(boot.label.as_ref()?);
    // What formatting tools write when there is none (fatgen103, BS_VolLab).
    (!name.is_empty() && name != "NO NAME").then_some(name)
}

fn free_clusters(medium: &impl ReadAt, geometry: &Geometry) -> u32 {
    let mut count = 0;
    for index in 0..geometry.window_count(SCAN_BYTES) {
        // What can't be read is not proven free.
        let Ok(window) = geometry.read_any_copy(medium, index, SCAN_BYTES) else {
            continue;
        };
        let clusters = window.entries().skip_while(|&n| n < FIRST_CLUSTER);
        // A window has far fewer entries than 2^32.
        count += clusters.filter(|&n| window.mark(n) == Mark::Free).count() as u32;
    }
    count
}

/// The second entry's upper bits: "unmounted" and "no errors" (fatgen103, `ClnShutBitMask`).
/// FAT12 has none.
fn is_marked_dirty(medium: &impl ReadAt, geometry: &Geometry) -> bool {
    let clean = match geometry.kind {
        FatKind::Fat12 => return false,
        FatKind::Fat16 => 0xc000,
        FatKind::Fat32 => 0x0c00_0000,
    };
    match Lookup::new(medium, geometry).window(1) {
        Ok(window) => window.value(1) & clean != clean,
        // Not known to be clean.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::probe;
    use cardkeep_block::{Extent, ReadAt, Slice};

    use super::{FatFs, FatKind};
    use crate::Error;
    use crate::error::{Corrupt, CorruptKind, Unsupported, UnsupportedKind};
    use crate::test_writer::{SECTOR, Writer};

    fn corrupt(medium: impl ReadAt + std::fmt::Debug) -> CorruptKind {
        match FatFs::load(medium) {
            Err(Error::Corrupt(Corrupt(kind))) => kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_root_directorys_label_goes_before_the_boot_sectors() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        let label = |writer: &Writer| FatFs::load(&writer.medium).unwrap().info().label.clone();
        assert_eq!(label(&writer).as_deref(), Some("BOOT SECTOR"));
        // A deleted record, a long name's (its attributes hold the label's bit), then the label.
        let root = writer.root_start();
        writer.entry(root, b"\xe5LD        ", 0x08, 0, 0);
        writer.entry(
            root + 32,
            b"Ax          "[..11].try_into().unwrap(),
            0x0f,
            0,
            0,
        );
        assert_eq!(label(&writer).as_deref(), Some("BOOT SECTOR"));
        writer.entry(root + 64, b"boot fs    ", 0x28, 0, 0);
        assert_eq!(label(&writer).as_deref(), Some("boot fs"));
        writer.entry(root, b"           ", 0x08, 0, 0);
        writer.put(0x02b, b"NO NAME    ");
        assert_eq!(label(&writer), None);
    }

    #[test]
    fn unclean_marks_are_seen() {
        let check = |kind, clusters, change: &dyn Fn(&Writer)| {
            let writer = Writer::new(kind, clusters);
            assert!(!FatFs::load(&writer.medium).unwrap().info().dirty);
            change(&writer);
            assert!(FatFs::load(&writer.medium).unwrap().info().dirty);
        };
        check(FatKind::Fat16, 5000, &|w| w.set_all(1, 0x7fff));
        check(FatKind::Fat16, 5000, &|w| w.set_all(1, 0xbfff));
        check(FatKind::Fat16, 5000, &|w| w.put(0x025, &[1]));
        check(FatKind::Fat12, 5, &|w| w.put(0x025, &[2]));
        check(FatKind::Fat32, 70_000, &|w| w.set_all(1, 0x07ff_ffff));
        check(FatKind::Fat32, 70_000, &|w| w.set_all(1, 0x0bff_ffff));
        check(FatKind::Fat32, 70_000, &|w| w.put(0x041, &[1]));
    }

    #[test]
    fn the_copy_of_fat32s_boot_sector_serves_where_the_first_is_unreadable() {
        let bad = Extent::between(0, SECTOR);
        let writer = Writer::new(FatKind::Fat32, 70_000);
        assert!(matches!(
            FatFs::load(writer.with_bad(bad)),
            Err(Error::Io(_))
        ));
        let sector = writer.medium.read_vec(0, 512).unwrap();
        let writer = Writer::reserving(FatKind::Fat32, 70_000, 32);
        let mut copy = sector;
        copy[0x00e] = 32;
        writer.put(6 * SECTOR, &copy);
        let medium = writer.with_bad(bad);
        assert_eq!(probe(&medium), Some(FatKind::Fat32));
        let fs = FatFs::load(writer.with_bad(bad)).unwrap();
        assert_eq!(fs.info().cluster_count, 69_972);
        // Whether it was unmounted the copy does not say.
        assert!(fs.info().dirty);
        // A FAT16 has no copy: what lies there is something else.
        let writer = Writer::reserving(FatKind::Fat16, 5000, 32);
        let sector = writer.medium.read_vec(0, 512).unwrap();
        writer.put(6 * SECTOR, &sector);
        assert_eq!(probe(&writer.with_bad(bad)), None);
    }

    #[test]
    fn a_boot_sector_that_contradicts_itself_is_corrupt() {
        let fat16 = || Writer::new(FatKind::Fat16, 5000);
        let writer = fat16();
        writer.put(0x011, &[17, 0]);
        assert_eq!(corrupt(&writer.medium), CorruptKind::RootEntries(17));
        let writer = fat16();
        writer.put(0x020, &[40, 0, 0, 0]);
        assert_eq!(corrupt(&writer.medium), CorruptKind::NoClusters);
        let writer = fat16();
        writer.put(0x00d, &[128]);
        writer.put(0x020, &[0xff; 4]);
        writer.put(0x016, &[0xff; 2]);
        assert_eq!(
            corrupt(&writer.medium),
            CorruptKind::ClusterCount(16_776_958)
        );
        let writer = Writer::new(FatKind::Fat32, 70_000);
        writer.put(0x02c, &70_002_u32.to_le_bytes());
        assert_eq!(corrupt(&writer.medium), CorruptKind::RootCluster(70_002));
        writer.put(0x02c, &[1, 0, 0, 0]);
        assert_eq!(corrupt(&writer.medium), CorruptKind::RootCluster(1));
        writer.put(0x02a, &[1, 2]);
        let result = FatFs::load(&writer.medium);
        assert!(matches!(
            result,
            Err(Error::Unsupported(Unsupported(UnsupportedKind::Version(
                0x0201
            ))))
        ));
    }

    #[test]
    fn a_medium_cut_short_is_corrupt() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        let fs_bytes = writer.medium.len() - SECTOR;
        let cut = |len| Slice::new(&writer.medium, Extent::between(0, len));
        assert!(FatFs::load(cut(fs_bytes)).is_ok());
        let medium_bytes = fs_bytes - 1;
        let expected = CorruptKind::PastEnd {
            fs_bytes,
            medium_bytes,
        };
        assert_eq!(corrupt(cut(medium_bytes)), expected);
    }

    #[test]
    fn clusters_that_the_fat_cannot_number_are_none() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        // One sector of entries less: 4864 entries, two of them before the clusters.
        writer.put(0x016, &[19, 0]);
        let fs = FatFs::load(&writer.medium).unwrap();
        assert_eq!(fs.info().cluster_count, 4862);
    }
}
