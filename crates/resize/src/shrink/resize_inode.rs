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

use cardkeep_block::ReadAt;
use cardkeep_ext4::{BlockMap, FileType, InodeRecord, Mapping, Superblock, feature};

use super::geometry::backup_groups;
use crate::declined::Declined;
use crate::inconsistent::InconsistentKind;

/// The doubly indirect entry of `i_block`.
const DOUBLE: usize = 13;

/// Returns the first block in reserve of group 0.
pub(crate) fn first_reserved(superblock: &Superblock) -> u64 {
    superblock.descriptor_block(0) + superblock.descriptor_block_count()
}

/// Returns the content of the resize inode's own block.
pub(crate) fn map_block(superblock: &Superblock) -> Result<Vec<u8>, cardkeep_ext4::Error> {
    let mut block = BlockMap::new(vec![0; superblock.block_bytes as usize])?;
    let per_block = u64::from(superblock.block_bytes / 4);
    let first = first_reserved(superblock);
    for step in 0..u64::from(superblock.reserved_gdt_blocks) {
        let index = (superblock.descriptor_block_count() + step) % per_block;
        block.set(index as usize, (first + step) as u32);
    }
    Ok(block.into_bytes())
}

/// Returns the content of the block in reserve at `place` in group 0.
pub(crate) fn reserved_block(
    superblock: &Superblock,
    place: u64,
) -> Result<Vec<u8>, cardkeep_ext4::Error> {
    let mut block = BlockMap::new(vec![0; superblock.block_bytes as usize])?;
    // More copies than a block can name are none that tools make: what is found differs then.
    let groups = backup_groups(superblock).take(block.count());
    for (index, group) in groups.enumerate() {
        let copy = place + group * u64::from(superblock.blocks_per_group);
        block.set(index, copy as u32);
    }
    Ok(block.into_bytes())
}

/// Returns what `i_blocks` says: sectors of 512 bytes, of a whole cluster for each block.
pub(crate) fn sectors(superblock: &Superblock) -> u32 {
    let copies = backup_groups(superblock).count() as u64 + 1;
    let blocks = 1 + u64::from(superblock.reserved_gdt_blocks) * copies;
    let cluster = u64::from(superblock.cluster_blocks);
    (blocks * cluster * u64::from(superblock.block_bytes / 512)) as u32
}

/// Returns the resize inode's own block, or `None` where there is no resize inode.
pub(crate) fn check<B: AsRef<[u8]>>(
    medium: &impl ReadAt,
    superblock: &Superblock,
    record: &InodeRecord<B>,
) -> Result<Option<u64>, Declined> {
    let bad = || Declined::from(InconsistentKind::ResizeInode);
    let blocks = record.blocks(false);
    if !superblock.has_compat(feature::COMPAT_RESIZE_INODE) {
        return if blocks == 0 { Ok(None) } else { Err(bad()) };
    }
    let field = record.block_field();
    let list = BlockMap::new(&field)?;
    let block = u64::from(list.get(DOUBLE));
    let mut others = (0..list.count()).filter(|&index| index != DOUBLE);
    let is_alone = others.all(|index| list.get(index) == 0)
        && record.mapping() == Mapping::Indirect
        && record.xattr_block() == 0;
    let first = u64::from(superblock.first_data_block);
    let is_file = record.file_type() == FileType::Regular;
    if !is_file
        || !is_alone
        || blocks != u64::from(sectors(superblock))
        || block <= first
        || block >= superblock.block_count
    {
        return Err(bad());
    }
    let size = u64::from(superblock.block_bytes);
    if medium.read_vec(block * size, size as usize)? != map_block(superblock)? {
        return Err(bad());
    }
    let start = first_reserved(superblock);
    for place in start..start + u64::from(superblock.reserved_gdt_blocks) {
        if medium.read_vec(place * size, size as usize)? != reserved_block(superblock, place)? {
            return Err(bad());
        }
    }
    Ok(Some(block))
}
