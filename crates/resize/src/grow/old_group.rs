//! Changes to groups that were there before: the last one is filled up, and a block may be set
//! free.

use super::bitmap::{Bit, put_bits};
use super::descriptor;
use super::edits::Edits;
use super::target::Target;
use crate::declined::Declined;

/// Lets the last old group have all the blocks that it can have now.
pub(super) fn extend_last(target: &Target, edits: &mut Edits<'_>) -> Result<(), Declined> {
    let number = target.old.group_count() - 1;
    let (before, after) = target.cluster_counts(number);
    if before == after {
        return Ok(());
    }
    let added = Range {
        start: before,
        end: after,
    };
    set_free(target, number, added, edits)
}

/// Sets a block free that belonged to nothing but the caller. For filesystems without clusters.
pub(super) fn free_block(
    target: &Target,
    block: u64,
    edits: &mut Edits<'_>,
) -> Result<(), Declined> {
    let first = u64::from(target.old.first_data_block);
    let within = block.saturating_sub(first);
    let per_group = u64::from(target.old.blocks_per_group);
    let bit = within % per_group;
    let freed = Range {
        start: bit,
        end: bit + 1,
    };
    set_free(target, within / per_group, freed, edits)
}

/// Clusters of one group.
struct Range {
    start: u64,
    end: u64,
}

/// A bitmap that is not written says by itself that they are free.
fn set_free(
    target: &Target,
    number: u64,
    range: Range,
    edits: &mut Edits<'_>,
) -> Result<(), Declined> {
    let mut own = descriptor::load(target, number, edits)?;
    let free = u64::from(own.free_clusters()) + (range.end - range.start);
    descriptor::put_free_clusters(&mut own, free)?;
    if descriptor::has_block_bitmap(&own, &target.old) {
        let bitmap = edits.block_mut(own.block_bitmap())?;
        put_bits(bitmap, range.start, range.end, Bit::Free);
        target.sealer.block_bitmap(bitmap, &mut own);
    }
    descriptor::store(own, target, number, edits)
}
