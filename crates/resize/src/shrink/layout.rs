//! The smaller filesystem as data: everything that the view needs to compute its blocks.

use std::collections::BTreeMap;

use cardkeep_ext4::{BlockOwner, Sealer, Superblock};

use super::bits::Bits;
use super::descriptors::Descriptors;
use super::geometry::{metadata_block_count, metadata_of, resized};
use super::header::Header;
use super::numbers::Numbers;
use super::orphans::Orphans;
use super::rebuild::{Node, Tree};
use super::relocation::Relocations;
use super::tally::Referrer;

/// What a range of blocks holds whose content is not what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// A superblock, the descriptors, and room for more of those: the group's beginning.
    Copies(u64),
    BlockBitmap(u64),
    InodeBitmap(u64),
    InodeTable(u64),
    /// A block of a file that refers to others. The owner has its old number.
    Referrer(Referrer, BlockOwner),
    /// A block of a tree that was built anew: its index.
    Node(usize),
}

/// A range of blocks, where they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) count: u64,
    pub(crate) area: Area,
}

/// The smaller filesystem.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) old: Superblock,
    pub(crate) new: Superblock,
    pub(crate) sealer: Sealer,
    pub(crate) header: Header,
    pub(crate) old_descriptors: Descriptors,
    pub(crate) descriptors: Descriptors,
    /// Blocks in use, all of them.
    pub(crate) blocks: Bits,
    /// Inodes in use, by their new numbers.
    pub(crate) inodes: Bits,
    pub(crate) moves: Relocations,
    pub(crate) numbers: Numbers,
    /// Inodes that wait to be cleaned up, by their old numbers.
    pub(crate) orphans: Orphans,
    /// New trees, by the old number of their inode.
    pub(crate) trees: BTreeMap<u32, Tree>,
    pub(crate) nodes: Vec<Node>,
    /// By where they start; they don't overlap.
    pub(crate) regions: Vec<Region>,
}

impl Layout {
    /// Returns the size of a block, in bytes.
    pub(crate) fn block_bytes(&self) -> u64 {
        u64::from(self.new.block_bytes)
    }

    /// Returns the length of the filesystem, in bytes: less than the old one's, which fitted.
    pub(crate) const fn len(&self) -> u64 {
        self.new
            .block_count
            .saturating_mul(self.new.block_bytes as u64)
    }

    /// Returns the regions that touch the blocks `start..end`, in order.
    pub(crate) fn regions_in(&self, start: u64, end: u64) -> &[Region] {
        let from = self
            .regions
            .partition_point(|region| region.start + region.count <= start);
        let rest = self.regions.get(from..).unwrap_or(&[]);
        &rest[..rest.partition_point(|region| region.start < end)]
    }

    /// Returns the region of each group's fixed metadata.
    pub(crate) fn group_regions(new: &Superblock, descriptors: &Descriptors) -> Vec<Region> {
        let mut regions = Vec::new();
        for group in 0..new.group_count() {
            let areas = [
                Area::Copies(group),
                Area::BlockBitmap(group),
                Area::InodeBitmap(group),
                Area::InodeTable(group),
            ];
            let ranges = metadata_of(new, descriptors, group);
            for ((start, count), area) in ranges.into_iter().zip(areas) {
                if count > 0 {
                    regions.push(Region { start, count, area });
                }
            }
        }
        regions
    }
}

/// Returns what a filesystem of `block_count` blocks says it spends on itself, in clusters: what it
/// said before, less what goes. 0, "count it yourself" to the kernel, where it never said.
pub(crate) fn overhead(
    old: &Superblock,
    block_count: u64,
    descriptors: &Descriptors,
    before: u32,
) -> u32 {
    let after = metadata_block_count(&resized(old, block_count), descriptors);
    let saved = metadata_block_count(old, descriptors).saturating_sub(after);
    let saved = saved / u64::from(old.cluster_blocks);
    u32::try_from(u64::from(before).saturating_sub(saved)).unwrap_or(0)
}
