//! Names for what is not understood further: the user wants to know what it is all the same, and
//! whether it is longer than its partition.

use cardkeep_block::{ReadAt, be_u32, le_u16, le_u32, le_u64};

/// A kind of content that is copied whole.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    /// Where the bytes lie that tell it.
    offset: u64,
    bytes: &'static [u8],
    /// What its partition may be too short for.
    pub(crate) stated_len: StatedLen,
    /// Where its content ends, and nothing follows.
    pub(crate) content_len: StatedLen,
}

/// Returns the length in bytes that a medium's content states.
type StatedLen = fn(&dyn ReadAt) -> Option<u64>;

/// Where the primary volume descriptor of ISO 9660 lies: logical sector 16 (ECMA-119, 8.4).
const ISO_VOLUME_OFFSET: u64 = 16 * 2048;

/// Sources: each format's own documentation; the same places as in libblkid's probes. Lengths are
/// those that a partition may be too short for: Microsoft's exFAT specification (3.1.5, 3.1.14),
/// the NTFS boot sector, "On-disk Format" of btrfs (`dev_item.total_bytes`), the XFS superblock
/// (`sb_blocksize`, `sb_dblocks`), the kernel's `struct f2fs_super_block`.
static NAMED: [Named; 10] = [
    named("LUKS", 0, b"LUKS\xba\xbe", unstated),
    named("NTFS", 3, b"NTFS    ", ntfs_len),
    named("exFAT", 3, b"EXFAT   ", exfat_len),
    named("XFS", 0, b"XFSB", xfs_len),
    named("F2FS", 1024, b"\x10\x20\xf5\xf2", f2fs_len),
    named("LVM", 512, b"LABELONE", unstated),
    named("LVM", 0, b"LABELONE", unstated),
    named("HFS+", 1024, b"H+", unstated),
    named("btrfs", 0x1_0040, b"_BHRfS_M", btrfs_len),
    Named {
        content_len: iso_len,
        ..named("ISO 9660", ISO_VOLUME_OFFSET + 1, b"CD001", unstated)
    },
];

const fn named(
    name: &'static str,
    offset: u64,
    bytes: &'static [u8],
    stated_len: StatedLen,
) -> Named {
    Named {
        name,
        offset,
        bytes,
        stated_len,
        content_len: unstated,
    }
}

/// Returns what `medium` seems to hold.
pub(crate) fn find(medium: &dyn ReadAt) -> Option<&'static Named> {
    NAMED.iter().find(|named| {
        let found = medium.read_vec(named.offset, named.bytes.len());
        found.is_ok_and(|found| found == named.bytes)
    })
}

/// The volume space size times the logical block size (ECMA-119, 8.4.8 and 8.4.12).
pub(crate) fn iso_len(medium: &dyn ReadAt) -> Option<u64> {
    let descriptor = medium.read_vec(ISO_VOLUME_OFFSET, 132).ok()?;
    let is_primary = descriptor[0] == 1 && &descriptor[1..6] == b"CD001";
    let blocks = u64::from(le_u32(&descriptor, 80));
    let block_bytes = u64::from(le_u16(&descriptor, 128));
    is_primary.then(|| blocks * block_bytes)
}

const fn unstated(_: &dyn ReadAt) -> Option<u64> {
    None
}

fn exfat_len(medium: &dyn ReadAt) -> Option<u64> {
    let head = medium.read_vec(0, 512).ok()?;
    le_u64(&head, 0x48).checked_shl(head[0x6C].into())
}

fn ntfs_len(medium: &dyn ReadAt) -> Option<u64> {
    let head = medium.read_vec(0, 512).ok()?;
    // The backup of the boot sector lies behind the last sector that is counted.
    let sectors = le_u64(&head, 0x28).checked_add(1)?;
    sectors.checked_mul(le_u16(&head, 0x0B).into())
}

fn xfs_len(medium: &dyn ReadAt) -> Option<u64> {
    let head = medium.read_vec(0, 512).ok()?;
    let blocks = u64::from(be_u32(&head, 8)) << 32 | u64::from(be_u32(&head, 12));
    blocks.checked_mul(be_u32(&head, 4).into())
}

fn f2fs_len(medium: &dyn ReadAt) -> Option<u64> {
    let superblock = medium.read_vec(1024, 64).ok()?;
    le_u64(&superblock, 36).checked_shl(le_u32(&superblock, 16))
}

fn btrfs_len(medium: &dyn ReadAt) -> Option<u64> {
    let superblock = medium.read_vec(0x1_0000, 512).ok()?;
    Some(le_u64(&superblock, 0xC9 + 8))
}
