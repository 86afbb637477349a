//! A medium one of whose filesystems is made larger, to fill the medium or a part of it.

use std::sync::Arc;

use cardkeep_block::{
    AllocationMap, Cached, Extent, MapBuilder, Monitor, Patch, Patches, ReadAt, State,
};
use cardkeep_ext4::Ext4;
use cardkeep_ptable::{Resize, Shift};
use cardkeep_survey::Survey;

use super::candidate::{Access, AtRest, Candidate};
use super::moved::{Moved, Relocation};
use super::view::ResizedMedium;
use crate::declined::Declined;
use crate::grow::{self, Grown};

/// How far, and by what means, a medium is filled.
#[derive(Clone, Copy, Debug)]
pub struct Growth<'a> {
    /// The size in bytes of the sectors that the partition table counts in.
    pub sector_bytes: u32,
    /// How many bytes of the medium are to be filled.
    pub len: u64,
    /// How the medium can be read.
    pub access: Access,
    /// What is known of it, which saves looking for filesystems.
    pub survey: Option<&'a Survey>,
}

/// What makes a filesystem of a medium larger. The partition table is left to
/// [`cardkeep_ptable::fitted`] with [`Larger::resize`], or to [`cardkeep_ptable::fitted_with_shift`]
/// with [`Larger::shift`].
#[derive(Clone, Debug)]
pub struct Larger {
    /// The number of the partition; 0 where there is no partition table.
    pub number: u32,
    /// The filesystem's label.
    pub label: Option<String>,
    /// Where the partition lies once it has grown.
    pub extent: Extent,
    /// How many bytes its filesystem had and will have.
    pub fs_bytes: (u64, u64),
    /// What changes outside of the partition table, by places on the medium.
    pub patches: Vec<Patch>,
    /// The medium to read in place of the old one, where the filesystem had to be recovered first or
    /// something moves.
    pub content: Option<Arc<ResizedMedium>>,
    /// The partitions that lie behind it and move.
    pub moved: Vec<Moved>,
    /// Where partitions have to end because the table can't describe more, where that keeps the
    /// filesystem from filling what it was to fill.
    pub table_limit: Option<u64>,
    /// The map of the partition, where its filesystem had to be recovered first.
    recovered: Option<AllocationMap>,
    relocation: Option<Relocation>,
    /// How long the partition was.
    old_len: u64,
    grown: Grown,
}

impl Larger {
    /// Returns what the partition table has to change where nothing moves; `None` where there is
    /// none.
    #[must_use]
    pub fn resize(&self) -> Option<Resize> {
        (self.number > 0 && self.relocation.is_none()).then_some(Resize {
            number: self.number,
            len: self.extent.len(),
        })
    }

    /// Returns how what lies behind the partition moves; `None` where nothing does.
    #[must_use]
    pub fn shift(&self) -> Option<Shift> {
        self.relocation.as_ref().map(|own| own.shift)
    }

    /// Returns the map of the medium, which ends with the last partition; `old` is the map from
    /// before.
    #[must_use]
    pub fn map(&self, old: &AllocationMap) -> AllocationMap {
        let start = self.extent.start();
        let end = self.relocation.as_ref().map(Relocation::new_end);
        let mut builder = MapBuilder::new(end.unwrap_or(self.extent.end()));
        for run in old.runs_in(Extent::between(0, start.min(old.len()))) {
            builder.push_to(run.extent.end(), run.state);
        }
        builder.push_to(self.extent.end(), State::Free);
        if let Some(relocation) = &self.relocation {
            relocation.push_runs(&mut builder, old);
        }
        let partition = match &self.recovered {
            Some(map) => map.clone(),
            None => self.of_partition(old),
        };
        let grown = self.grown.map(&partition, self.extent.len());
        builder.finish(State::Free).with_inner(start, &grown)
    }

    /// Returns the part of `old` that is the partition's.
    fn of_partition(&self, old: &AllocationMap) -> AllocationMap {
        let start = self.extent.start();
        let mut builder = MapBuilder::new(self.old_len);
        let end = start.saturating_add(self.old_len).min(old.len());
        for run in old.runs_in(Extent::between(start.min(end), end)) {
            builder.push_to(run.extent.end() - start, run.state);
        }
        builder.finish(State::Free)
    }
}

