//! The inode tables: which inodes there are, which parts of the tables are not in use, and which
//! blocks inodes hold without content.

use cardkeep_block::{Extent, Monitor, ReadAt, Run, State};

use crate::block_walk::{Depth, Step};
use crate::effort::Effort;
use crate::error::{Error, UnsupportedKind};
use crate::file_blocks::walk_blocks;
use crate::filesystem::Ext4;
use crate::group::Group;
use crate::inode::{Inode, is_record_sound};
use crate::record::{FileExtent, InodeRecord};

/// Inode tables are read in pieces of this many bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// Sectors are unreadable one by one.
const SECTOR_BYTES: usize = 512;
/// Runs kept to tell which preallocated blocks hold no data; a card with more of them has all of
/// them copied. Each takes 24 bytes, three times over while they are sorted.
const CLAIMS_MAX: usize = 1 << 19;

/// Takes an inode in use and its whole record.
type VisitInode<'a> = &'a mut dyn FnMut(&Inode, &[u8]) -> Result<(), Error>;

impl<M: ReadAt> Ext4<M> {
    /// Returns the ends of the inode tables that hold no inode in use.
    pub(crate) fn unused_inode_tables(&self) -> Vec<Run> {
        self.groups
            .iter()
            .filter(|group| self.inode_bitmap(group).is_some())
            .map(|group| self.unused_inode_table(group))
            .filter(|run| !run.extent.is_empty())
            .collect()
    }

    fn unused_inode_table(&self, group: &Group) -> Run {
        let superblock = &self.superblock;
        let table = self.extent(group.inode_table, superblock.inode_table_block_count());
        let used = u64::from(group.used_inode_count(superblock));
        // Whole blocks only: a block is written as one.
        let used_blocks = (used * u64::from(superblock.inode_bytes)).div_ceil(self.block_bytes());
        let start = self.extent(group.inode_table, used_blocks).end();
        let state = if group.is_inode_table_zeroed() {
            State::Zero
        } else {
            State::Free
        };
        Run::new(Extent::between(start, table.end()), state)
    }

    /// Returns a group's inode bitmap (empty where no inode is in use), or `None` where it can't
    /// be believed: it has to agree with the descriptor about the unused end of the table.
    fn inode_bitmap(&self, group: &Group) -> Option<Vec<u8>> {
        if !group.is_trusted() {
            return None;
        }
        if group.has_no_inodes() {
            return Some(Vec::new());
        }
        let offset = group.inode_bitmap * self.block_bytes();
        // What can't be read can't be believed either.
        let bitmap = self.medium.read_vec(offset, self.block_bytes() as usize);
        let bitmap = bitmap.ok()?;
        let used = group.used_inode_count(&self.superblock);
        let mut unused = used..self.superblock.inodes_per_group;
        let is_sound = group.is_inode_bitmap_sound(&self.superblock, &bitmap)
            && !unused.any(|index| is_set(&bitmap, index));
        is_sound.then_some(bitmap)
    }

    /// Returns the preallocated blocks that hold no data, as far as the inodes themselves tell
    /// (deeper trees cost a read each and are taken for data). Only inodes that the bitmap knows
    /// and whose checksum is right may claim: tables hold the inodes of former filesystems too.
    pub(crate) fn unwritten_extents(&self, monitor: &dyn Monitor) -> Vec<Run> {
        let mut claims = Claims::default();
        for (number, group) in (0u32..).zip(&self.groups) {
            let Some(bitmap) = self.inode_bitmap(group) else {
                continue;
            };
            let scanned =
                self.for_each_inode_of(number, Gaps::Told, monitor, &mut |inode, record| {
                    let index = (inode.number - 1) % self.superblock.inodes_per_group;
                    if !is_set(&bitmap, index) {
                        return Ok(());
                    }
                    let is_sound = is_record_sound(&self.superblock, inode.number, record);
                    self.claim(inode, is_sound, &mut claims)
                });
            if scanned.is_err() || monitor.is_cancelled() {
                return Vec::new();
            }
        }
        claims.finish()
    }

