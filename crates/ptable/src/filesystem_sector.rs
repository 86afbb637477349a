//! Boot sectors of filesystems, which end in the signature of an MBR but are none.

use cardkeep_block::le_u16;

use crate::mbr::RECORD_BYTES;

/// Returns the filesystem that a first sector belongs to, where it is one of those that end
/// their boot sector in 55 aa.
///
/// Sources: Microsoft's fatgen103 for the BPB, its exFAT specification 3.1.2, and the OEM id
/// of NTFS as util-linux checks it.
pub(crate) fn filesystem_of(sector: &[u8; RECORD_BYTES]) -> Option<&'static str> {
    match &sector[3..11] {
        b"NTFS    " => return Some("NTFS"),
        b"EXFAT   " => return Some("exFAT"),
        _ => {}
    }
    let bytes_per_sector = le_u16(sector, 0x00b); // BPB_BytsPerSec
    let sectors_per_cluster = sector[0x00d]; // BPB_SecPerClus
    let reserved_sectors = le_u16(sector, 0x00e); // BPB_RsvdSecCnt
    let fat_count = sector[0x010]; // BPB_NumFATs
    let media = sector[0x015]; // BPB_Media
    let is_fat = matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
        && sectors_per_cluster.is_power_of_two()
        && reserved_sectors != 0
        && matches!(fat_count, 1..=4)
        && (media == 0xf0 || media >= 0xf8);
    is_fat.then_some("FAT")
}
