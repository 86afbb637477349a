//! The allocation map of an ext filesystem: what its bitmaps, inode tables and journal say about
//! every byte.
//!
//! ```text
//!   bitmaps                     Used or Free, by cluster; a group that contradicts itself: Used
//!   unwritten extents           Free     they read as zero whatever is there
//!   journal                     Zero     but for its superblock; a stale log could be replayed
//!   all groups' metadata        Used
//!   unused ends of inode tables Zero where the kernel zeroed them, else Free
//! ```
//!
//! Each line is laid over those above. Where one group contradicts itself, only the bitmaps and
//! the metadata count: what else would be claimed free rests on more of the filesystem than one
//! group. An unclean filesystem gets the more cautious of its maps before and after the journal is
//! replayed, and keeps its journal whole.

use cardkeep_block::{AllocationMap, Extent, Monitor, ReadAt, Run, State};

use crate::bitmap::Check;
use crate::error::{CorruptKind, Error, UnsupportedKind};
use crate::filesystem::Ext4;
use crate::journal::Journal;
use crate::superblock::feature;

impl<M: ReadAt> Ext4<M> {
    /// Returns the map of the medium's whole length. What lies behind the filesystem's end, and
    /// all that can't be proven free, is [`State::Used`]; the monitor hears why.
    ///
    /// # Errors
    /// [`Error`] where nothing can be proven: the caller then has to treat all as used.
    pub fn allocation_map(&self, monitor: &dyn Monitor) -> Result<AllocationMap, Error> {
        self.check_state()?;
        match self.sound_journal()? {
            Some(journal) if self.superblock.needs_recovery() => {
                self.map_with_log(&journal, monitor)
            }
            journal => self.map_at_rest(journal.as_ref(), monitor),
        }
    }

    /// Checks that nothing waits to be done before it may be changed: it was unmounted, no errors
    /// are noted on it, and its journal is empty.
    ///
    /// # Errors
    /// [`Error`] with what waits.
    pub fn check_at_rest(&self) -> Result<(), Error> {
        self.check_state()?;
        self.sound_journal()?;
        if self.is_from_copy() {
            return Err(CorruptKind::OnlyCopy.into());
        }
        if self.superblock.needs_recovery() {
            return Err(CorruptKind::JournalWaits.into());
        }
        if let Some(number) = self.groups.iter().position(|group| !group.is_trusted()) {
            return Err(CorruptKind::DescriptorChecksum(number as u64).into());
        }
        Ok(())
    }

    /// Returns the journal, where there is one; it holds a log where the superblock says so, and
    /// only there.
    pub(crate) fn sound_journal(&self) -> Result<Option<Journal>, Error> {
        let superblock = &self.superblock;
        let Some(journal) = self.journal()? else {
            if superblock.has_incompat(feature::INCOMPAT_RECOVER) {
                return Err(CorruptKind::NoJournal.into());
            }
            return Ok(None);
        };
        journal.check_state()?;
        if !superblock.needs_recovery() && !journal.is_empty() {
            // The kernel would drop the log, e2fsck replay it: two truths.
            return Err(CorruptKind::JournalUnasked.into());
        }
        Ok(Some(journal))
    }

    /// Tells whether the superblock vouches for the rest.
    pub(crate) fn check_state(&self) -> Result<(), Error> {
        // A copy knows no errors and no mounts. An empty journal and the checksums of today's
        // bitmaps prove as much; without them nothing does.
        let is_provable = self
            .superblock
            .has_ro_compat(feature::RO_COMPAT_METADATA_CSUM)
            && self.superblock.has_compat(feature::COMPAT_HAS_JOURNAL);
        if self.is_from_copy() && is_provable {
            return Ok(());
        }
        if self.is_from_copy() {
            return Err(CorruptKind::CopyProvesNothing.into());
        }
        if self.superblock.has_errors() {
            return Err(CorruptKind::ErrorsNoted.into());
        }
        if !self.superblock.is_marked_valid() {
            return Err(CorruptKind::NotClean.into());
        }
        Ok(())
    }

    /// The map of a filesystem that was unmounted.
    fn map_at_rest(
        &self,
        journal: Option<&Journal>,
        monitor: &dyn Monitor,
    ) -> Result<AllocationMap, Error> {
        let metadata = self.metadata()?;
        let bitmaps = self.bitmaps(Check::Counts, monitor);
        if !bitmaps.is_consistent {
            return Ok(bitmaps.map.raised(&metadata));
        }
        // A journal in blocks that count as free is nobody's.
        let is_used = |extent| {
            bitmaps
                .map
                .runs_in(extent)
                .all(|run| run.state == State::Used)
        };
        let log = journal
            .filter(|journal| journal.extents().all(is_used))
            .map(|journal| journal_log(journal, self.block_bytes()))
            .unwrap_or_default();
        Ok(bitmaps
            .map
            .replaced(&self.unwritten_extents(monitor))
            .replaced(&log)
            .raised(&metadata)
            .replaced(&self.unused_inode_tables()))
    }

    /// The map of a filesystem whose journal waits to be replayed.
    fn map_with_log(
        &self,
        journal: &Journal,
        monitor: &dyn Monitor,
    ) -> Result<AllocationMap, Error> {
        if journal.has_fast_commits() || self.superblock.has_compat(feature::COMPAT_FAST_COMMIT) {
            return Err(UnsupportedKind::FastCommits.into());
        }
        let before = self
            .bitmaps(Check::Nothing, monitor)
            .map
            .raised(&self.metadata()?);
        let replayed = self.replayed()?;
        replayed.check_state()?;
        let after = replayed
            .bitmaps(Check::Counts, monitor)
            .map
            .raised(&replayed.metadata()?);
        let whole: Vec<Run> = journal
            .extents()
            .map(|extent| Run::new(extent, State::Used))
            .collect();
        Ok(before.union(&after).raised(&whole))
    }

    /// Returns the fixed metadata of all groups.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where two pieces overlap: the descriptors can't be trusted then.
    pub(crate) fn metadata(&self) -> Result<Vec<Run>, Error> {
        let superblock = &self.superblock;
        let table = superblock.inode_table_block_count();
        let mut extents = Vec::with_capacity(self.groups.len() * 3);
        for (number, group) in (0u64..).zip(&self.groups) {
            let base = superblock.base_block_count(number);
            let base = base.min(superblock.group_block_count(number));
            extents.push(self.extent(superblock.group_first_block(number), base));
            extents.push(self.extent(group.block_bitmap, 1));
            extents.push(self.extent(group.inode_bitmap, 1));
            extents.push(self.extent(group.inode_table, table));
        }
        extents.retain(|extent| !extent.is_empty());
        extents.sort_unstable();
        if let Some(pair) = extents.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
            let place = pair[1];
            return Err(CorruptKind::MetadataOverlaps(place).into());
        }
        Ok(extents
            .into_iter()
            .map(|extent| Run::new(extent, State::Used))
            .collect())
    }
}

/// Returns the journal without its superblock, which keeps its content.
fn journal_log(journal: &Journal, block_bytes: u64) -> Vec<Run> {
    journal
        .extents()
        .enumerate()
        .map(|(index, extent)| {
            let skip = if index == 0 { block_bytes } else { 0 };
            let log = Extent::between(extent.start() + skip, extent.end());
            Run::new(log, State::Zero)
        })
        .collect()
}
