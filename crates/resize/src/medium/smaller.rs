//! A medium one of whose filesystems is made smaller, and which ends with it or with what lies behind
//! it.

use std::sync::Arc;

use cardkeep_block::{
    AllocationMap, Cached, Extent, MapBuilder, Monitor, Patches, ReadAt, Run, State,
};
use cardkeep_ext4::Ext4;
use cardkeep_ptable::{Fitted, Resize, Shift, fitted, fitted_with_shift, needed_len};
use cardkeep_survey::{Survey, TableState};

use super::candidate::{Access, Candidate};
use super::moved::{Moved, Relocation};
use super::view::ResizedMedium;
use crate::declined::Declined;
use crate::shrink::{self, ShrinkPlan, Wanted};

/// How short a medium should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As short as can be, with so many thousandths of the filesystem's smallest size more.
    Smallest {
        /// Of the filesystem's smallest size.
        margin_per_mille: u32,
    },
    /// At most so many bytes in all; no shorter than that needs.
    AtMost(u64),
    /// Just so many bytes: a card that is there.
    Exactly(u64),
}

impl Length {
    /// Returns the length that was named.
    const fn limit(self) -> Option<u64> {
        match self {
            Self::Smallest { .. } => None,
            Self::AtMost(len) | Self::Exactly(len) => Some(len),
        }
    }
}

/// A medium that is shorter than the one it is seen through.
#[derive(Clone, Debug)]
pub struct Smaller {
    /// The shorter medium.
    pub view: Arc<ResizedMedium>,
    /// What it is.
    pub shrunk: Shrunk,
}

/// What a shorter medium is: the original without a filesystem's free blocks.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is on it.
    pub survey: Survey,
    /// The number of the partition that became smaller; 0 where there is no partition table.
    pub number: u32,
    /// Its filesystem's label.
    pub label: Option<String>,
    /// The partitions that lie behind it and have moved.
    pub moved: Vec<Moved>,
    /// How many bytes its filesystem had.
    pub old_fs_bytes: u64,
    /// How many bytes its filesystem has.
    pub fs_bytes: u64,
    /// How many of them no file takes.
    pub free_bytes: u64,
    /// How many bytes move to another place.
    pub moved_bytes: u64,
    /// How many bytes behind the last partition were kept for caution and have no place any more.
    pub left_out_bytes: u64,
}

/// Plans to make `medium` shorter by making a filesystem on it smaller; `survey` says what is on it.
/// A filesystem that was not unmounted is recovered on the way. Reads the filesystem's own
/// bookkeeping, inodes and trees.
///
/// # Errors
/// [`Declined`] where that can't be done safely; the medium can be copied as it is then.
pub fn smaller(
    medium: &Arc<dyn ReadAt>,
    survey: &Survey,
    wanted: Length,
    monitor: &dyn Monitor,
) -> Result<Smaller, Declined> {
    let all = Candidate::all(medium, survey.sector_bytes, Some(survey), Access::Anywhere)?;
    let mut best: Option<Declined> = None;
    for candidate in all {
        let declined = match candidate.smaller(medium, survey, wanted, monitor) {
            Ok(smaller) => return Ok(smaller),
            Err(declined) => declined,
        };
        if monitor.is_cancelled() {
            return Err(declined);
        }
        // The shortest length of all is the one to tell.
        best = match (best, declined) {
            (None, declined) => Some(declined),
            (Some(Declined::TooShort { least: one, .. }), Declined::TooShort { wanted, least }) => {
                let least = least.min(one);
                Some(Declined::TooShort { wanted, least })
            }
            (best, _) => best,
        };
    }
    Err(best.unwrap_or(Declined::NoPartition))
}

