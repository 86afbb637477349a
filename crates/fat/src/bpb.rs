//! The BIOS parameter block (BPB): the fields of the boot sector that say where everything lies, as they are
//! stored.

use cardkeep_block::{le_u16, le_u32};

/// The bytes of the boot sector that have a meaning, whatever the sector size.
pub(crate) const BOOT_SECTOR_BYTES: usize = 512;

/// The fields as they are stored, before any of them is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawBpb {
    pub(crate) bytes_per_sector: u16,
    pub(crate) sectors_per_cluster: u8,
    pub(crate) reserved_sectors: u16,
    pub(crate) fat_count: u8,
    pub(crate) root_entries: u16,
    pub(crate) total_sectors: u32,
    pub(crate) media: u8,
    pub(crate) fat_sectors_16: u16,
    pub(crate) fat_sectors_32: u32,
    pub(crate) flags: u16,
    pub(crate) version: u16,
    pub(crate) root_cluster: u32,
}

impl RawBpb {
    pub(crate) fn read(sector: &[u8; BOOT_SECTOR_BYTES]) -> Self {
        let total_sectors_16 = le_u16(sector, 0x013); // BPB_TotSec16
        let total_sectors_32 = le_u32(sector, 0x020); // BPB_TotSec32
        Self {
            bytes_per_sector: le_u16(sector, 0x00b), // BPB_BytsPerSec
            sectors_per_cluster: sector[0x00d],      // BPB_SecPerClus
            reserved_sectors: le_u16(sector, 0x00e), // BPB_RsvdSecCnt
            fat_count: sector[0x010],                // BPB_NumFATs
            root_entries: le_u16(sector, 0x011),     // BPB_RootEntCnt
            total_sectors: match total_sectors_16 {
                0 => total_sectors_32,
                count => count.into(),
            },
            media: sector[0x015],                  // BPB_Media
            fat_sectors_16: le_u16(sector, 0x016), // BPB_FATSz16
            fat_sectors_32: le_u32(sector, 0x024), // BPB_FATSz32
            flags: le_u16(sector, 0x028),          // BPB_ExtFlags
            version: le_u16(sector, 0x02a),        // BPB_FSVer
            root_cluster: le_u32(sector, 0x02c),   // BPB_RootClus
        }
    }

    /// As Linux decides (fs/fat/inode.c, `is_fat32`), not by the number of clusters: mkfs.vfat
    /// makes small FAT32 filesystems when asked to.
    pub(crate) const fn is_fat32(&self) -> bool {
        self.fat_sectors_16 == 0
    }

    pub(crate) fn fat_sectors(&self) -> u32 {
        match self.fat_sectors_16 {
            0 => self.fat_sectors_32,
            count => count.into(),
        }
    }

    /// The checks of `fat_read_bpb` in Linux.
    pub(crate) const fn is_plausible(&self) -> bool {
        matches!(self.bytes_per_sector, 512 | 1024 | 2048 | 4096)
            && self.sectors_per_cluster.is_power_of_two()
            && self.reserved_sectors != 0
            && matches!(self.fat_count, 1..=4)
            && (self.media == 0xf0 || self.media >= 0xf8)
            && (self.fat_sectors_16 != 0 || self.fat_sectors_32 != 0)
    }
}
