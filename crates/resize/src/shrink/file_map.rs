//! Where one file's blocks lie, read from its extent tree or block map with all checks that can be
//! made: what is moved must be known for sure.
//!
//! ```text
//!   record -> root (60 bytes) -> tree blocks -> extents
//!                                     |            |
//!                                 `tree`       `extents`, in logical order
//! ```

use cardkeep_block::{ReadAt, le_u16, le_u32};
use cardkeep_ext4::{BlockOwner, Sealer, Superblock};

use super::declined::Declined;

/// `i_block` lies here in a record, and is this long.
pub(crate) const ROOT: std::ops::Range<usize> = 0x28..0x64;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
pub(crate) const EXTENT_MAGIC: u16 = 0xF30A;
pub(crate) const ENTRY_BYTES: usize = 12;
/// The kernel's `EXT4_MAX_EXTENT_DEPTH`.
const DEPTH_MAX: u16 = 5;
/// `ee_len` above this means an unwritten extent of the rest.
pub(crate) const WRITTEN_LEN_MAX: u16 = 32768;
/// Extents and tree blocks of one file that are looked at: bounds memory to some 50 MB.
const EXTENTS_MAX: usize = 1 << 20;
const TREE_BLOCKS_MAX: usize = 1 << 17;

/// A range of a file's blocks that lie next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileExtent {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) count: u64,
    pub(crate) is_unwritten: bool,
}

/// A block of a file's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeBlock {
    pub(crate) block: u64,
    /// The end of the highest range that it refers to itself.
    pub(crate) refers_to: u64,
}

/// How a file finds its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// It has none: its content, target or device number lies in the inode.
    Inline,
    Extents,
    Indirect,
}

impl Mapping {
    /// Tells it from a record.
    pub(crate) fn of(record: &[u8]) -> Self {
        let flags = le_u32(record, 0x20);
        let is_short = u64::from(le_u32(record, 0x04)) < ROOT.len() as u64;
        let maps_blocks = match le_u16(record, 0) & 0xF000 {
            0x8000 | 0x4000 => true,
            0xA000 => !is_short,
            _ => false,
        };
        if !maps_blocks || flags & FLAG_INLINE_DATA != 0 {
            Self::Inline
        } else if flags & FLAG_EXTENTS != 0 {
            Self::Extents
        } else {
            Self::Indirect
        }
    }
}

/// All blocks of a file but that of its attributes.
#[derive(Clone, Debug)]
pub(crate) struct FileMap {
    pub(crate) mapping: Mapping,
    pub(crate) extents: Vec<FileExtent>,
    pub(crate) tree: Vec<TreeBlock>,
}

impl FileMap {
    /// Returns the ranges of clusters that the extents lie in, as start and count of blocks. Each
    /// extent has one, but those that share a cluster have one together: they can't be parted.
    ///
    /// ```text
    ///   logical    0 1 2 3 | 4 5 . . | . . . . | . d e f
    ///   clusters   A       | B       |         | C         C may lie anywhere, but d in its second
    ///                                                      block (`EXT4_LBLK_COFF` in the kernel)
    /// ```
    ///
    /// `None` where blocks lie elsewhere in their cluster than the file's clusters say, or a
    /// cluster of the file is in two: `has_unaligned_cluster_map` in e2fsck.
    pub(crate) fn clusters(&self, cluster: u64) -> Option<Vec<(u64, u64)>> {
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(self.extents.len());
        let mut last = None;
        for extent in &self.extents {
            if extent.logical % cluster != extent.physical % cluster {
                return None;
            }
            let start = extent.physical / cluster;
            let end = (extent.physical + extent.count).div_ceil(cluster);
            match (last, ranges.last_mut()) {
                (Some((logical, physical)), Some(range)) if logical == extent.logical / cluster => {
                    if physical != start {
                        return None;
                    }
                    range.1 = end * cluster - range.0;
                }
                _ => ranges.push((start * cluster, (end - start) * cluster)),
            }
            last = Some(((extent.logical + extent.count - 1) / cluster, end - 1));
        }
        Some(ranges)
    }
}

/// What is needed to read files' maps.
pub(crate) struct MapReader<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) superblock: &'a Superblock,
    pub(crate) sealer: Sealer,
}

