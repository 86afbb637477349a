//! Who owns every block: read from all inodes, and compared with what the bitmaps say.
//!
//! A filesystem is made smaller only where both agree to the last block: a block that is in use
//! although the bitmap calls it free would be overwritten, one that has two owners would be moved
//! away from one of them.
//!
//! ```text
//!   inode tables -> inodes in use == inode bitmaps
//!        |
//!   trees, attribute blocks -> blocks of files + fixed metadata == block bitmaps
//!        |
//!   above the cut: `pieces` to be moved; blocks that refer to such: `referrers`
//! ```

use cardkeep_block::{Monitor, ReadAt, le_u16, le_u32};
use cardkeep_ext4::{BlockOwner, Sealer, Superblock};

use super::bits::Bits;
use super::declined::Declined;
use super::descriptors::{BLOCK_UNINIT, Descriptors, INODE_UNINIT};
use super::file_map::{FileMap, MapReader, Mapping, xattr_block};
use super::geometry::{metadata, whole_clusters};
use super::header::Header;
use super::resize_inode;

/// The inode of the resize inode, and that of the bad blocks.
pub(crate) const RESIZE_INODE: u32 = 7;
const BAD_BLOCKS_INODE: u32 = 1;
const MODE_DIRECTORY: u16 = 0x4000;
/// Inode tables are read in pieces of about this many bytes.
const BATCH_BYTES: usize = 256 * 1024;
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
    pub(crate) pieces: Vec<Piece>,
    pub(crate) references: Vec<Reference>,
}

/// Takes the census.
pub(crate) struct Enumerator<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) superblock: &'a Superblock,
    pub(crate) header: &'a Header,
    pub(crate) descriptors: &'a Descriptors,
    pub(crate) sealer: Sealer,
    pub(crate) monitor: &'a dyn Monitor,
}

/// What the census looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Blocks from here on are to be moved.
    pub(crate) block: u64,
    /// Inodes from here on are to be renumbered.
    pub(crate) inode: u32,
}

