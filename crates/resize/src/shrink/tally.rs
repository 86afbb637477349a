//! What the census counts: claims of blocks, pieces above the cut, blocks that refer to others.

use cardkeep_ext4::{BlockOwner, FileMap, Mapping, Superblock};

use super::bits::Bits;
use super::file_map::clusters;
use super::geometry::whole_clusters;
use super::orphans::Orphans;
use crate::declined::Declined;
use crate::inconsistent::{Claimant, InconsistentKind};
use crate::unsupported::UnsupportedKind;

/// Pieces to be moved, and blocks that refer to them: bounds memory to some 50 MB.
const PIECES_MAX: usize = 1 << 20;

/// A range of blocks, whole clusters of them, that reaches above the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) block: u64,
    pub(crate) count: u32,
    /// The inode whose extent it is (or extents, where they share clusters), where it should be
    /// kept in one piece; else 0.
    pub(crate) number: u32,
}

/// What a block whose content depends on places or numbers holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Referrer {
    ExtentNode,
    /// Of any level: all are lists of block numbers.
    BlockMap,
    /// The one block of the resize inode itself.
    ResizeMap,
    Directory,
    Xattr,
    Orphans,
}

/// A block whose content has to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) block: u64,
    pub(crate) kind: Referrer,
    pub(crate) owner: BlockOwner,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Census {
    /// Blocks that are not fixed metadata, whole clusters of them.
    pub(crate) blocks: Bits,
    /// Inodes in use, the reserved ones included.
    pub(crate) inodes: Bits,
    pub(crate) directories: Bits,
    /// Those of them that wait to be cleaned up.
    pub(crate) orphans: Orphans,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) references: Vec<Reference>,
}

/// What the census looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Blocks from here on are to be moved.
    pub(crate) block: u64,
    /// Inodes from here on are to be renumbered.
    pub(crate) inode: u32,
}

/// What was counted so far.
pub(super) struct Tally<'a> {
    superblock: &'a Superblock,
    pub(super) cut: Cut,
    /// Attribute blocks, which several inodes may share.
    pub(super) xattrs: Bits,
    pub(super) census: Census,
}

impl<'a> Tally<'a> {
    pub(super) fn new(superblock: &'a Superblock, cut: Cut) -> Self {
        let first = u64::from(superblock.first_data_block);
        let blocks = || Bits::new(first, superblock.block_count);
        let numbers = || Bits::new(1, u64::from(superblock.inode_count) + 1);
        Self {
            superblock,
            cut,
            xattrs: blocks(),
            census: Census {
                blocks: blocks(),
                inodes: numbers(),
                directories: numbers(),
                orphans: Orphans::default(),
                pieces: Vec::new(),
                references: Vec::new(),
            },
        }
    }

    /// Notes that a range has an owner, and with it the rest of its clusters.
    pub(super) fn claim(
        &mut self,
        block: u64,
        count: u64,
        owner: Claimant,
    ) -> Result<(), Declined> {
        let (start, count) = whole_clusters(self.superblock, (block, count));
        if self.census.blocks.insert_range(start, count) {
            return Ok(());
        }
        Err(InconsistentKind::TwoOwners { owner, block }.into())
    }

    /// Notes a range that may have to be moved, and with it the rest of its clusters.
    pub(super) fn piece(&mut self, block: u64, count: u64, number: u32) -> Result<(), Declined> {
        let (block, count) = whole_clusters(self.superblock, (block, count));
        if block + count <= self.cut.block {
            return Ok(());
        }
        // Block maps have ranges of any length, and their blocks can be parted.
        let step = match number {
            0 => (1 << 15).max(u64::from(self.superblock.cluster_blocks)),
            _ => count,
        };
        let pieces = &mut self.census.pieces;
        let mut start = block;
        while start < block + count {
            let count = u32::try_from(step.min(block + count - start))
                .map_err(|_| UnsupportedKind::SharedClusters)?;
            if pieces.len() >= PIECES_MAX {
                return Err(UnsupportedKind::Pieces.into());
            }
            pieces.push(Piece {
                block: start,
                count,
                number,
            });
            start += u64::from(count);
        }
        Ok(())
    }

    pub(super) fn reference(
        &mut self,
        block: u64,
        kind: Referrer,
        owner: BlockOwner,
    ) -> Result<(), Declined> {
        if self.census.references.len() >= PIECES_MAX {
            return Err(UnsupportedKind::EditedBlocks.into());
        }
        self.census
            .references
            .push(Reference { block, kind, owner });
        Ok(())
    }

    pub(super) fn file(&mut self, owner: BlockOwner, map: &FileMap) -> Result<(), Declined> {
        let claimant = Claimant::Inode(owner.number);
        let is_extents = map.mapping == Mapping::Extents;
        let number = if is_extents { owner.number } else { 0 };
        let cluster = u64::from(self.superblock.cluster_blocks);
        let ranges = clusters(map, cluster).ok_or(InconsistentKind::Askew(claimant))?;
        for (start, count) in ranges {
            self.claim(start, count, claimant)?;
            self.piece(start, count, number)?;
        }
        let is_renumbered = is_extents && owner.number >= self.cut.inode;
        for tree in &map.tree {
            self.claim(tree.block, 1, claimant)?;
            self.piece(tree.block, 1, 0)?;
            if tree.refers_to > self.cut.block || is_renumbered {
                let kind = if is_extents {
                    Referrer::ExtentNode
                } else {
                    Referrer::BlockMap
                };
                self.reference(tree.block, kind, owner)?;
            }
        }
        Ok(())
    }

    /// The orphan file's blocks are sealed with their places, and name inodes.
    pub(super) fn orphan_file(
        &mut self,
        owner: BlockOwner,
        map: &FileMap,
        names_inodes: bool,
    ) -> Result<(), Declined> {
        for extent in &map.extents {
            for block in extent.physical..extent.physical + extent.count {
                if block >= self.cut.block || owner.number >= self.cut.inode || names_inodes {
                    self.reference(block, Referrer::Orphans, owner)?;
                }
            }
        }
        Ok(())
    }
}