/// Plans how a filesystem of `medium` comes to fill a medium of another length; `None` where it does
/// already. A filesystem that was not unmounted is recovered on the way. Reads the partition table,
/// and of the filesystem what [`grow::plan`] does; where several could grow, also what tells the
/// system's from the others.
///
/// # Errors
/// [`Declined`] where that can't be done safely; the medium can be copied as it is then.
pub fn larger(
    medium: &Arc<dyn ReadAt>,
    growth: Growth<'_>,
    monitor: &dyn Monitor,
) -> Result<Option<Larger>, Declined> {
    let Growth {
        sector_bytes,
        access,
        survey,
        ..
    } = growth;
    let mut first = None;
    for candidate in Candidate::all(medium, sector_bytes, survey, access)? {
        match candidate.larger(medium, growth, monitor) {
            Ok(larger) => return Ok(larger),
            Err(declined) if monitor.is_cancelled() => return Err(declined),
            Err(declined) => first = first.or(Some(declined)),
        }
    }
    Err(first.unwrap_or(Declined::NoPartition))
}

impl Candidate {
    fn larger(
        &self,
        medium: &Arc<dyn ReadAt>,
        growth: Growth<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Option<Larger>, Declined> {
        // A partition that ends behind what its table can say stays as it is.
        let room = self.room(growth.len).max(self.extent.len());
        if room == self.extent.len() && self.behind.is_some() {
            return Ok(None);
        }
        if let (Some(behind), Access::FromBeginning) = (self.behind, growth.access) {
            let number = self.number;
            return Err(Declined::Behind { number, behind });
        }
        self.check_errors(medium)?;
        let at_rest = self.at_rest(medium)?;
        let fs = Ext4::load(Cached::new(&at_rest))?;
        let grown = grow::plan(&Cached::new(&at_rest), room)?;
        // Nothing is moved, and no partition made longer, for what its filesystem can't use.
        if grown.len == grown.old_len && (room == self.extent.len() || self.behind.is_some()) {
            return Ok(None);
        }
        let recovered = match self.is_clean(medium)? {
            true => None,
            false => Some(fs.allocation_map(monitor)?),
        };
        drop(fs);
        let start = self.extent.start();
        let extent = Extent::between(start, start.saturating_add(room));
        let relocation = self.relocation(medium, room)?;
        let patches = grown.patches.iter();
        let patches = patches.map(|patch| Patch::new(start + patch.offset, patch.bytes.clone()));
        let of_moved = relocation.iter().flat_map(|own| own.patches.clone());
        let patches = patches.chain(of_moved).collect();
        let content = match (&relocation, &recovered) {
            (None, None) => None,
            (moved, _) => Some(self.content(medium, at_rest, moved.as_ref())),
        };
        let limit = self.table_limit();
        Ok(Some(Larger {
            number: self.number,
            label: self.label.clone(),
            extent,
            fs_bytes: (grown.old_len, grown.len),
            patches,
            content: content.map(Arc::new),
            moved: relocation
                .iter()
                .flat_map(|own| own.moved.clone())
                .collect(),
            table_limit: limit.filter(|&limit| limit < growth.len),
            recovered,
            relocation,
            old_len: self.extent.len(),
            grown,
        }))
    }

    /// Returns what is read in place of `medium`, but for the patches.
    fn content(
        &self,
        medium: &Arc<dyn ReadAt>,
        at_rest: AtRest,
        moved: Option<&Relocation>,
    ) -> ResizedMedium {
        let len = moved.map_or(medium.len(), Relocation::new_end);
        let fs = (self.extent.start(), Box::new(at_rest) as Box<dyn ReadAt>);
        let view = ResizedMedium::new(Arc::clone(medium), fs, Patches::default(), len);
        match moved {
            Some(moved) => view.with_shift(moved.shift),
            None => view,
        }
    }

    /// Plans to move what lies behind the partition, where it gets `len` bytes.
    pub(super) fn relocation(
        &self,
        medium: &Arc<dyn ReadAt>,
        len: u64,
    ) -> Result<Option<Relocation>, Declined> {
        match (self.shift(len), &self.table) {
            (Some(shift), Some(table)) => {
                Relocation::new(medium, table, shift, self.last_end).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Tells whether nothing waits in the filesystem's journal.
    fn is_clean(&self, medium: &Arc<dyn ReadAt>) -> Result<bool, Declined> {
        let fs = Ext4::load(self.slice(medium))?;
        Ok(!fs.superblock().needs_recovery())
    }
}