impl<M: ReadAt> Enumerator<'_, M> {
    /// Reads all inodes and their trees.
    pub(crate) fn census(&self, cut: Cut) -> Result<Census, Declined> {
        let superblock = self.superblock;
        let first = u64::from(superblock.first_data_block);
        let blocks = || Bits::new(first, superblock.block_count);
        let numbers = || Bits::new(1, u64::from(superblock.inode_count) + 1);
        let mut tally = Tally {
            superblock,
            cut,
            xattrs: blocks(),
            census: Census {
                blocks: blocks(),
                inodes: numbers(),
                directories: numbers(),
                pieces: Vec::new(),
                references: Vec::new(),
            },
        };
        if self.header.mmp_block() != 0 {
            tally.claim(self.header.mmp_block(), 1, "the MMP block")?;
            tally.piece(self.header.mmp_block(), 1, 0)?;
        }
        for group in 0..superblock.group_count() {
            if self.monitor.is_cancelled() {
                return Err(Declined::Cancelled);
            }
            self.group(group as u32, &mut tally)?;
        }
        self.compare(&tally.census)?;
        Ok(tally.census)
    }

    fn group(&self, group: u32, tally: &mut Tally<'_>) -> Result<(), Declined> {
        let per_group = self.superblock.inodes_per_group;
        let inode_bytes = usize::from(self.superblock.inode_bytes);
        let block_bytes = u64::from(self.superblock.block_bytes);
        let used = self.descriptors.used_inodes(u64::from(group), per_group);
        let mut bitmap = vec![0; (per_group as usize).div_ceil(8)];
        if self.descriptors.flags(u64::from(group)) & INODE_UNINIT == 0 {
            let place = self.descriptors.inode_bitmap(u64::from(group)) * block_bytes;
            self.medium.read_at(place, &mut bitmap)?;
        }
        let table = self.descriptors.inode_table(u64::from(group)) * block_bytes;
        let per_batch = (BATCH_BYTES / inode_bytes) as u32;
        for start in (0..used).step_by(per_batch as usize) {
            let count = per_batch.min(used - start);
            let offset = table + u64::from(start) * inode_bytes as u64;
            let bytes = self.medium.read_vec(offset, count as usize * inode_bytes)?;
            for (index, record) in (start..).zip(bytes.chunks_exact(inode_bytes)) {
                let number = group * per_group + index + 1;
                let is_set = bitmap[index as usize / 8] >> (index % 8) & 1 == 1;
                self.inode(number, record, is_set, tally)?;
            }
        }
        let is_set = |index: u32| bitmap[index as usize / 8] >> (index % 8) & 1 == 1;
        if (used..per_group).any(is_set) {
            return Err(Declined::inconsistent(format!(
                "group {group} has inodes in use behind the end of its table"
            )));
        }
        let before = u64::from(group) * u64::from(per_group) + 1;
        let in_use = tally.census.inodes.count(before, u64::from(per_group)) as u32;
        if in_use.checked_add(self.descriptors.free_inodes(u64::from(group))) != Some(per_group) {
            return Err(Declined::inconsistent(format!(
                "group {group} miscounts its inodes"
            )));
        }
        Ok(())
    }

    fn inode(
        &self,
        number: u32,
        record: &[u8],
        is_set: bool,
        tally: &mut Tally<'_>,
    ) -> Result<(), Declined> {
        let bad = |what: &str| Declined::inconsistent(format!("inode {number}: {what}"));
        let is_linked = le_u16(record, 0x1A) != 0 && le_u16(record, 0) != 0;
        let is_reserved = number < self.header.first_inode();
        if is_set != is_linked && !is_reserved || is_reserved && !is_set {
            return Err(bad("its bitmap and its links disagree"));
        }
        if is_set {
            tally.census.inodes.insert(u64::from(number));
        }
        if number == BAD_BLOCKS_INODE && le_u32(record, 0x1C) != 0 {
            return Err(Declined::unsupported("a list of bad blocks"));
        }
        if !is_linked && number != RESIZE_INODE {
            return Ok(());
        }
        let mut sealed = record.to_vec();
        self.sealer.inode(number, &mut sealed);
        if sealed != record {
            return Err(bad("its checksum is wrong"));
        }
        if le_u16(record, 0) & 0xF000 == MODE_DIRECTORY {
            tally.census.directories.insert(u64::from(number));
        }
        if number == RESIZE_INODE {
            return self.resize_inode(record, tally);
        }
        let attributes = xattr_block(record);
        if attributes != 0 && tally.xattrs.insert(attributes) {
            self.xattr(number, record, attributes, tally)?;
        }
        let reader = MapReader {
            medium: self.medium,
            superblock: self.superblock,
            sealer: self.sealer,
        };
        let map = reader.read(number, record)?;
        tally.file(BlockOwner::new(number, record), &map)?;
        if self.header.orphan_inode() == Some(number) {
            tally.orphan_file(BlockOwner::new(number, record), &map)?;
        }
        Ok(())
    }

    fn resize_inode(&self, record: &[u8], tally: &mut Tally<'_>) -> Result<(), Declined> {
        let Some(block) = resize_inode::check(self.medium, self.superblock, record)? else {
            return Ok(());
        };
        tally.claim(block, 1, "the resize inode")?;
        tally.piece(block, 1, 0)?;
        tally.reference(
            block,
            Referrer::ResizeMap,
            BlockOwner::new(RESIZE_INODE, record),
        )
    }

    fn xattr(
        &self,
        number: u32,
        record: &[u8],
        block: u64,
        tally: &mut Tally<'_>,
    ) -> Result<(), Declined> {
        tally.claim(block, 1, "attributes")?;
        if block < tally.cut.block {
            return Ok(());
        }
        let block_bytes = u64::from(self.superblock.block_bytes);
        let bytes = self
            .medium
            .read_vec(block * block_bytes, block_bytes as usize)?;
        let mut sealed = bytes.clone();
        self.sealer.xattr_block(block, &mut sealed);
        if sealed != bytes {
            return Err(Declined::inconsistent(format!(
                "inode {number}: its attributes' checksum is wrong"
            )));
        }
        tally.piece(block, 1, 0)?;
        tally.reference(block, Referrer::Xattr, BlockOwner::new(number, record))
    }

    /// Compares what is in use with what the block bitmaps say.
    fn compare(&self, census: &Census) -> Result<(), Declined> {
        let superblock = self.superblock;
        let block_bytes = superblock.block_bytes as usize;
        let cluster = u64::from(superblock.cluster_blocks);
        let mut all = census.blocks.clone();
        for (start, count) in metadata(superblock, self.descriptors) {
            // Of one another they are free: that was checked when the map was made.
            if census.blocks.count(start, count) != 0 {
                return Err(Declined::inconsistent(format!(
                    "fixed metadata at block {start} is a file's, too"
                )));
            }
            all.insert_range(start, count);
        }
        for group in 0..superblock.group_count() {
            let first = superblock.group_first_block(group);
            let count = superblock.group_block_count(group);
            let bad = || Declined::inconsistent(format!("group {group}'s block bitmap is wrong"));
            let free = u64::from(self.descriptors.free_clusters(group));
            if all.count(first, count) + free * cluster != count {
                return Err(bad());
            }
            if self.descriptors.flags(group) & BLOCK_UNINIT != 0 {
                continue;
            }
            let place = self.descriptors.block_bitmap(group) * block_bytes as u64;
            let stated = self.medium.read_vec(place, block_bytes)?;
            let own = all.bitmap(first, count, cluster, block_bytes);
            let bits = (count / cluster) as usize;
            let differs = (0..bits.div_ceil(8)).any(|index| {
                let valid = if index < bits / 8 {
                    0xFF
                } else {
                    !(0xFFu32 << (bits % 8)) as u8
                };
                (own[index] ^ stated[index]) & valid != 0
            });
            if differs {
                return Err(bad());
            }
        }
        Ok(())
    }
}

