//! One attempt to lay out a filesystem in a given number of blocks.
//!
//! ```text
//!   bitmap below the cut, metadata of the groups that are left
//!     -> room for the pieces above the cut -> new trees for split files
//!     -> new inode numbers -> directories that name them
//!     -> descriptors, superblock
//! ```

use std::collections::BTreeMap;

use cardkeep_block::ReadAt;
use cardkeep_ext4::{BLOCK_UNINIT, INODE_UNINIT, Sealer, Superblock, feature};

use super::bits::Bits;
use super::descriptors::Descriptors;
use super::directories::directory_blocks;
use super::file_map::MapReader;
use super::geometry::{metadata, resized, whole_clusters};
use super::header::Header;
use super::inode_record::read_record;
use super::layout::{Area, Layout, Region, overhead};
use super::numbers::Numbers;
use super::rebuild::{Builder, Failure, Node, Tree};
use super::relocation::{Gaps, Placement, Relocations, place};
use super::rewrite::Rewriter;
use super::tally::{Census, Referrer};
use crate::declined::Declined;
use crate::inconsistent::{InconsistentKind, Lost};
use crate::unsupported::UnsupportedKind;

/// How an attempt ended that did not succeed.
pub(crate) enum Outcome {
    Declined(Declined),
    /// So many blocks are missing.
    Missing(u64),
    /// There must be so many inodes, or else it is declined.
    Inodes(u64),
    /// A file would be split that must not be: with more room, perhaps none would.
    Split(Declined),
}

impl From<Declined> for Outcome {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}

/// What an attempt starts from.
pub(crate) struct Attempt<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) old: &'a Superblock,
    pub(crate) header: &'a Header,
    pub(crate) descriptors: &'a Descriptors,
    pub(crate) census: &'a Census,
    pub(crate) block_count: u64,
}

/// New trees and what they take.
struct Trees {
    trees: BTreeMap<u32, Tree>,
    nodes: Vec<Node>,
    taken: Vec<u64>,
    freed: Vec<u64>,
}