impl<M: ReadAt> MapReader<'_, M> {
    /// Reads the map of the inode `number` with the record `record`.
    pub(crate) fn read(&self, number: u32, record: &[u8]) -> Result<FileMap, Declined> {
        let mut walk = Walk {
            reader: self,
            owner: BlockOwner::new(number, record),
            logical: 0,
            map: FileMap {
                mapping: Mapping::of(record),
                extents: Vec::new(),
                tree: Vec::new(),
            },
        };
        let root = record.get(ROOT).unwrap_or(&[]);
        match walk.map.mapping {
            Mapping::Inline => {}
            Mapping::Extents => {
                walk.node(root, None)?;
            }
            Mapping::Indirect => walk.block_map(root)?,
        }
        Ok(walk.map)
    }
}

struct Walk<'a, 'b, M> {
    reader: &'a MapReader<'b, M>,
    owner: BlockOwner,
    /// The next logical block that may come.
    logical: u64,
    map: FileMap,
}

impl<M: ReadAt> Walk<'_, '_, M> {
    fn bad(&self, what: &str) -> Declined {
        Declined::inconsistent(format!("inode {}: {what}", self.owner.number))
    }

    fn check_place(&self, start: u64, count: u64) -> Result<(), Declined> {
        let superblock = self.reader.superblock;
        let end = start.saturating_add(count);
        if start < u64::from(superblock.first_data_block) || end > superblock.block_count {
            return Err(self.bad("it has blocks outside the filesystem"));
        }
        Ok(())
    }

    fn tree_block(&mut self, block: u64) -> Result<Vec<u8>, Declined> {
        self.check_place(block, 1)?;
        if self.map.tree.len() >= TREE_BLOCKS_MAX {
            return Err(self.bad("its tree has too many blocks"));
        }
        let bytes = u64::from(self.reader.superblock.block_bytes);
        self.map.tree.push(TreeBlock {
            block,
            refers_to: 0,
        });
        Ok(self.reader.medium.read_vec(block * bytes, bytes as usize)?)
    }

    fn push(&mut self, extent: FileExtent) -> Result<(), Declined> {
        self.check_place(extent.physical, extent.count)?;
        if extent.count == 0 || extent.logical < self.logical {
            return Err(self.bad("its extents are empty or out of order"));
        }
        self.logical = extent.logical + extent.count;
        if self.map.extents.len() >= EXTENTS_MAX {
            return Err(Declined::unsupported(format!(
                "a file in more than a million pieces, inode {}",
                self.owner.number
            )));
        }
        self.map.extents.push(extent);
        Ok(())
    }

    /// Walks a node of an extent tree, and returns the end of the highest range that it names.
    fn node(&mut self, bytes: &[u8], depth: Option<u16>) -> Result<u64, Declined> {
        let own_depth = le_u16(bytes, 6);
        let (count, most) = (usize::from(le_u16(bytes, 2)), usize::from(le_u16(bytes, 4)));
        if le_u16(bytes, 0) != EXTENT_MAGIC
            || count > most
            || most > (bytes.len() - ENTRY_BYTES) / ENTRY_BYTES
            || own_depth > DEPTH_MAX
            || depth.is_some_and(|depth| depth != own_depth)
        {
            return Err(self.bad("an extent tree node is damaged"));
        }
        let mut refers_to = 0;
        for entry in bytes[ENTRY_BYTES..].chunks_exact(ENTRY_BYTES).take(count) {
            if own_depth == 0 {
                let extent = decode(entry);
                self.push(extent)?;
                refers_to = refers_to.max(extent.physical + extent.count);
                continue;
            }
            let child = child_of(entry);
            let index = self.map.tree.len();
            let block = self.tree_block(child)?;
            let mut sealed = block.clone();
            self.reader.sealer.extent_block(self.owner, &mut sealed);
            if sealed != block {
                return Err(self.bad("an extent tree node's checksum is wrong"));
            }
            self.map.tree[index].refers_to = self.node(&block, Some(own_depth - 1))?;
            refers_to = refers_to.max(child + 1);
        }
        Ok(refers_to)
    }

