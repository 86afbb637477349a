//! An ext filesystem that passes by once, in address order: its groups are judged one by one, each
//! as soon as its block bitmap has come by.
//!
//! ```text
//!   superblock, descriptors   ->  where all bitmaps and the journal's inode lie
//!   a group's block bitmap    ->  which of its blocks are free
//!   the journal's inode       ->  where the journal begins; nothing is free before it is known
//!   the journal's superblock  ->  that the log is empty; else nothing is free from here on
//! ```
//!
//! Nothing refines the bitmaps here: preallocated blocks, the log and the unused ends of inode
//! tables stay used, which is always safe.
//!
//! **Before the journal's superblock has come by**, the filesystem's own superblock has to do. The
//! kernel sets `needs_recovery` before it writes the first transaction, and takes it away only
//! after the log is empty on the medium (`ext4_setup_super`, `ext4_put_super` and
//! `ext4_mark_recovery_complete` in fs/ext4/super.c); where it is not set, a mount drops the log
//! unread (`ext4_load_journal` calls `jbd2_journal_wipe`). Only e2fsck would offer to replay such
//! a log. So a filesystem without the flag is at rest for every mount, and one whose log
//! turns out to be filled all the same was altered by other means:
//! [`PassingGroups::learn_journal`] tells the caller, who may have left out blocks by then.

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, MapBuilder, Operation, ReadAt, Run, Silent,
    State,
};

use crate::bitmap::{Bits, push_bits};
use crate::error::{CorruptKind, Error, UnsupportedKind};
use crate::filesystem::{Ext4, Info};
use crate::group::load_groups;
use crate::inode::{Inode, inode_offset};
use crate::journal::Journal;
use crate::record::{BlockMap, InodeRecord, Mapping};
use crate::superblock::{Superblock, feature};

/// What memory may be spent on descriptors: about 10 MiB. 8 TB in blocks of 4 KiB.
const GROUPS_MAX: u64 = 1 << 16;
/// How much of an inode is decoded.
const INODE_BYTES: u64 = 128;

/// What is known of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its bitmap has not come by, or can't be believed.
    Used,
    /// Its bitmap is what the layout implies.
    Implied,
    /// Its bitmap came by and agrees with its descriptor.
    Believed,
}

/// What is known of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    /// There is one, but its inode has not come by.
    Unknown,
    /// It begins at a known block that has not come by.
    Placed,
    /// It is empty, or there is none.
    Empty,
    /// It can't be told, or contradicts the superblock.
    Distrusted,
}

/// The block groups of a filesystem at rest, judged one by one.
#[derive(Debug)]
pub struct PassingGroups {
    fs: Ext4<Elsewhere>,
    metadata: AllocationMap,
    verdicts: Vec<Verdict>,
    log: Log,
}

impl PassingGroups {
    /// Returns how many bytes from the filesystem's beginning on hold its superblock and its group
    /// descriptors. Reads the superblock only.
    ///
    /// # Errors
    /// As [`Ext4::load`]; [`Error::Unsupported`] for meta block groups, whose descriptors are
    /// spread all over the filesystem, and for more groups than fit memory.
    pub fn head_bytes(medium: &impl ReadAt) -> Result<u64, Error> {
        let superblock = Superblock::load(medium)?;
        if superblock.has_incompat(feature::INCOMPAT_META_BG) {
            return Err(UnsupportedKind::ScatteredDescriptors.into());
        }
        if superblock.group_count() > GROUPS_MAX {
            return Err(UnsupportedKind::Groups.into());
        }
        let count = superblock
            .group_count()
            .div_ceil(superblock.descriptors_per_block());
        // Descriptors lie in blocks one after the other; the superblock ends before them.
        Ok(superblock
            .descriptor_block(count)
            .saturating_mul(u64::from(superblock.block_bytes)))
    }

    /// Reads what [`PassingGroups::head_bytes`] asked for. No group is judged yet, but for those
    /// whose bitmap is implied.
    ///
    /// # Errors
    /// As [`PassingGroups::head_bytes`], and [`Error::Corrupt`] where the filesystem is not at
    /// rest: all of it is used then.
    pub fn load(medium: &impl ReadAt) -> Result<Self, Error> {
        Self::head_bytes(medium)?;
        let superblock = Superblock::load(medium)?;
        let groups = load_groups(medium, &superblock)?;
        let has_journal = superblock.has_compat(feature::COMPAT_HAS_JOURNAL);
        if superblock.has_incompat(feature::INCOMPAT_RECOVER) {
            return Err(CorruptKind::NotUnmounted.into());
        }
        if has_journal && superblock.journal_device != 0 {
            return Err(UnsupportedKind::ExternalJournal.into());
        }
        let fs = Ext4 {
            medium: Elsewhere { len: medium.len() },
            superblock,
            groups,
            is_from_copy: false,
        };
        fs.check_state()?;
        let metadata = AllocationMap::all(fs.superblock.len(), State::Free).raised(&fs.metadata()?);
        let verdicts = (0..fs.groups.len())
            .map(|number| {
                let is_implied = fs.groups[number].is_bitmap_implied()
                    && fs.judged(number, Ok(Vec::new())).is_ok();
                if is_implied {
                    Verdict::Implied
                } else {
                    Verdict::Used
                }
            })
            .collect();
        Ok(Self {
            fs,
            metadata,
            verdicts,
            log: if has_journal {
                Log::Unknown
            } else {
                Log::Empty
            },
        })
    }

