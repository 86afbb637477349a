//! Block groups: what their descriptors say, as far as it can be believed.

use cardkeep_block::ReadAt;

use crate::copies::DescriptorBlock;
use crate::error::{CorruptKind, Error};
use crate::record::{BLOCK_UNINIT, DescriptorRecord, INODE_UNINIT, INODE_ZEROED};
use crate::seal::Sealer;
use crate::superblock::{Superblock, feature};

/// One block group's descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    /// In clusters.
    pub(crate) free_cluster_count: u32,
    itable_unused: u32,
    flags: u16,
    /// Low 16 bits only where the descriptor is short.
    block_bitmap_checksum: u32,
    inode_bitmap_checksum: u32,
    is_trusted: bool,
}

impl Group {
    fn parse(superblock: &Superblock, number: u64, bytes: &[u8]) -> Result<Self, Error> {
        let record = DescriptorRecord::new(bytes)?;
        let has_flags = superblock.has_group_checksums();
        Ok(Self {
            block_bitmap: record.block_bitmap(),
            inode_bitmap: record.inode_bitmap(),
            inode_table: record.inode_table(),
            free_cluster_count: record.free_clusters(),
            itable_unused: if has_flags { record.unused_inodes() } else { 0 },
            flags: if has_flags { record.flags() } else { 0 },
            block_bitmap_checksum: record.block_bitmap_checksum(),
            inode_bitmap_checksum: record.inode_bitmap_checksum(),
            is_trusted: Sealer::new(superblock)
                .descriptor_sum(number as u32, &record)
                .is_none_or(|sum| sum == record.checksum()),
        })
    }

    /// Returns what a copy of the descriptor is good for: where things lie. Its flags and counts
    /// are those of long ago, and its checksum is none of today's content.
    const fn placed(mut self) -> Self {
        self.flags = 0;
        self.itable_unused = 0;
        self.is_trusted = false;
        self
    }

    /// Tells whether the descriptor's checksum is right (or there is none).
    pub(crate) const fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Tells whether the block bitmap is the one that the layout implies.
    pub(crate) const fn is_bitmap_implied(&self) -> bool {
        self.flags & BLOCK_UNINIT != 0
    }

    /// Tells whether the unused part of the inode table was zeroed.
    pub(crate) const fn is_inode_table_zeroed(&self) -> bool {
        self.flags & INODE_ZEROED != 0
    }

    /// Tells whether no inode of the group is in use, and its inode bitmap is not written.
    pub(crate) const fn has_no_inodes(&self) -> bool {
        self.flags & INODE_UNINIT != 0
    }

    /// Returns how many inodes at the beginning of the table may be in use.
    pub(crate) fn used_inode_count(&self, superblock: &Superblock) -> u32 {
        if self.has_no_inodes() {
            return 0;
        }
        let all = superblock.inodes_per_group;
        // More unused inodes than there are: nonsense, not an empty table.
        all.checked_sub(self.itable_unused).unwrap_or(all)
    }

    /// Tells whether the block bitmap has the checksum that the descriptor states (or none is
    /// stated).
    pub(crate) fn is_block_bitmap_sound(&self, superblock: &Superblock, bitmap: &[u8]) -> bool {
        let bits = superblock.clusters_per_group;
        is_bitmap_sound(superblock, bitmap, bits, self.block_bitmap_checksum)
    }

    /// As [`Self::is_block_bitmap_sound`], for the inode bitmap.
    pub(crate) fn is_inode_bitmap_sound(&self, superblock: &Superblock, bitmap: &[u8]) -> bool {
        let bits = superblock.inodes_per_group;
        is_bitmap_sound(superblock, bitmap, bits, self.inode_bitmap_checksum)
    }
}

fn is_bitmap_sound(superblock: &Superblock, bitmap: &[u8], bits: u32, stated: u32) -> bool {
    if !superblock.has_ro_compat(feature::RO_COMPAT_METADATA_CSUM) {
        return true;
    }
    let covered = bitmap.get(..(bits / 8) as usize).unwrap_or(bitmap);
    let sum = Sealer::new(superblock).bitmap_sum(covered);
    // A short descriptor has room for the low half.
    let mask = if superblock.descriptor_bytes >= 64 {
        !0
    } else {
        0xFFFF
    };
    sum & mask == stated & mask
}

/// Reads all group descriptors; every block that they name lies within the filesystem. Of those
/// that can't be read, copies say where things lie: see [`Group::placed`].
pub(crate) fn load_groups(
    medium: &impl ReadAt,
    superblock: &Superblock,
) -> Result<Vec<Group>, Error> {
    let per_block = superblock.descriptors_per_block();
    let count = superblock.group_count();
    let size = usize::from(superblock.descriptor_bytes);
    let mut groups = Vec::new();
    for index in 0..count.div_ceil(per_block) {
        let block = DescriptorBlock::load(medium, superblock, index)?;
        for (position, bytes) in block.bytes.chunks_exact(size).enumerate() {
            let number = groups.len() as u64;
            if number == count {
                break;
            }
            let mut group = Group::parse(superblock, number, bytes)?;
            let start = position.saturating_mul(size);
            if block.is_copied(start..start.saturating_add(size)) {
                group = group.placed();
            }
            check_places(superblock, number, &group)?;
            groups.push(group);
        }
    }
    Ok(groups)
}

fn check_places(superblock: &Superblock, number: u64, group: &Group) -> Result<(), Error> {
    let table_end = group
        .inode_table
        .checked_add(superblock.inode_table_block_count());
    let first = u64::from(superblock.first_data_block);
    let inside = |block: u64| block > first && block < superblock.block_count;
    if inside(group.block_bitmap)
        && inside(group.inode_bitmap)
        && inside(group.inode_table)
        && table_end.is_some_and(|end| end <= superblock.block_count)
    {
        return Ok(());
    }
    Err(CorruptKind::GroupPlaces(number).into())
}
