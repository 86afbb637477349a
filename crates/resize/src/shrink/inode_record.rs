//! The records of inodes, found by their numbers.

use cardkeep_block::ReadAt;
use cardkeep_ext4::InodeRecord;

use super::descriptors::Descriptors;
use super::file_map::MapReader;
use crate::declined::Declined;

/// Returns where an inode's record lies, in bytes.
pub(crate) fn record_offset(
    superblock: &cardkeep_ext4::Superblock,
    descriptors: &Descriptors,
    number: u32,
) -> u64 {
    let index = number.saturating_sub(1);
    let table = descriptors.inode_table(u64::from(index / superblock.inodes_per_group));
    let within = u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
    table * u64::from(superblock.block_bytes) + within
}

/// Reads an inode's record.
pub(crate) fn read_record<M: ReadAt>(
    reader: &MapReader<'_, M>,
    descriptors: &Descriptors,
    number: u32,
) -> Result<InodeRecord<Vec<u8>>, Declined> {
    let offset = record_offset(reader.superblock, descriptors, number);
    let bytes = usize::from(reader.superblock.inode_bytes);
    Ok(InodeRecord::new(reader.medium.read_vec(offset, bytes)?)?)
}