struct Tally<'a> {
    superblock: &'a Superblock,
    cut: Cut,
    /// Attribute blocks, which several inodes may share.
    xattrs: Bits,
    census: Census,
}

impl Tally<'_> {
    /// Notes that a range has an owner, and with it the rest of its clusters.
    fn claim(&mut self, block: u64, count: u64, who: &str) -> Result<(), Declined> {
        let (start, count) = whole_clusters(self.superblock, (block, count));
        if self.census.blocks.insert_range(start, count) {
            return Ok(());
        }
        Err(Declined::inconsistent(format!(
            "{who}: blocks from {block} on have two owners, or lie outside"
        )))
    }

    /// Notes a range that may have to be moved, and with it the rest of its clusters.
    fn piece(&mut self, block: u64, count: u64, number: u32) -> Result<(), Declined> {
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
            let count = u32::try_from(step.min(block + count - start)).map_err(|_| {
                Declined::unsupported("too long a chain of extents that share clusters")
            })?;
            if pieces.len() >= PIECES_MAX {
                return Err(Declined::unsupported("too many pieces above the cut"));
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

    fn reference(&mut self, block: u64, kind: Referrer, owner: BlockOwner) -> Result<(), Declined> {
        if self.census.references.len() >= PIECES_MAX {
            return Err(Declined::unsupported("too many blocks that would change"));
        }
        self.census
            .references
            .push(Reference { block, kind, owner });
        Ok(())
    }

    fn file(&mut self, owner: BlockOwner, map: &FileMap) -> Result<(), Declined> {
        let who = format!("inode {}", owner.number);
        let is_extents = map.mapping == Mapping::Extents;
        let number = if is_extents { owner.number } else { 0 };
        let cluster = u64::from(self.superblock.cluster_blocks);
        let ranges = map.clusters(cluster).ok_or_else(|| {
            Declined::inconsistent(format!("{who}: its blocks lie askew in their clusters"))
        })?;
        for (start, count) in ranges {
            self.claim(start, count, &who)?;
            self.piece(start, count, number)?;
        }
        let is_renumbered = is_extents && owner.number >= self.cut.inode;
        for tree in &map.tree {
            self.claim(tree.block, 1, &who)?;
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

    /// The orphan file's blocks are sealed with their places.
    fn orphan_file(&mut self, owner: BlockOwner, map: &FileMap) -> Result<(), Declined> {
        for extent in &map.extents {
            for block in extent.physical..extent.physical + extent.count {
                if block >= self.cut.block || owner.number >= self.cut.inode {
                    self.reference(block, Referrer::Orphans, owner)?;
                }
            }
        }
        Ok(())
    }
}