impl Candidate {
    fn smaller(
        &self,
        medium: &Arc<dyn ReadAt>,
        survey: &Survey,
        wanted: Length,
        monitor: &dyn Monitor,
    ) -> Result<Smaller, Declined> {
        self.check_errors(medium)?;
        let at_rest = self.at_rest(medium)?;
        let fs = Ext4::load(Cached::new(&at_rest))?;
        let block_bytes = u64::from(fs.superblock().block_bytes);
        let old_fs_bytes = fs.info().len;
        let blocks = self.blocks(wanted, old_fs_bytes, block_bytes)?;
        let plan = shrink::plan(&fs, blocks, monitor)
            .map_err(|declined| self.in_own_measure(declined, wanted, block_bytes))?;
        drop(fs);
        let end = self.end(medium, plan.len(), wanted)?;
        let map = end.map(&survey.map, self, &plan);
        let own = self.survey(survey, (&map, &end), &plan);
        let view = plan.view(at_rest);
        let mut patches = end.fitted.patches.clone();
        patches.extend(end.relocation.iter().flat_map(|own| own.patches.clone()));
        let fs = (self.extent.start(), Box::new(view) as Box<dyn ReadAt>);
        let view = ResizedMedium::new(Arc::clone(medium), fs, Patches::new(patches), end.len);
        let shift = end.relocation.as_ref().map(|own| own.shift);
        let moved = end.relocation.iter().flat_map(|own| own.moved.clone());
        let shrunk = Shrunk {
            survey: own,
            number: self.number,
            label: self.label.clone(),
            moved: moved.collect(),
            old_fs_bytes,
            fs_bytes: plan.len(),
            free_bytes: plan.free_block_count().saturating_mul(block_bytes),
            moved_bytes: plan.moved_block_count().saturating_mul(block_bytes),
            left_out_bytes: self.left_out_bytes(&survey.map),
        };
        Ok(Smaller {
            view: Arc::new(view.with_shift(shift.unwrap_or_default())),
            shrunk,
        })
    }
}

/// Where the shorter medium ends, and what its partition table needs there.
struct End {
    len: u64,
    /// How long the partition is.
    partition_len: u64,
    fitted: Fitted,
    relocation: Option<Relocation>,
}

impl Candidate {
    /// Returns how many blocks to plan for.
    fn blocks(&self, wanted: Length, old_len: u64, block_bytes: u64) -> Result<Wanted, Declined> {
        match wanted {
            Length::Smallest { margin_per_mille } => Ok(Wanted::Smallest { margin_per_mille }),
            Length::AtMost(len) | Length::Exactly(len) => {
                match self.room(len).min(old_len) / block_bytes {
                    0 => Err(Declined::TooShort {
                        wanted: len,
                        least: self.medium_len(self.len_for(block_bytes)),
                    }),
                    blocks => Ok(Wanted::Blocks(blocks)),
                }
            }
        }
    }

    /// Returns the answer to a medium that was asked to be too short in its own measure.
    fn in_own_measure(&self, declined: Declined, wanted: Length, block_bytes: u64) -> Declined {
        match (declined, wanted.limit()) {
            (Declined::Impossible { least, .. }, Some(len)) => {
                let least = self.len_for(least.saturating_mul(block_bytes));
                let least = self.medium_len(least);
                Declined::TooShort { wanted: len, least }
            }
            (declined, _) => declined,
        }
    }

    /// Returns how long a medium is on which the partition has `len` bytes.
    fn medium_len(&self, len: u64) -> u64 {
        let Some(table) = &self.table else { return len };
        let len = match self.shift(len) {
            Some(shift) => table.shifted(shift).map(|table| needed_len(&table, &[])),
            None => {
                let number = self.number;
                Some(needed_len(table, &[Resize { number, len }]))
            }
        };
        len.unwrap_or(u64::MAX)
    }

    fn end(&self, medium: &Arc<dyn ReadAt>, fs_len: u64, wanted: Length) -> Result<End, Declined> {
        let partition_len = match wanted {
            Length::Exactly(len) => self.room(len).min(self.extent.len()),
            _ => self.len_for(fs_len),
        };
        let Some(table) = &self.table else {
            let len = partition_len.min(medium.len());
            return Ok(End {
                len,
                partition_len: len,
                fitted: Fitted::default(),
                relocation: None,
            });
        };
        let least = self.medium_len(partition_len);
        if let Some(wanted) = wanted.limit().filter(|&wanted| wanted < least) {
            return Err(Declined::TooShort { wanted, least });
        }
        let len = match wanted {
            Length::Exactly(len) => len,
            _ => least,
        };
        let relocation = self.relocation(medium, partition_len)?;
        let fitted = match &relocation {
            Some(own) => fitted_with_shift(medium, table, own.shift, len)?,
            None => {
                let resize = Resize {
                    number: self.number,
                    len: partition_len,
                };
                fitted(medium, table, len, &[resize])?
            }
        };
        Ok(End {
            len,
            partition_len,
            fitted,
            relocation,
        })
    }

