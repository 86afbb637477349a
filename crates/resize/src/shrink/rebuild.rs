//! Extent trees of files whose extents were split: built anew, as dense as can be.
//!
//! ```text
//!   inode: root, 4 entries -> [index blocks ->] leaves, full but for the last
//! ```
//!
//! The file's own tree blocks are taken first; only then new ones.

use cardkeep_block::ReadAt;
use cardkeep_ext4::{
    BLOCK_FIELD_BYTES, BlockOwner, EXTENT_ENTRY_BYTES, ExtentNode, FileExtent, FileMap,
    InodeRecord, Superblock, WRITTEN_LEN_MAX, feature,
};

use super::file_map::MapReader;
use super::relocation::{Gaps, Relocations};
use crate::declined::Declined;
use crate::inconsistent::{InconsistentKind, Lost};
use crate::unsupported::UnsupportedKind;

/// Entries in the root, behind its header.
const ROOT_ENTRIES: usize = BLOCK_FIELD_BYTES / EXTENT_ENTRY_BYTES - 1;
/// What all trees that are built anew may take, in bytes.
const NODES_BYTES_MAX: usize = 24 << 20;

/// The new tree of one file.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// What goes into `i_block`.
    pub(crate) root: [u8; BLOCK_FIELD_BYTES],
    /// How many more tree blocks it has than before.
    pub(crate) blocks_added: i64,
}

/// A block of a new tree. Unused entries at its end are left out.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) block: u64,
    pub(crate) owner: BlockOwner,
    pub(crate) bytes: Vec<u8>,
}

/// Why a tree was not built.
pub(crate) enum Failure {
    Declined(Declined),
    /// There is no block left for it.
    Full,
}

impl From<Declined> for Failure {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}

/// Builds trees anew.
pub(crate) struct Builder<'a, 'b, M> {
    pub(crate) reader: &'a MapReader<'b, M>,
    pub(crate) moves: &'a Relocations,
    pub(crate) gaps: &'a mut Gaps,
    pub(crate) nodes: Vec<Node>,
    /// Clusters that were taken from the gaps, by their first block.
    pub(crate) taken: Vec<u64>,
    /// Blocks that trees no longer need, where they are now: each was alone in its cluster.
    pub(crate) freed: Vec<u64>,
    pub(crate) bytes: usize,
}

impl<M: ReadAt> Builder<'_, '_, M> {
    /// Builds the tree of the inode `number`.
    pub(crate) fn build<B: AsRef<[u8]>>(
        &mut self,
        number: u32,
        record: &InodeRecord<B>,
    ) -> Result<Tree, Failure> {
        let map = self.reader.read(number, record)?;
        let owner = BlockOwner::new(number, record);
        let mut own = self.own_blocks(&map)?;
        let before = own.len() as i64;
        let kept = self.nodes.len();
        let extents = self.moved(&map)?;
        let node = self.levels(owner, &extents, &mut own)?;
        self.freed.append(&mut own);
        let mut root = [0; BLOCK_FIELD_BYTES];
        let bytes = node.into_bytes();
        root[..bytes.len()].copy_from_slice(&bytes);
        Ok(Tree {
            root,
            blocks_added: (self.nodes.len() - kept) as i64 - before,
        })
    }

    /// Puts `extents` into leaves, those into inner nodes, and so on; returns the root.
    fn levels(
        &mut self,
        owner: BlockOwner,
        extents: &[FileExtent],
        own: &mut Vec<u64>,
    ) -> Result<ExtentNode<Vec<u8>>, Failure> {
        if extents.len() <= ROOT_ENTRIES {
            return Ok(ExtentNode::leaf(extents, ROOT_ENTRIES));
        }
        let block_bytes = self.reader.superblock.block_bytes as usize;
        let room = block_bytes / EXTENT_ENTRY_BYTES - 1;
        let mut children = Vec::with_capacity(extents.len().div_ceil(room));
        for chunk in extents.chunks(room) {
            let block = self.put(owner, ExtentNode::leaf(chunk, room), own)?;
            children.push((chunk[0].logical, block));
        }
        let mut depth = 1;
        while children.len() > ROOT_ENTRIES {
            let mut parents = Vec::with_capacity(children.len().div_ceil(room));
            for chunk in children.chunks(room) {
                let block = self.put(owner, ExtentNode::inner(chunk, room, depth), own)?;
                parents.push((chunk[0].0, block));
            }
            children = parents;
            depth += 1;
        }
        Ok(ExtentNode::inner(&children, ROOT_ENTRIES, depth))
    }

