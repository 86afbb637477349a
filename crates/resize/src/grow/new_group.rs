//! A group that is added. Its metadata lies at its beginning:
//!
//! ```text
//!   | superblock, descriptors, reserve | block bitmap | inode bitmap | inode table | free ... |
//!     in some groups only                1 block        1 block
//! ```

use cardkeep_block::Extent;
use cardkeep_ext4::{BLOCK_UNINIT, INODE_UNINIT};

use super::bitmap::{Bit, put_bits};
use super::descriptor;
use super::edits::Edits;
use super::target::Target;
use crate::declined::Declined;
use crate::unsupported::UnsupportedKind;

/// Adds group `number`; returns its inode table where that has to be zero.
pub(super) fn add(
    target: &Target,
    number: u64,
    edits: &mut Edits<'_>,
) -> Result<Option<Extent>, Declined> {
    let superblock = &target.new;
    let table_blocks = superblock.inode_table_block_count();
    let base = superblock.base_block_count(number);
    let bitmaps = superblock.group_first_block(number).saturating_add(base);
    let metadata = base.saturating_add(2).saturating_add(table_blocks);
    let used = metadata.div_ceil(u64::from(superblock.cluster_blocks));
    let (_, clusters) = target.cluster_counts(number);
    let free = clusters
        .checked_sub(used)
        .ok_or(UnsupportedKind::SmallGroups)?;
    let mut own = descriptor::empty(superblock)?;
    descriptor::put_places(&mut own, bitmaps)?;
    descriptor::put_free_clusters(&mut own, free)?;
    own.set_free_inodes(superblock.inodes_per_group)
        .map_err(Declined::from_content)?;
    let is_lazy = superblock.has_group_checksums();
    // The last group's bitmap says what lies behind the end, so it is always written.
    let is_last = number + 1 == superblock.group_count();
    if is_lazy {
        own.set_unused_inodes(superblock.inodes_per_group)
            .map_err(Declined::from_content)?;
        own.set_flags(INODE_UNINIT | if is_last { 0 } else { BLOCK_UNINIT });
    }
    if !is_lazy || is_last {
        let mut bitmap = edits.empty_block();
        let bits = bitmap.len() as u64 * 8;
        put_bits(&mut bitmap, 0, used, Bit::Used);
        put_bits(&mut bitmap, clusters, bits, Bit::Used);
        target.sealer.block_bitmap(&bitmap, &mut own);
        edits.put(bitmaps, bitmap)?;
    }
    descriptor::store(own, target, number, edits)?;
    if is_lazy {
        return Ok(None);
    }
    write_inode_bitmap(target, bitmaps + 1, edits)?;
    let bytes = u64::from(superblock.block_bytes);
    let start = (bitmaps + 2).saturating_mul(bytes);
    let end = start.saturating_add(table_blocks.saturating_mul(bytes));
    Ok(Some(Extent::between(start, end)))
}

/// Writes the bitmap of no inodes. Bits behind the last one are set.
fn write_inode_bitmap(target: &Target, place: u64, edits: &mut Edits<'_>) -> Result<(), Declined> {
    let mut bitmap = edits.empty_block();
    let bits = bitmap.len() as u64 * 8;
    let inodes = u64::from(target.new.inodes_per_group);
    put_bits(&mut bitmap, inodes, bits, Bit::Used);
    edits.put(place, bitmap)
}
