//! The resize inode (number 7): it owns the blocks into which group descriptors may grow.
//!
//! ```text
//!   i_block[13] -> one block of block numbers, at D .. D+R:
//!                    room for descriptors in group 0 -> each is itself a list:
//!                                                         the same block in each copy
//! ```
//!
//! D is the number of descriptor blocks, R that of blocks in reserve. All of it follows from the
//! geometry: what is found has to be just that, and is computed anew for another geometry
//! (behaviour of `ext2fs_create_resize_inode` and `verify_reserved_gdb`).

use cardkeep_block::{ReadAt, le_u16, le_u32};
use cardkeep_ext4::{Superblock, feature};

use super::declined::Declined;
use super::field::put_u32;
use super::file_map::{Mapping, ROOT, xattr_block};
use super::geometry::{backup_groups, descriptor_blocks};

/// Where `i_block[13]` lies in a record.
pub(crate) const DOUBLE: usize = ROOT.start + 13 * 4;

/// Returns the first block in reserve of group 0.
pub(crate) fn first_reserved(superblock: &Superblock) -> u64 {
    superblock.descriptor_block(0) + descriptor_blocks(superblock)
}

/// Returns the content of the resize inode's own block.
pub(crate) fn map_block(superblock: &Superblock) -> Vec<u8> {
    let mut block = vec![0; superblock.block_bytes as usize];
    let per_block = u64::from(superblock.block_bytes / 4);
    let first = first_reserved(superblock);
    for step in 0..u64::from(superblock.reserved_gdt_blocks) {
        let index = (descriptor_blocks(superblock) + step) % per_block;
        put_u32(&mut block, index as usize * 4, (first + step) as u32);
    }
    block
}

/// Returns the content of the block in reserve at `place` in group 0.
pub(crate) fn reserved_block(superblock: &Superblock, place: u64) -> Vec<u8> {
    let mut block = vec![0; superblock.block_bytes as usize];
    for (index, group) in backup_groups(superblock).enumerate() {
        let copy = place + group * u64::from(superblock.blocks_per_group);
        put_u32(&mut block, index * 4, copy as u32);
    }
    block
}

/// Returns what `i_blocks` says: sectors of 512 bytes, of a whole cluster for each block.
pub(crate) fn sectors(superblock: &Superblock) -> u32 {
    let copies = backup_groups(superblock).count() as u64 + 1;
    let blocks = 1 + u64::from(superblock.reserved_gdt_blocks) * copies;
    let cluster = u64::from(superblock.cluster_blocks);
    (blocks * cluster * u64::from(superblock.block_bytes / 512)) as u32
}

/// The type of file in an inode's mode, and a regular one: kernel documentation, ext4, "Index Nodes".
const MODE_TYPE: u16 = 0xF000;
const MODE_FILE: u16 = 0x8000;

/// Returns the resize inode's own block, or `None` where there is no resize inode.
pub(crate) fn check(
    medium: &impl ReadAt,
    superblock: &Superblock,
    record: &[u8],
) -> Result<Option<u64>, Declined> {
    let bad = || Declined::inconsistent("the resize inode is not what it should be");
    let blocks = le_u32(record, 0x1C);
    if !superblock.has_compat(feature::COMPAT_RESIZE_INODE) {
        return if blocks == 0 { Ok(None) } else { Err(bad()) };
    }
    let block = u64::from(le_u32(record, DOUBLE));
    let others = (0..15).filter(|&index| index != 13);
    let is_alone = others
        .into_iter()
        .all(|index| le_u32(record, ROOT.start + index * 4) == 0)
        && Mapping::of(record) == Mapping::Indirect
        && xattr_block(record) == 0;
    let first = u64::from(superblock.first_data_block);
    let is_file = le_u16(record, 0) & MODE_TYPE == MODE_FILE;
    if !is_file
        || !is_alone
        || blocks != sectors(superblock)
        || block <= first
        || block >= superblock.block_count
    {
        return Err(bad());
    }
    let size = u64::from(superblock.block_bytes);
    if medium.read_vec(block * size, size as usize)? != map_block(superblock) {
        return Err(bad());
    }
    let start = first_reserved(superblock);
    for place in start..start + u64::from(superblock.reserved_gdt_blocks) {
        if medium.read_vec(place * size, size as usize)? != reserved_block(superblock, place) {
            return Err(bad());
        }
    }
    Ok(Some(block))
}
