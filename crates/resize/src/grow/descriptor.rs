//! Group descriptors to be changed (kernel doc, "Block Group Descriptors").

use cardkeep_ext4::{BLOCK_UNINIT, DescriptorRecord, Superblock};

use super::edits::Edits;
use super::target::Target;
use crate::declined::Declined;
use crate::unsupported::UnsupportedKind;

/// One descriptor.
pub(super) type Descriptor = DescriptorRecord<Vec<u8>>;

/// Returns an empty one.
pub(super) fn empty(superblock: &Superblock) -> Result<Descriptor, Declined> {
    let bytes = vec![0; usize::from(superblock.descriptor_bytes)];
    DescriptorRecord::new(bytes).map_err(Declined::from_content)
}

/// Reads that of a group, as changed so far.
pub(super) fn load(
    target: &Target,
    number: u64,
    edits: &Edits<'_>,
) -> Result<Descriptor, Declined> {
    let (block, within) = place(&target.new, number);
    let size = usize::from(target.new.descriptor_bytes);
    let block = edits.block(block)?;
    let bytes = block.get(within..within + size).unwrap_or_default();
    DescriptorRecord::new(bytes.to_vec()).map_err(Declined::from_content)
}

/// Seals one and puts it into its block.
pub(super) fn store(
    mut descriptor: Descriptor,
    target: &Target,
    number: u64,
    edits: &mut Edits<'_>,
) -> Result<(), Declined> {
    // Group numbers were checked to be few.
    target.sealer.descriptor(number as u32, &mut descriptor);
    let (block, within) = place(&target.new, number);
    let block = edits.block_mut(block)?;
    // Blocks hold whole descriptors: its place is within.
    block[within..within + descriptor.bytes().len()].copy_from_slice(descriptor.bytes());
    Ok(())
}

/// Tells whether the block bitmap of the group is written.
pub(super) fn has_block_bitmap(descriptor: &Descriptor, superblock: &Superblock) -> bool {
    !superblock.has_group_checksums() || descriptor.flags() & BLOCK_UNINIT == 0
}

/// Places block bitmap, inode bitmap and inode table next to each other from `first` on.
pub(super) fn put_places(descriptor: &mut Descriptor, first: u64) -> Result<(), Declined> {
    descriptor
        .set_block_bitmap(first)
        .and_then(|()| descriptor.set_inode_bitmap(first.saturating_add(1)))
        .and_then(|()| descriptor.set_inode_table(first.saturating_add(2)))
        .map_err(Declined::from_content)
}

/// Sets the number of free clusters.
pub(super) fn put_free_clusters(descriptor: &mut Descriptor, count: u64) -> Result<(), Declined> {
    // More than 32 bits are more than any descriptor has room for.
    let count = u32::try_from(count).map_err(|_| UnsupportedKind::DescriptorTooShort)?;
    let put = descriptor.set_free_clusters(count);
    put.map_err(Declined::from_content)
}

/// Returns the block that holds a descriptor, and where within it.
fn place(superblock: &Superblock, number: u64) -> (u64, usize) {
    let per_block = superblock.descriptors_per_block();
    let within = number % per_block * u64::from(superblock.descriptor_bytes);
    // OK to cast: less than a block.
    (
        superblock.descriptor_block(number / per_block),
        within as usize,
    )
}