    /// Returns how many bytes behind the last partition are used by something else than the table.
    fn left_out_bytes(&self, map: &AllocationMap) -> u64 {
        let end = match self.behind {
            Some(_) => self.last_end,
            None => self.extent.end(),
        };
        let behind = Extent::between(end, u64::MAX);
        let used = map.runs_in(behind).filter(|run| run.state == State::Used);
        let table = self.table.iter().flat_map(|table| &table.metadata);
        let table = table.map(|extent| extent.intersection(behind).len());
        let used: u64 = used.map(|run| run.extent.len()).sum();
        used.saturating_sub(table.sum())
    }

    /// Returns what is on the shorter medium.
    fn survey(
        &self,
        old: &Survey,
        (map, end): (&AllocationMap, &End),
        plan: &ShrinkPlan,
    ) -> Survey {
        let mut own = old.clone();
        own.len = map.len();
        own.table_state = TableState::Shown;
        own.map = map.clone();
        own.gaps.retain(|gap| {
            let is_moved = gap.extent.start() >= self.extent.end() && self.behind.is_some();
            gap.extent.end() <= self.extent.start()
                || (is_moved && gap.extent.end() <= self.last_end)
        });
        let shift = end.relocation.as_ref().map(|own| own.shift);
        move_all(&mut own, shift.unwrap_or_default());
        let inner = plan.allocation_map();
        if let Some(last) = own.partitions.iter_mut().find(|p| p.number == self.number) {
            let len = end.partition_len;
            let end = last.extent.start().saturating_add(len);
            last.extent = Extent::between(last.extent.start(), end);
            last.used_bytes = inner.bytes(State::Used);
            last.zero_bytes = inner.bytes(State::Zero);
            last.free_bytes = len.saturating_sub(last.used_bytes + last.zero_bytes);
            if let Some(summary) = last.content.filesystem_mut() {
                summary.len = plan.len();
                summary.free_bytes = plan.free_block_count() * u64::from(plan.block_bytes());
                summary.is_clean = true;
            }
        }
        own
    }
}

/// Moves the partitions and gaps of a survey to where they lie now.
fn move_all(survey: &mut Survey, shift: Shift) {
    let moved = |extent: Extent| shift.extent(extent).unwrap_or_default();
    for gap in &mut survey.gaps {
        gap.extent = moved(gap.extent);
        gap.skipped = moved(gap.skipped);
    }
    let behind = survey.partitions.iter_mut();
    for partition in behind.filter(|partition| partition.extent.start() >= shift.from) {
        partition.extent = moved(partition.extent);
    }
}

impl End {
    /// Returns the map of the shorter medium.
    fn map(&self, old: &AllocationMap, own: &Candidate, plan: &ShrinkPlan) -> AllocationMap {
        let start = own.extent.start();
        let mut builder = MapBuilder::new(self.len);
        for run in old.runs_in(Extent::between(0, start.min(self.len))) {
            builder.push_to(run.extent.end(), run.state);
        }
        let whole = Extent::between(0, self.len);
        let stale = self.fitted.stale.iter().map(|e| e.intersection(whole));
        let mut stale: Vec<Run> = stale.map(|e| Run::new(e, State::Free)).collect();
        if let Some(relocation) = &self.relocation {
            builder.push_to(relocation.new_start(), State::Free);
            relocation.push_runs(&mut builder, old);
            // What moved may lie there now, and nothing else is taken from the old medium's end.
            stale.clear();
        }
        let table = self.fitted.metadata.iter();
        let table: Vec<Run> = table.map(|&e| Run::new(e, State::Used)).collect();
        debug_assert!(
            start + self.partition_len <= self.len,
            "it ends behind the partition"
        );
        builder
            .finish(State::Free)
            .replaced(&stale)
            .with_inner(start, plan.allocation_map())
            .raised(&table)
    }
}