    /// Gives a node its block, and returns that.
    fn put(
        &mut self,
        owner: BlockOwner,
        node: ExtentNode<Vec<u8>>,
        own: &mut Vec<u64>,
    ) -> Result<u64, Failure> {
        let block = self.block(own)?;
        let bytes = node.into_bytes();
        self.bytes += bytes.len();
        if self.bytes > NODES_BYTES_MAX {
            return Err(Declined::from(UnsupportedKind::ScatteredFreeSpace).into());
        }
        self.nodes.push(Node {
            block,
            owner,
            bytes,
        });
        Ok(block)
    }

    /// Returns where the file's tree blocks are now, the last one first.
    fn own_blocks(&self, map: &FileMap) -> Result<Vec<u64>, Declined> {
        let place = |block| self.moves.new_place(block).map(|(new, _)| new);
        let blocks = map.tree.iter().rev().map(|tree| place(tree.block));
        blocks
            .collect::<Option<Vec<u64>>>()
            .ok_or_else(|| InconsistentKind::Lost(Lost::Tree).into())
    }

    fn block(&mut self, own: &mut Vec<u64>) -> Result<u64, Failure> {
        if let Some(block) = own.pop() {
            return Ok(block);
        }
        let cluster = u64::from(self.reader.superblock.cluster_blocks);
        let block = self.gaps.take(cluster).ok_or(Failure::Full)?;
        self.taken.push(block);
        Ok(block)
    }

    /// Returns the file's extents as they are now.
    fn moved(&self, map: &FileMap) -> Result<Vec<FileExtent>, Declined> {
        let mut moved: Vec<FileExtent> = Vec::with_capacity(map.extents.len());
        for extent in &map.extents {
            let mut done = 0;
            while done < extent.count {
                let (physical, run) = self
                    .moves
                    .new_place(extent.physical + done)
                    .ok_or_else(|| Declined::from(InconsistentKind::Lost(Lost::Extent)))?;
                let piece = FileExtent {
                    logical: extent.logical + done,
                    physical,
                    count: run.min(extent.count - done),
                    is_unwritten: extent.is_unwritten,
                };
                done += piece.count;
                match moved.last_mut() {
                    Some(last) if joins(last, &piece) => last.count += piece.count,
                    _ => moved.push(piece),
                }
            }
        }
        Ok(moved)
    }
}

fn joins(last: &FileExtent, next: &FileExtent) -> bool {
    let most = u64::from(WRITTEN_LEN_MAX) - u64::from(next.is_unwritten);
    last.is_unwritten == next.is_unwritten
        && last.logical + last.count == next.logical
        && last.physical + last.count == next.physical
        && last.count + next.count <= most
}

/// Puts a new tree into a file's record.
pub(crate) fn put_tree<B: AsRef<[u8]> + AsMut<[u8]>>(
    tree: &Tree,
    superblock: &Superblock,
    record: &mut InodeRecord<B>,
) {
    record.block_field_mut().copy_from_slice(&tree.root);
    let has_huge_file = superblock.has_ro_compat(feature::RO_COMPAT_HUGE_FILE);
    let unit = if has_huge_file && record.counts_blocks() {
        1
    } else {
        i64::from(superblock.block_bytes / 512)
    };
    let cluster = i64::from(superblock.cluster_blocks);
    let blocks = record.blocks(has_huge_file);
    let blocks = blocks.saturating_add_signed(tree.blocks_added * unit * cluster);
    record.set_blocks(blocks, has_huge_file);
}