    /// Returns what there is to say about the filesystem.
    #[must_use]
    pub fn info(&self) -> Info {
        self.fs.info()
    }

    /// Returns the indices of the groups whose bitmaps are written, and where those lie.
    pub fn bitmaps(&self) -> impl Iterator<Item = (usize, Extent)> + '_ {
        let groups = self.fs.groups.iter().enumerate();
        groups
            .filter(|(_, group)| !group.is_bitmap_implied())
            .map(|(index, group)| (index, self.fs.extent(group.block_bitmap, 1)))
    }

    /// Judges group `index` by its bitmap, which can be read from `medium` now.
    pub fn learn_bitmap(&mut self, index: usize, medium: &impl ReadAt) {
        let Some(group) = self.fs.groups.get(index) else {
            return;
        };
        let place = self.fs.extent(group.block_bitmap, 1);
        let bitmap = medium.read_vec(place.start(), self.fs.superblock.block_bytes as usize);
        if let Ok(Bits::Read(_)) = self.fs.judged(index, bitmap.map_err(Error::from)) {
            self.verdicts[index] = Verdict::Believed;
        }
    }

    /// Returns where the journal's inode lies; `None` without a journal.
    #[must_use]
    pub fn journal_inode(&self) -> Option<Extent> {
        if self.log == Log::Empty {
            return None;
        }
        let superblock = &self.fs.superblock;
        // A number that names no inode is found by who reads it.
        let start = inode_offset(superblock, &self.fs.groups, superblock.journal_inode).ok()?;
        Extent::new(start, INODE_BYTES)
    }

    /// Learns from the journal's inode, which can be read from `medium` now, where the journal's
    /// superblock lies; `None` where that can't be told, and nothing is free then.
    pub fn learn_journal_inode(&mut self, medium: &impl ReadAt) -> Option<Extent> {
        let place = self.journal_start(medium);
        self.log = match place {
            Some(_) => Log::Placed,
            None => Log::Distrusted,
        };
        place
    }

    fn journal_start(&self, medium: &impl ReadAt) -> Option<Extent> {
        let superblock = &self.fs.superblock;
        let inode = self.load_journal_inode(medium)?;
        let block = match Journal::ranges(medium, superblock, &inode) {
            Ok((ranges, _)) => ranges.first()?.physical,
            // Lists of single blocks (ext3) continue elsewhere; the first one stands in the inode.
            // That the others are in order is not checked then.
            Err(Error::Io(_)) if inode.mapping == Mapping::Indirect => {
                let map = BlockMap::new(&inode.block_field).ok()?;
                u64::from(map.get(0)).max(1)
            }
            Err(_) => return None,
        };
        let is_inside = block < superblock.block_count;
        is_inside.then(|| self.fs.extent(block, 1))
    }

    fn load_journal_inode(&self, medium: &impl ReadAt) -> Option<Inode> {
        let place = self.journal_inode()?;
        // What can't be read tells nothing, and the caller takes all for used.
        let bytes = medium.read_vec(place.start(), INODE_BYTES as usize).ok()?;
        let superblock = &self.fs.superblock;
        let record = InodeRecord::new(bytes).ok()?;
        Some(Inode::parse(superblock, superblock.journal_inode, &record))
    }

    /// Learns whether the log is empty from the journal's superblock, which can be read from
    /// `medium` now.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the log is not empty or can't be told, against what the
    /// filesystem's superblock says: nothing is free from here on, and what was called free
    /// before may not be.
    pub fn learn_journal(&mut self, medium: &impl ReadAt) -> Result<(), Error> {
        let checked = self.check_journal(medium);
        self.log = match checked {
            Ok(()) => Log::Empty,
            Err(_) => Log::Distrusted,
        };
        checked
    }

    fn check_journal(&self, medium: &impl ReadAt) -> Result<(), Error> {
        let superblock = &self.fs.superblock;
        let (inode, place) = self
            .load_journal_inode(medium)
            .zip(self.journal_start(medium))
            .ok_or(CorruptKind::JournalLost)?;
        let bytes = medium.read_vec(place.start(), superblock.block_bytes as usize)?;
        let (ranges, block_count) = match Journal::ranges(medium, superblock, &inode) {
            Ok(found) => found,
            // Its length lies elsewhere, and is not what matters here.
            Err(Error::Io(_)) => (Vec::new(), u64::from(u32::MAX)),
            Err(error) => return Err(error),
        };
        let journal = Journal::parse(&bytes, ranges, block_count)?;
        journal.check_state()?;
        if !journal.is_empty() {
            return Err(CorruptKind::JournalUnasked.into());
        }
        Ok(())
    }

    /// Calls nothing free from here on: what the journal's superblock says can't be known.
    pub(crate) fn distrust_journal(&mut self) {
        self.log = Log::Distrusted;
    }

    /// Returns the states of the bytes in `window`, which they tile: free where a believed bitmap
    /// says so, else used. The bitmaps that were learnt are read from `medium` again.
    pub fn runs(&self, medium: &impl ReadAt, window: Extent) -> Vec<Run> {
        if window.is_empty() {
            return Vec::new();
        }
        let inside = window.intersection(Extent::between(0, self.fs.superblock.len()));
        let is_trusted = matches!(self.log, Log::Placed | Log::Empty);
        if !is_trusted || inside.is_empty() {
            return vec![Run::new(window, State::Used)];
        }
        let map = self.judged_map(medium, inside);
        let metadata: Vec<Run> = self
            .metadata
            .runs_in(inside)
            .filter(|run| run.state == State::Used)
            .collect();
        let mut runs: Vec<Run> = map.raised(&metadata).runs_in(inside).collect();
        if inside.end() < window.end() {
            let rest = Extent::between(inside.end(), window.end());
            runs.push(Run::new(rest, State::Used));
        }
        runs
    }

    /// Returns a map that is right within `window`, by the bitmaps alone.
    fn judged_map(&self, medium: &impl ReadAt, window: Extent) -> AllocationMap {
        let superblock = &self.fs.superblock;
        let mut builder = MapBuilder::new(window.end());
        builder.push_to(window.start(), State::Used);
        let block = window.start() / self.fs.block_bytes();
        let within = block.saturating_sub(u64::from(superblock.first_data_block));
        let mut number = within / u64::from(superblock.blocks_per_group);
        while let Some(&verdict) = self.verdicts.get(number as usize) {
            let first = superblock.group_first_block(number);
            let group = self.fs.extent(first, superblock.group_block_count(number));
            if group.start() >= window.end() {
                break;
            }
            builder.push_to(group.start(), State::Used);
            match verdict {
                Verdict::Used => builder.push_to(group.end(), State::Used),
                Verdict::Implied => {
                    let bits = Ok(Bits::Implied);
                    self.fs
                        .push_group(&mut builder, number as usize, bits, &Silent);
                }
                Verdict::Believed => {
                    let part = group.intersection(window);
                    self.push_bitmap(&mut builder, number, (group, part), medium);
                }
            }
            number += 1;
        }
        builder.finish(State::Used)
    }

    /// Appends a part of a group by its bitmap, of which just the bits for it are read.
    fn push_bitmap(
        &self,
        builder: &mut MapBuilder,
        number: u64,
        (group, part): (Extent, Extent),
        medium: &impl ReadAt,
    ) {
        let cluster_bytes = u64::from(self.fs.superblock.cluster_blocks) * self.fs.block_bytes();
        let byte_bytes = cluster_bytes * 8;
        let start = (part.start() - group.start()) / byte_bytes;
        let end = (part.end() - group.start()).div_ceil(byte_bytes);
        let bitmap = self.fs.groups[number as usize].block_bitmap * self.fs.block_bytes();
        // A group has at most eight bits for each byte of a block: the length is bounded by that.
        let Ok(bits) = medium.read_vec(bitmap + start, (end - start) as usize) else {
            return builder.push_to(part.end(), State::Used);
        };
        let count = self.fs.cluster_count(number).saturating_sub(start * 8);
        let count = count.min((end - start) * 8);
        let mut own = MapBuilder::new(part.end());
        own.push_to(group.start() + start * byte_bytes, State::Used);
        push_bits(&mut own, &bits, count, cluster_bytes, part.end());
        for run in own.finish(State::Used).runs_in(part) {
            builder.push_to(run.extent.end(), run.state);
        }
    }
}

/// A medium of which nothing but its length is at hand.
#[derive(Clone, Copy, Debug)]
struct Elsewhere {
    len: u64,
}

impl ReadAt for Elsewhere {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let place = Extent::between(offset, offset.saturating_add(buffer.len() as u64));
        Err(BlockError::new(BlockErrorKind::ShortRead, Operation::Read).at(place))
    }
}