    /// Adds an inode's own extents. A damaged one claims nothing; e2fsck, not a backup, has to
    /// judge it.
    fn claim(&self, inode: &Inode, is_sound: bool, claims: &mut Claims) -> Result<(), Error> {
        let mut found = Vec::new();
        let walked = walk_blocks(
            &self.medium,
            &self.superblock,
            inode,
            Depth::InodeOnly,
            &mut Effort::of_blocks(0),
            &mut |step| {
                found.extend(extent_of(step));
                Ok(())
            },
        );
        let may_claim = is_sound && walked.is_ok();
        for range in found {
            let extent = self.extent(range.physical, range.count);
            if !range.is_unwritten {
                claims.push(Run::new(extent, State::Used))?;
            } else if may_claim {
                claims.push(Run::new(extent, State::Free))?;
            }
        }
        Ok(())
    }

    /// Calls `visit` for each inode in use that can be read, in the order of the inode tables.
    pub(crate) fn for_each_inode(
        &self,
        monitor: &dyn Monitor,
        visit: VisitInode<'_>,
    ) -> Result<(), Error> {
        for number in 0..self.groups.len() {
            // Group numbers were checked to be few.
            self.for_each_inode_of(number as u32, Gaps::Skipped, monitor, visit)?;
        }
        Ok(())
    }

    fn for_each_inode_of(
        &self,
        number: u32,
        gaps: Gaps,
        monitor: &dyn Monitor,
        visit: VisitInode<'_>,
    ) -> Result<(), Error> {
        let superblock = &self.superblock;
        let group = &self.groups[number as usize];
        let inode_bytes = usize::from(superblock.inode_bytes);
        let per_batch = (BATCH_BYTES / inode_bytes) as u32;
        let used = group.used_inode_count(superblock);
        let before = u64::from(number) * u64::from(superblock.inodes_per_group);
        let mut index = 0;
        while index < used && !monitor.is_cancelled() {
            let count = per_batch.min(used - index);
            let offset = group.inode_table * self.block_bytes()
                + u64::from(index) * u64::from(superblock.inode_bytes);
            let bytes = self.read_table(offset, count as usize * inode_bytes, gaps)?;
            for (step, record) in (0u32..).zip(bytes.chunks_exact(inode_bytes)) {
                let own = before + u64::from(index + step) + 1;
                let own = u32::try_from(own).unwrap_or(u32::MAX);
                if own > superblock.inode_count {
                    return Ok(());
                }
                let inode = Inode::parse(superblock, own, &InodeRecord::new(record)?);
                if inode.is_in_use {
                    visit(&inode, record)?;
                }
            }
            index += count;
        }
        Ok(())
    }
}

impl<M: ReadAt> Ext4<M> {
    /// Reads a piece of an inode table. Sectors that are unreadable and may be skipped are zeros:
    /// inodes that are not in use.
    fn read_table(&self, offset: u64, size: usize, gaps: Gaps) -> Result<Vec<u8>, Error> {
        match (self.medium.read_vec(offset, size), gaps) {
            (Err(_), Gaps::Skipped) => {}
            (result, _) => return Ok(result?),
        }
        let mut bytes = vec![0; size];
        for (sector, offset) in bytes
            .chunks_mut(SECTOR_BYTES)
            .zip((offset..).step_by(SECTOR_BYTES))
        {
            if self.medium.read_at(offset, sector).is_err() {
                sector.fill(0);
            }
        }
        Ok(bytes)
    }
}

/// Returns the range of content that a step tells of: nothing else comes of inodes alone.
const fn extent_of(step: Step) -> Option<FileExtent> {
    match step {
        Step::Extent(extent) => Some(extent),
        Step::Tree(_) | Step::RefersTo(_) => None,
    }
}

/// What becomes of inodes that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaps {
    /// They are an error.
    Told,
    /// They are left out.
    Skipped,
}

/// What inodes say about blocks.
#[derive(Default)]
struct Claims {
    runs: Vec<Run>,
}

impl Claims {
    fn push(&mut self, run: Run) -> Result<(), Error> {
        if let Some(last) = self.runs.last_mut()
            && last.state == run.state
            && last.extent.end() == run.extent.start()
        {
            last.extent = Extent::between(last.extent.start(), run.extent.end());
            return Ok(());
        }
        if self.runs.len() >= CLAIMS_MAX {
            return Err(UnsupportedKind::Extents.into());
        }
        self.runs.push(run);
        Ok(())
    }

    /// Returns the layer to lay over the bitmaps: data wins where two inodes claim a block.
    fn finish(self) -> Vec<Run> {
        if self.runs.iter().all(|run| run.state == State::Used) {
            return Vec::new();
        }
        self.runs
    }
}

fn is_set(bitmap: &[u8], index: u32) -> bool {
    bitmap
        .get((index / 8) as usize)
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