    fn block_map(&mut self, root: &[u8]) -> Result<(), Declined> {
        for index in 0..12 {
            self.pointer(le_u32(root, index * 4))?;
        }
        for level in 1..=3u32 {
            let block = le_u32(root, (11 + level as usize) * 4);
            self.indirect(block, level)?;
        }
        Ok(())
    }

    fn pointer(&mut self, block: u32) -> Result<(), Declined> {
        let (logical, physical) = (self.logical, u64::from(block));
        if block == 0 {
            self.logical += 1;
            return Ok(());
        }
        if let Some(last) = self.map.extents.last_mut()
            && last.logical + last.count == logical
            && last.physical + last.count == physical
        {
            last.count += 1;
            self.logical += 1;
            return self.check_place(physical, 1);
        }
        self.push(FileExtent {
            logical,
            physical,
            count: 1,
            is_unwritten: false,
        })
    }

    fn indirect(&mut self, block: u32, level: u32) -> Result<(), Declined> {
        if block == 0 {
            self.logical += u64::from(self.reader.superblock.block_bytes / 4).pow(level);
            return Ok(());
        }
        let index = self.map.tree.len();
        let bytes = self.tree_block(u64::from(block))?;
        for entry in bytes.chunks_exact(4) {
            let number = le_u32(entry, 0);
            let refers_to = &mut self.map.tree[index].refers_to;
            *refers_to = (*refers_to).max(u64::from(number) + 1);
            if level == 1 {
                self.pointer(number)?;
            } else {
                self.indirect(number, level - 1)?;
            }
        }
        Ok(())
    }
}

/// Decodes a leaf entry.
fn decode(entry: &[u8]) -> FileExtent {
    let len = le_u16(entry, 4);
    let is_unwritten = len > WRITTEN_LEN_MAX;
    let count = if is_unwritten {
        len - WRITTEN_LEN_MAX
    } else {
        len
    };
    FileExtent {
        logical: u64::from(le_u32(entry, 0)),
        physical: u64::from(le_u32(entry, 8)) | u64::from(le_u16(entry, 6)) << 32,
        count: u64::from(count),
        is_unwritten,
    }
}

/// Decodes where an index entry points: 48 bits.
pub(crate) fn child_of(entry: &[u8]) -> u64 {
    u64::from(le_u32(entry, 4)) | u64::from(le_u16(entry, 8)) << 32
}

/// Returns `i_file_acl`: the block of extended attributes, or 0.
pub(crate) fn xattr_block(record: &[u8]) -> u64 {
    u64::from(le_u32(record, 0x68)) | u64::from(le_u16(record, 0x76)) << 32
}

#[cfg(test)]
mod tests {
    use super::{FileExtent, FileMap, Mapping};

    fn clusters(extents: &[(u64, u64, u64)], cluster: u64) -> Option<Vec<(u64, u64)>> {
        let extents = extents
            .iter()
            .map(|&(logical, physical, count)| FileExtent {
                logical,
                physical,
                count,
                is_unwritten: false,
            });
        let map = FileMap {
            mapping: Mapping::Extents,
            extents: extents.collect(),
            tree: Vec::new(),
        };
        map.clusters(cluster)
    }

    #[test]
    fn without_clusters_every_extent_is_for_itself() {
        let extents = [(0, 7, 3), (3, 10, 1), (9, 2, 2)];
        assert_eq!(clusters(&extents, 1), Some(vec![(7, 3), (10, 1), (2, 2)]));
    }

    #[test]
    fn extents_that_share_a_cluster_stay_together() {
        let shared = [(0, 40, 6), (7, 47, 3), (16, 8, 1), (19, 11, 1)];
        assert_eq!(clusters(&shared, 4), Some(vec![(40, 12), (8, 4)]));
        // A hole in between, but no shared cluster.
        assert_eq!(
            clusters(&[(0, 40, 4), (5, 45, 1)], 4),
            Some(vec![(40, 4), (44, 4)])
        );
    }

    #[test]
    fn blocks_askew_in_their_clusters_are_told() {
        assert_eq!(clusters(&[(0, 41, 1)], 4), None);
        // One cluster of the file in two places.
        assert_eq!(clusters(&[(0, 40, 1), (2, 46, 1)], 4), None);
    }
}
