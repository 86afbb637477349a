//! A small writer of FAT filesystems for tests: clusters of one sector of 512 bytes, two FATs, no
//! files but those that a test writes.

use cardkeep_block::{
    BlockError, BlockErrorKind, Extent, MemoryMedium, Operation, ReadAt, WriteAt,
};

use crate::entry_record::ENTRY_BYTES;
use crate::kind::FatKind;

pub(crate) const SECTOR: u64 = 512;
const RESERVED_SECTORS: u64 = 4;
const FAT_COUNT: u64 = 2;
const ROOT_ENTRIES: u64 = 16;

/// A filesystem in the making, on a medium that is a sector longer than it.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) medium: MemoryMedium,
    kind: FatKind,
    fat_sectors: u64,
    reserved_sectors: u64,
}

impl Writer {
    /// Formats a medium with `cluster_count` clusters; for FAT32 the root directory is cluster 2.
    pub(crate) fn new(kind: FatKind, cluster_count: u64) -> Self {
        Self::reserving(kind, cluster_count, RESERVED_SECTORS)
    }

    /// As [`Writer::new`], with so many sectors before the first FAT.
    pub(crate) fn reserving(kind: FatKind, cluster_count: u64, reserved_sectors: u64) -> Self {
        let entries = cluster_count + 2;
        let fat_bytes = match kind {
            FatKind::Fat12 => (entries * 3).div_ceil(2),
            FatKind::Fat16 => entries * 2,
            FatKind::Fat32 => entries * 4,
        };
        let fat_sectors = fat_bytes.div_ceil(SECTOR);
        let root_sectors = match kind {
            FatKind::Fat32 => 0,
            _ => ROOT_ENTRIES * ENTRY_BYTES as u64 / SECTOR,
        };
        let sectors = reserved_sectors + FAT_COUNT * fat_sectors + root_sectors + cluster_count;
        let writer = Self {
            medium: MemoryMedium::new((sectors + 1) * SECTOR),
            kind,
            fat_sectors,
            reserved_sectors,
        };
        writer.write_boot_sector(sectors as u32);
        writer.set_all(0, 0x0fff_fff8);
        writer.set_all(1, 0x0fff_ffff);
        if kind == FatKind::Fat32 {
            writer.set_all(2, 0x0fff_ffff);
        }
        writer
    }

    fn write_boot_sector(&self, sectors: u32) {
        let is_fat32 = self.kind == FatKind::Fat32;
        let root_entries = if is_fat32 { 0 } else { ROOT_ENTRIES as u16 };
        self.put(0x000, &[0xeb, 0x58, 0x90]);
        self.put(0x00b, &[0x00, 0x02, 1]);
        self.put(0x00e, &[self.reserved_sectors as u8, 0, FAT_COUNT as u8]);
        self.put(0x011, &root_entries.to_le_bytes());
        self.put(0x015, &[0xf8]);
        self.put(0x020, &sectors.to_le_bytes());
        let tail = if is_fat32 {
            self.put(0x024, &(self.fat_sectors as u32).to_le_bytes());
            self.put(0x02c, &[2]);
            0x041
        } else {
            self.put(0x016, &(self.fat_sectors as u16).to_le_bytes());
            0x025
        };
        self.put(tail + 1, &[0x29, 0x4b, 0x42, 0x49, 0x50]);
        self.put(tail + 6, b"BOOT SECTOR");
        self.put(0x1fe, &[0x55, 0xaa]);
    }

    pub(crate) fn put(&self, offset: u64, bytes: &[u8]) {
        self.medium.write_at(offset, bytes).unwrap();
    }

    /// Sets an entry of FAT number `fat` (0 or 1), cut to the width of the entries.
    pub(crate) fn set(&self, fat: u64, cluster: u64, value: u32) {
        let start = self.fat_start(fat);
        match self.kind {
            FatKind::Fat12 => {
                let offset = start + cluster * 3 / 2;
                let old = self.medium.read_vec(offset, 2).unwrap();
                let old = u16::from_le_bytes([old[0], old[1]]);
                let value = value as u16 & 0xfff;
                let new = match cluster % 2 {
                    0 => old & 0xf000 | value,
                    _ => old & 0x000f | value << 4,
                };
                self.put(offset, &new.to_le_bytes());
            }
            FatKind::Fat16 => self.put(start + cluster * 2, &(value as u16).to_le_bytes()),
            FatKind::Fat32 => self.put(start + cluster * 4, &value.to_le_bytes()),
        }
    }

    pub(crate) fn set_all(&self, cluster: u64, value: u32) {
        for fat in 0..FAT_COUNT {
            self.set(fat, cluster, value);
        }
    }

    /// Links clusters to a chain in all FATs.
    pub(crate) fn chain(&self, clusters: &[u64]) {
        for pair in clusters.windows(2) {
            self.set_all(pair[0], pair[1] as u32);
        }
        self.set_all(clusters[clusters.len() - 1], 0x0fff_ffff);
    }

    pub(crate) fn fat_start(&self, fat: u64) -> u64 {
        (self.reserved_sectors + fat * self.fat_sectors) * SECTOR
    }

    /// Where the root directory's first record is; for FAT32, where cluster 2 is.
    pub(crate) fn root_start(&self) -> u64 {
        self.fat_start(FAT_COUNT)
    }

    pub(crate) fn cluster_start(&self, cluster: u64) -> u64 {
        let root_sectors = if self.kind == FatKind::Fat32 { 0 } else { 1 };
        self.root_start() + (root_sectors + cluster - 2) * SECTOR
    }

    /// Writes a record with a short name at `offset`.
    pub(crate) fn entry(
        &self,
        offset: u64,
        name: &[u8; 11],
        attributes: u8,
        first_cluster: u16,
        size: u32,
    ) {
        let mut record = [0; ENTRY_BYTES];
        record[..11].copy_from_slice(name);
        record[0x0b] = attributes;
        record[0x1a..0x1c].copy_from_slice(&first_cluster.to_le_bytes());
        record[0x1c..0x20].copy_from_slice(&size.to_le_bytes());
        self.put(offset, &record);
    }
    /// The medium as it is when `bad` can't be read.
    pub(crate) const fn with_bad(&self, bad: Extent) -> Faulty<'_> {
        Faulty {
            medium: &self.medium,
            bad,
        }
    }
}

/// A medium with sectors that can't be read.
#[derive(Debug)]
pub(crate) struct Faulty<'a> {
    medium: &'a MemoryMedium,
    bad: Extent,
}

impl ReadAt for Faulty<'_> {
    fn len(&self) -> u64 {
        self.medium.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        if extent.overlaps(self.bad) {
            let error = BlockError::new(BlockErrorKind::Io, Operation::Read);
            return Err(error.at(extent));
        }
        self.medium.read_at(offset, buffer)
    }
}
