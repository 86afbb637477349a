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

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_ext4::{
    BLOCK_UNINIT, BlockOwner, FileType, INODE_UNINIT, InodeRecord, Sealer, Superblock, feature,
};

use super::descriptors::Descriptors;
use super::file_map::MapReader;
use super::geometry::metadata;
use super::header::Header;
use super::orphans::Orphans;
use super::resize_inode;
use super::tally::{Census, Cut, Referrer, Tally};
use crate::declined::Declined;
use crate::inconsistent::{Claimant, InconsistentKind, InodeFault};
use crate::unsupported::UnsupportedKind;

/// The inode of the resize inode, and that of the bad blocks.
pub(crate) const RESIZE_INODE: u32 = 7;
const BAD_BLOCKS_INODE: u32 = 1;
/// Inode tables are read in pieces of about this many bytes.
const BATCH_BYTES: usize = 256 * 1024;

/// Takes the census.
pub(crate) struct Enumerator<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) superblock: &'a Superblock,
    pub(crate) header: &'a Header,
    pub(crate) descriptors: &'a Descriptors,
    pub(crate) sealer: Sealer,
    pub(crate) monitor: &'a dyn Monitor,
}

impl<M: ReadAt> Enumerator<'_, M> {
    /// Reads all inodes and their trees.
    pub(crate) fn census(&self, cut: Cut) -> Result<Census, Declined> {
        let superblock = self.superblock;
        let mut tally = Tally::new(superblock, cut);
        tally.census.orphans = Orphans::load(&self.reader(), self.header, self.descriptors)?;
        if self.header.mmp_block() != 0 {
            tally.claim(self.header.mmp_block(), 1, Claimant::Mmp)?;
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

    const fn reader(&self) -> MapReader<'_, M> {
        MapReader {
            medium: self.medium,
            superblock: self.superblock,
            sealer: self.sealer,
        }
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
                self.inode(number, &InodeRecord::new(record)?, is_set, tally)?;
            }
        }
        let is_set = |index: u32| bitmap[index as usize / 8] >> (index % 8) & 1 == 1;
        if (used..per_group).any(is_set) {
            return Err(InconsistentKind::InodesBehindTable(group).into());
        }
        let before = u64::from(group) * u64::from(per_group) + 1;
        let in_use = tally.census.inodes.count(before, u64::from(per_group)) as u32;
        if in_use.checked_add(self.descriptors.free_inodes(u64::from(group))) != Some(per_group) {
            return Err(InconsistentKind::InodeCount(group).into());
        }
        Ok(())
    }

    fn inode(
        &self,
        number: u32,
        record: &InodeRecord<&[u8]>,
        is_set: bool,
        tally: &mut Tally<'_>,
    ) -> Result<(), Declined> {
        let bad = |fault| InconsistentKind::Inode { number, fault };
        let orphans = &tally.census.orphans;
        let is_linked = record.is_linked() || orphans.hold(number);
        let is_reserved = number < self.header.first_inode();
        if is_set != is_linked && !is_reserved || is_reserved && !is_set {
            return Err(bad(InodeFault::Links).into());
        }
        if is_set {
            tally.census.inodes.insert(u64::from(number));
        }
        if number == BAD_BLOCKS_INODE && record.blocks(false) != 0 {
            return Err(UnsupportedKind::BadBlocks.into());
        }
        if number != RESIZE_INODE && !has_content(self.superblock, orphans, number, record) {
            return Ok(());
        }
        let mut sealed = InodeRecord::new(record.bytes().to_vec())?;
        self.sealer.inode(number, &mut sealed);
        if sealed.bytes() != record.bytes() {
            return Err(bad(InodeFault::Checksum).into());
        }
        if record.file_type() == FileType::Directory {
            tally.census.directories.insert(u64::from(number));
        }
        if number == RESIZE_INODE {
            return self.resize_inode(record, tally);
        }
        self.xattr(number, record, tally)?;
        self.file(number, record, tally)
    }

    fn file(
        &self,
        number: u32,
        record: &InodeRecord<&[u8]>,
        tally: &mut Tally<'_>,
    ) -> Result<(), Declined> {
        let map = self.reader().read(number, record)?;
        tally.file(BlockOwner::new(number, record), &map)?;
        if self.header.orphan_inode() == Some(number) {
            let names_inodes = self.header.has_filed_orphans();
            tally.orphan_file(BlockOwner::new(number, record), &map, names_inodes)?;
        }
        Ok(())
    }

    fn resize_inode(
        &self,
        record: &InodeRecord<&[u8]>,
        tally: &mut Tally<'_>,
    ) -> Result<(), Declined> {
        let Some(block) = resize_inode::check(self.medium, self.superblock, record)? else {
            return Ok(());
        };
        tally.claim(block, 1, Claimant::ResizeInode)?;
        tally.piece(block, 1, 0)?;
        tally.reference(
            block,
            Referrer::ResizeMap,
            BlockOwner::new(RESIZE_INODE, record),
        )
    }

    /// Looks at the attributes that don't fit the record. Several inodes may share them.
    fn xattr(
        &self,
        number: u32,
        record: &InodeRecord<&[u8]>,
        tally: &mut Tally<'_>,
    ) -> Result<(), Declined> {
        let bad = |fault| InconsistentKind::Inode { number, fault };
        let block = record.xattr_block();
        let first = u64::from(self.superblock.first_data_block);
        if block == 0 {
            return Ok(());
        }
        if !(first..self.superblock.block_count).contains(&block) {
            return Err(bad(InodeFault::XattrOutside).into());
        }
        if !tally.xattrs.insert(block) {
            return Ok(());
        }
        tally.claim(block, 1, Claimant::Xattrs)?;
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
            return Err(bad(InodeFault::XattrChecksum).into());
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
                return Err(InconsistentKind::MetadataShared(start).into());
            }
            all.insert_range(start, count);
        }
        for group in 0..superblock.group_count() {
            let first = superblock.group_first_block(group);
            let count = superblock.group_block_count(group);
            let bad = || InconsistentKind::BlockBitmap(group);
            let free = u64::from(self.descriptors.free_clusters(group));
            if all.count(first, count) + free * cluster != count {
                return Err(bad().into());
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
                return Err(bad().into());
            }
        }
        Ok(())
    }
}

/// Tells whether what the record of the inode `number`, which is in use, names is looked at, and
/// so has to be brought up to date. Reserved inodes that are no files may hold anything.
pub(crate) fn has_content<B: AsRef<[u8]>>(
    superblock: &Superblock,
    orphans: &Orphans,
    number: u32,
    record: &InodeRecord<B>,
) -> bool {
    if number == RESIZE_INODE {
        superblock.has_compat(feature::COMPAT_RESIZE_INODE)
    } else {
        record.is_linked() || orphans.hold(number) && record.mode() != 0
    }
}
