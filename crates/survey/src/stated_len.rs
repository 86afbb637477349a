//! How long a filesystem says it is: it may be longer than its partition, where a resize stopped
//! half way or a partition was made anew too short.

use cardkeep_block::{ReadAt, be_u32, le_u16, le_u32, le_u64};
use cardkeep_ext4::Superblock;

use crate::swap::Swap;

/// Returns the length in bytes that the filesystem at the beginning of `medium` states; `None` where
/// it is not known. The number is not checked against anything.
pub(crate) fn stated_len(medium: &dyn ReadAt) -> Option<u64> {
    if cardkeep_ext4::probe(&medium) {
        let bytes = medium.read_vec(1024, 1024).ok()?;
        let superblock = Superblock::parse(&bytes).ok()?;
        return superblock
            .block_count
            .checked_mul(superblock.block_bytes.into());
    }
    cardkeep_fat::stated_len(&medium)
        .or_else(|| Swap::probe(medium).map(|swap| swap.end()))
        .or_else(|| of_copied_whole(medium))
}

/// Those that are copied whole, by their own documentation: Microsoft's exFAT specification (3.1.5,
/// 3.1.14), the NTFS boot sector, "On-disk Format" of btrfs (`dev_item.total_bytes`), the XFS
/// superblock (`sb_blocksize`, `sb_dblocks`), the kernel's `struct f2fs_super_block`.
fn of_copied_whole(medium: &dyn ReadAt) -> Option<u64> {
    let head = medium.read_vec(0, 512).ok()?;
    if head[3..11] == *b"EXFAT   " {
        return le_u64(&head, 0x48).checked_shl(head[0x6C].into());
    }
    if head[3..11] == *b"NTFS    " {
        // The backup of the boot sector lies behind the last sector that is counted.
        let sectors = le_u64(&head, 0x28).checked_add(1)?;
        return sectors.checked_mul(le_u16(&head, 0x0B).into());
    }
    if head.starts_with(b"XFSB") {
        let blocks = u64::from(be_u32(&head, 8)) << 32 | u64::from(be_u32(&head, 12));
        return blocks.checked_mul(be_u32(&head, 4).into());
    }
    let f2fs = medium.read_vec(1024, 64).ok()?;
    if f2fs.starts_with(b"\x10\x20\xf5\xf2") {
        return le_u64(&f2fs, 36).checked_shl(le_u32(&f2fs, 16));
    }
    let btrfs = medium.read_vec(0x1_0000, 512).ok()?;
    (btrfs[0x40..0x48] == *b"_BHRfS_M").then(|| le_u64(&btrfs, 0xC9 + 8))
}
