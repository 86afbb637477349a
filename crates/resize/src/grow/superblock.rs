//! The superblock's new counts, and all copies of superblock and descriptors.

use cardkeep_ext4::{
    DescriptorRecord, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock, SuperblockRecord, feature,
};

use super::edits::Edits;
use super::target::Target;
use crate::declined::Declined;

/// `s_state`: cleanly unmounted. Copies never say so (`ext2fs_flush2`).
const STATE_VALID: u16 = 1;

/// Changes superblock and copies. Comes last: it counts what the descriptors say.
pub(super) fn update(target: &Target, edits: &mut Edits<'_>) -> Result<(), Declined> {
    let bytes = u64::from(target.new.block_bytes);
    // OK to cast: less than a block of 64 KiB.
    let within = (SUPERBLOCK_OFFSET % bytes) as usize;
    let place = SUPERBLOCK_OFFSET / bytes;
    let bytes = edits.block(place)?[within..within + SUPERBLOCK_BYTES].to_vec();
    let mut record = SuperblockRecord::new(bytes)?;
    put_counts(target, edits, &mut record)?;
    put_layout(&target.new, &mut record);
    put_record(target, edits, place, within, &record)?;
    record.set_state(record.state() & !STATE_VALID);
    for group in copy_groups(&target.new) {
        // OK to cast: copies lie where 16 bits reach, or say what fits.
        record.set_block_group_nr(group as u16);
        put_record(
            target,
            edits,
            target.new.group_first_block(group),
            0,
            &record,
        )?;
    }
    copy_descriptors(target, edits)
}

fn put_record(
    target: &Target,
    edits: &mut Edits<'_>,
    place: u64,
    within: usize,
    record: &SuperblockRecord<Vec<u8>>,
) -> Result<(), Declined> {
    let mut sealed = record.clone();
    target.sealer.superblock(&mut sealed);
    let block = edits.block_mut(place)?;
    // Blocks are of 1 KiB at the least, and one of 1 KiB begins with it.
    block[within..within + SUPERBLOCK_BYTES].copy_from_slice(sealed.bytes());
    Ok(())
}

/// Returns the groups that hold copies of the superblock.
pub(super) fn copy_groups(superblock: &Superblock) -> Vec<u64> {
    (1..superblock.group_count())
        .filter(|&group| superblock.has_superblock(group))
        .collect()
}

/// What all descriptors say together.
#[derive(Default)]
struct Counted {
    free_clusters: u64,
    free_inodes: u64,
    /// Clusters that the new groups' metadata takes.
    added_overhead: u64,
}

impl Counted {
    fn of(target: &Target, edits: &Edits<'_>) -> Result<Self, Declined> {
        let new = &target.new;
        let mut counted = Self::default();
        let mut groups = 0..new.group_count();
        for index in 0..new.descriptor_block_count() {
            let block = edits.block(new.descriptor_block(index))?;
            let records = block.chunks_exact(usize::from(new.descriptor_bytes));
            for (record, group) in records.zip(&mut groups) {
                let descriptor = DescriptorRecord::new(record)?;
                let free = u64::from(descriptor.free_clusters());
                counted.free_clusters += free;
                counted.free_inodes += u64::from(descriptor.free_inodes());
                if group >= target.old.group_count() {
                    let (_, all) = target.cluster_counts(group);
                    counted.added_overhead += all.saturating_sub(free);
                }
            }
        }
        Ok(counted)
    }
}

/// Free blocks and inodes are counted anew, as the kernel does when it mounts.
fn put_counts(
    target: &Target,
    edits: &Edits<'_>,
    record: &mut SuperblockRecord<Vec<u8>>,
) -> Result<(), Declined> {
    let (old, new) = (&target.old, &target.new);
    let counted = Counted::of(target, edits)?;
    let free = counted
        .free_clusters
        .saturating_mul(u64::from(new.cluster_blocks));
    let reserved = u128::from(record.reserved_blocks_count()) * u128::from(new.block_count);
    let reserved = reserved / u128::from(old.block_count);
    // Root's part can't be more than all.
    let reserved = u64::try_from(reserved).unwrap_or(0).min(new.block_count);
    record
        .set_blocks_count(new.block_count)
        .and_then(|()| record.set_reserved_blocks_count(reserved))
        .and_then(|()| record.set_free_blocks_count(free))
        .map_err(Declined::from_content)?;
    record.set_inodes_count(new.inode_count);
    record.set_free_inodes_count(u32::try_from(counted.free_inodes).unwrap_or(u32::MAX));
    // s_overhead_clusters: 0 lets the kernel count for itself.
    let overhead = u64::from(record.overhead_clusters());
    let sum = u32::try_from(overhead + counted.added_overhead).unwrap_or(0);
    record.set_overhead_clusters(if overhead == 0 { 0 } else { sum });
    Ok(())
}

/// Says where descriptors are.
fn put_layout(new: &Superblock, record: &mut SuperblockRecord<Vec<u8>>) {
    record.set_feature_compat(new.compat);
    record.set_feature_incompat(new.incompat);
    record.set_reserved_gdt_blocks(new.reserved_gdt_blocks);
    record.set_first_meta_bg(new.first_meta_bg);
}

/// Copies descriptor blocks that changed into the old groups, and all of them into new ones.
fn copy_descriptors(target: &Target, edits: &mut Edits<'_>) -> Result<(), Declined> {
    let new = &target.new;
    let per_block = new.descriptors_per_block();
    let groups = copy_groups(new);
    for index in 0..new.group_count().div_ceil(per_block) {
        let place = new.descriptor_block(index);
        let is_changed = edits.has(place);
        let block = edits.block(place)?;
        for (group, copy) in copies(new, index, &groups) {
            if is_changed || group >= target.old.group_count() {
                edits.put(copy, block.clone())?;
            }
        }
    }
    Ok(())
}

/// Returns the groups that hold a copy of descriptor block `index`, and the copies' places.
fn copies(new: &Superblock, index: u64, groups: &[u64]) -> Vec<(u64, u64)> {
    let is_meta = |index: u64| {
        new.has_incompat(feature::INCOMPAT_META_BG) && index >= u64::from(new.first_meta_bg)
    };
    if !is_meta(index) {
        // Groups whose own descriptors lie in meta block groups keep copies of no others.
        let has_copy = |group: &&u64| !is_meta(**group / new.descriptors_per_block());
        let copy = |&group: &u64| (group, new.group_first_block(group) + 1 + index);
        return groups.iter().filter(has_copy).map(copy).collect();
    }
    // The second and the last group of a meta block group.
    let per_block = new.descriptors_per_block();
    let first = index * per_block;
    [first + 1, first + per_block - 1]
        .into_iter()
        .filter(|&group| group < new.group_count())
        .map(|group| {
            let skipped = u64::from(new.has_superblock(group));
            (group, new.group_first_block(group) + skipped)
        })
        .collect()
}
