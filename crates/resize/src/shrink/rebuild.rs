//! Extent trees of files whose extents were split: built anew, as dense as can be.
//!
//! ```text
//!   inode: root, 4 entries -> [index blocks ->] leaves, full but for the last
//! ```
//!
//! The file's own tree blocks are taken first; only then new ones.

use cardkeep_block::{ReadAt, le_u16, le_u32};
use cardkeep_ext4::{BlockOwner, feature};

use super::declined::Declined;
use super::field::{put_u16, put_u32};
use super::file_map::{
    ENTRY_BYTES, EXTENT_MAGIC, FileExtent, FileMap, MapReader, ROOT, WRITTEN_LEN_MAX,
};
use super::relocation::{Gaps, Relocations};

/// `i_flags`: `i_blocks` counts blocks of the filesystem.
const FLAG_HUGE_FILE: u32 = 0x4_0000;
const ROOT_BYTES: usize = 60;
/// What all trees that are built anew may take, in bytes.
const NODES_BYTES_MAX: usize = 24 << 20;

/// The new tree of one file.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// What goes into `i_block`.
    pub(crate) root: [u8; ROOT_BYTES],
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
    pub(crate) fn build(&mut self, number: u32, record: &[u8]) -> Result<Tree, Failure> {
        let map = self.reader.read(number, record)?;
        let owner = BlockOwner::new(number, record);
        let mut own = self.own_blocks(&map)?;
        let before = own.len() as i64;
        let kept = self.nodes.len();
        let block_bytes = self.reader.superblock.block_bytes as usize;
        let per_block = (block_bytes - ENTRY_BYTES) / ENTRY_BYTES;
        let mut entries: Vec<[u8; ENTRY_BYTES]> =
            self.moved(&map)?.iter().map(leaf_entry).collect();
        let mut depth = 0;
        while entries.len() > ROOT_BYTES / ENTRY_BYTES - 1 {
            let mut parents = Vec::with_capacity(entries.len().div_ceil(per_block));
            for chunk in entries.chunks(per_block) {
                let block = self.block(&mut own)?;
                let bytes = node(chunk, per_block, depth);
                self.bytes += bytes.len();
                if self.bytes > NODES_BYTES_MAX {
                    return Err(Declined::unsupported("too scattered a free space").into());
                }
                parents.push(index_entry(le_u32(&chunk[0], 0), block));
                self.nodes.push(Node {
                    block,
                    owner,
                    bytes,
                });
            }
            entries = parents;
            depth += 1;
        }
        self.freed.append(&mut own);
        let mut root = [0; ROOT_BYTES];
        let bytes = node(&entries, ROOT_BYTES / ENTRY_BYTES - 1, depth);
        root[..bytes.len()].copy_from_slice(&bytes);
        Ok(Tree {
            root,
            blocks_added: (self.nodes.len() - kept) as i64 - before,
        })
    }

    /// Returns where the file's tree blocks are now, the last one first.
    fn own_blocks(&self, map: &FileMap) -> Result<Vec<u64>, Declined> {
        let place = |block| self.moves.new_place(block).map(|(new, _)| new);
        let blocks = map.tree.iter().rev().map(|tree| place(tree.block));
        blocks
            .collect::<Option<Vec<u64>>>()
            .ok_or_else(|| Declined::inconsistent("a tree has no place"))
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
                    .ok_or_else(|| Declined::inconsistent("an extent has no place"))?;
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

fn leaf_entry(extent: &FileExtent) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let unwritten = if extent.is_unwritten {
        WRITTEN_LEN_MAX
    } else {
        0
    };
    put_u32(&mut entry, 0, extent.logical as u32);
    put_u16(&mut entry, 4, extent.count as u16 + unwritten);
    put_u16(&mut entry, 6, (extent.physical >> 32) as u16);
    put_u32(&mut entry, 8, extent.physical as u32);
    entry
}

fn index_entry(logical: u32, block: u64) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    put_u32(&mut entry, 0, logical);
    put_u32(&mut entry, 4, block as u32);
    put_u16(&mut entry, 8, (block >> 32) as u16);
    entry
}

fn node(entries: &[[u8; ENTRY_BYTES]], most: usize, depth: u16) -> Vec<u8> {
    let mut bytes = vec![0; ENTRY_BYTES];
    put_u16(&mut bytes, 0, EXTENT_MAGIC);
    put_u16(&mut bytes, 2, entries.len() as u16);
    put_u16(&mut bytes, 4, most as u16);
    put_u16(&mut bytes, 6, depth);
    bytes.extend(entries.as_flattened());
    bytes
}

/// Puts a new tree into a file's record.
pub(crate) fn put_tree(tree: &Tree, superblock: &cardkeep_ext4::Superblock, record: &mut [u8]) {
    if let Some(root) = record.get_mut(ROOT) {
        root.copy_from_slice(&tree.root);
    }
    let has_high = superblock.has_ro_compat(feature::RO_COMPAT_HUGE_FILE);
    let counts_blocks = has_high && le_u32(record, 0x20) & FLAG_HUGE_FILE != 0;
    let unit = if counts_blocks {
        1
    } else {
        i64::from(superblock.block_bytes / 512)
    };
    let high = if has_high {
        u64::from(le_u16(record, 0x74)) << 32
    } else {
        0
    };
    let blocks = u64::from(le_u32(record, 0x1C)) | high;
    let cluster = i64::from(superblock.cluster_blocks);
    let blocks = blocks.saturating_add_signed(tree.blocks_added * unit * cluster);
    put_u32(record, 0x1C, blocks as u32);
    if has_high {
        put_u16(record, 0x74, (blocks >> 32) as u16);
    }
}