impl<M: ReadAt> Attempt<'_, M> {
    fn reader(&self) -> MapReader<'_, M> {
        MapReader {
            medium: self.medium,
            superblock: self.old,
            sealer: Sealer::new(self.old),
        }
    }

    /// Lays the filesystem out.
    pub(crate) fn layout(&self) -> Result<Layout, Outcome> {
        let new = resized(self.old, self.block_count);
        let mut blocks = self.kept_blocks(&new);
        let mut gaps = Gaps::new(&blocks);
        let Placement { runs, split } =
            place(&self.census.pieces, self.block_count, &mut gaps).map_err(Outcome::Missing)?;
        let moves = Relocations::new(self.block_count, runs);
        let trees = self.trees(split.into_iter(), &moves, &mut gaps)?;
        for run in moves.runs() {
            blocks.insert_range(run.new, run.count);
        }
        for &block in &trees.taken {
            blocks.insert_range(block, u64::from(new.cluster_blocks));
        }
        for &block in &trees.freed {
            let (start, count) = whole_clusters(&new, (block, 1));
            (start..start + count).for_each(|block| blocks.remove(block));
        }
        let numbers = self.numbers(&new)?;
        let regions = self.regions(&new, &moves, &numbers, &trees)?;
        let mut layout = Layout {
            sealer: Sealer::new(&new),
            header: self.header.clone(),
            old: self.old.clone(),
            old_descriptors: self.descriptors.clone(),
            descriptors: self.descriptors.clone(),
            inodes: self.inodes(&new, &numbers),
            new,
            blocks,
            moves,
            numbers,
            orphans: self.census.orphans.clone(),
            trees: trees.trees,
            nodes: trees.nodes,
            regions,
        };
        self.describe_groups(&mut layout)?;
        self.describe(&mut layout)?;
        Ok(layout)
    }

    /// Returns what is in use below the cut before anything is moved there.
    fn kept_blocks(&self, new: &Superblock) -> Bits {
        let first = u64::from(new.first_data_block);
        let mut blocks = Bits::new(first, new.block_count);
        for (start, end) in self.census.blocks.ranges(first, new.block_count, true) {
            blocks.insert_range(start, end - start);
        }
        for (start, count) in metadata(new, self.descriptors) {
            blocks.insert_range(start, count);
        }
        blocks
    }

    fn trees(
        &self,
        split: impl Iterator<Item = u32>,
        moves: &Relocations,
        gaps: &mut Gaps,
    ) -> Result<Trees, Outcome> {
        let reader = self.reader();
        let mut builder = Builder {
            reader: &reader,
            moves,
            gaps,
            nodes: Vec::new(),
            taken: Vec::new(),
            freed: Vec::new(),
            bytes: 0,
        };
        let mut trees = BTreeMap::new();
        for number in split {
            let record = read_record(&reader, self.descriptors, number)?;
            let tree = builder
                .build(number, &record)
                .map_err(|failure| match failure {
                    Failure::Declined(declined) => Outcome::Declined(declined),
                    Failure::Full => Outcome::Missing(1),
                })?;
            if tree.blocks_added != 0 && self.header.has_quota(number) {
                return Err(Outcome::Split(UnsupportedKind::QuotaOfSplitFile.into()));
            }
            trees.insert(number, tree);
        }
        Ok(Trees {
            trees,
            nodes: builder.nodes,
            taken: builder.taken,
            freed: builder.freed,
        })
    }

    fn numbers(&self, new: &Superblock) -> Result<Numbers, Outcome> {
        let (first, end) = (self.header.first_inode(), new.inode_count.saturating_add(1));
        let in_use = self.census.inodes.count(1, u64::MAX);
        let numbers =
            Numbers::assign(&self.census.inodes, first, end).ok_or(Outcome::Inodes(in_use + 1))?;
        match numbers.pairs().last() {
            Some(&(last, _)) if self.header.must_keep_numbers(self.old) => {
                Err(Outcome::Inodes(u64::from(last)))
            }
            _ => Ok(numbers),
        }
    }

    /// Returns everything that the view has to compute, by place.
    fn regions(
        &self,
        new: &Superblock,
        moves: &Relocations,
        numbers: &Numbers,
        trees: &Trees,
    ) -> Result<Vec<Region>, Outcome> {
        let mut regions = Layout::group_regions(new, self.descriptors);
        let mut references = self.census.references.clone();
        if numbers.count() > 0 {
            let reader = self.reader();
            references.extend(directory_blocks(
                &reader,
                self.descriptors,
                self.census,
                numbers,
            )?);
        }
        for reference in references {
            let is_node = matches!(reference.kind, Referrer::ExtentNode);
            if is_node && trees.trees.contains_key(&reference.owner.number) {
                continue;
            }
            let (start, _) = moves
                .new_place(reference.block)
                .ok_or_else(|| Declined::from(InconsistentKind::Lost(Lost::Referrer)))?;
            regions.push(Region {
                start,
                count: 1,
                area: Area::Referrer(reference.kind, reference.owner),
            });
        }
        let nodes = trees.nodes.iter().enumerate().map(|(index, node)| Region {
            start: node.block,
            count: 1,
            area: Area::Node(index),
        });
        regions.extend(nodes);
        regions.sort_unstable_by_key(|region| region.start);
        let overlaps = |pair: &[Region]| pair[0].start + pair[0].count > pair[1].start;
        if regions.windows(2).any(overlaps) {
            return Err(Declined::from(InconsistentKind::Overlap).into());
        }
        Ok(regions)
    }

    fn inodes(&self, new: &Superblock, numbers: &Numbers) -> Bits {
        let end = u64::from(new.inode_count) + 1;
        let mut inodes = Bits::new(1, end);
        for (start, stop) in self.census.inodes.ranges(1, end, true) {
            inodes.insert_range(start, stop - start);
        }
        for &(_, number) in numbers.pairs() {
            inodes.insert(u64::from(number));
        }
        inodes
    }

    /// Writes the descriptors of the groups that are left.
    fn describe_groups(&self, layout: &mut Layout) -> Result<(), Declined> {
        let new = &layout.new;
        let per_group = u64::from(new.inodes_per_group);
        let block_bytes = new.block_bytes as usize;
        let cluster = u64::from(new.cluster_blocks);
        let mut directories = Bits::new(1, u64::from(new.inode_count) + 1);
        for (start, end) in self.census.directories.ranges(1, directories.end(), true) {
            directories.insert_range(start, end - start);
        }
        for &(old, number) in layout.numbers.pairs() {
            if self.census.directories.get(u64::from(old)) {
                directories.insert(u64::from(number));
            }
        }
        let descriptors = &mut layout.descriptors;
        descriptors.truncate(new.group_count());
        for group in 0..new.group_count() {
            let (first, count) = (new.group_first_block(group), new.group_block_count(group));
            let first_inode = group * per_group + 1;
            let clusters = (count - layout.blocks.count(first, count)) / cluster;
            let inodes = per_group - layout.inodes.count(first_inode, per_group);
            let folders = directories.count(first_inode, per_group);
            descriptors.put_counts(group, clusters as u32, inodes as u32, folders as u32)?;
            descriptors.clear_flags(group, BLOCK_UNINIT)?;
            let used = descriptors.used_inodes(group, new.inodes_per_group);
            let last = (0..per_group)
                .rev()
                .find(|index| layout.inodes.get(first_inode + index));
            let used = last.map_or(0, |last| last as u32 + 1).max(used);
            if used > 0 {
                descriptors.clear_flags(group, INODE_UNINIT)?;
                descriptors.put_used_inodes(group, used, new.inodes_per_group)?;
            }
            let bitmap = layout.blocks.bitmap(first, count, cluster, block_bytes);
            let has_inode_bitmap = descriptors.flags(group) & INODE_UNINIT == 0;
            let mut record = descriptors.one_mut(group)?;
            layout.sealer.block_bitmap(&bitmap, &mut record);
            if has_inode_bitmap {
                let bitmap = layout.inodes.bitmap(first_inode, per_group, 1, block_bytes);
                layout.sealer.inode_bitmap(&bitmap, &mut record);
            }
            layout.sealer.descriptor(group as u32, &mut record);
        }
        Ok(())
    }

    /// Writes the superblock.
    fn describe(&self, layout: &mut Layout) -> Result<(), Outcome> {
        let (old, new) = (self.old, &layout.new);
        let before = self.header.overhead();
        let overhead = overhead(old, new.block_count, self.descriptors, before);
        let header = &mut layout.header;
        header.put_size(old, new, overhead)?;
        let first = u64::from(new.first_data_block);
        let in_use = layout.blocks.count(first, new.block_count);
        let inodes = layout.inodes.count(1, u64::from(new.inode_count));
        let free_inodes = u64::from(new.inode_count) - inodes;
        header.put_free(new.block_count - first - in_use, free_inodes as u32)?;
        let record = header.record_mut();
        record.renumber_inodes(|number| layout.numbers.new_of(number));
        let mmp = header.mmp_block();
        if mmp != 0 {
            let (place, _) = layout
                .moves
                .new_place(mmp)
                .ok_or_else(|| Declined::from(InconsistentKind::Lost(Lost::Mmp)))?;
            header.record_mut().set_mmp_block(place);
        }
        if old.has_compat(feature::COMPAT_HAS_JOURNAL) {
            let mut record = read_record(&self.reader(), self.descriptors, old.journal_inode)?;
            let rewriter = Rewriter { layout };
            rewriter
                .record(old.journal_inode, &mut record)
                .map_err(Declined::from)?;
            layout.header.put_journal_map(&record.block_field());
        }
        layout.sealer.superblock(layout.header.record_mut());
        Ok(())
    }
}
