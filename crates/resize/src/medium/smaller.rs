//! A medium whose last filesystem is made smaller, and which ends with it.

use std::sync::Arc;

use cardkeep_block::{
    AllocationMap, Cached, Extent, MapBuilder, Monitor, Patches, ReadAt, Run, State,
};
use cardkeep_ext4::Ext4;
use cardkeep_ptable::{Fitted, Resize, fitted, needed_len};
use cardkeep_survey::{Content, Survey};

use super::declined::Declined;
use super::last::Last;
use super::view::ResizedMedium;
use crate::shrink::{self, ShrinkPlan, Wanted};

/// How short a medium should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As short as can be, with so many thousandths of the last filesystem's smallest size more.
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
    /// What is on it.
    pub survey: Survey,
    /// The number of the partition that became smaller; 0 where there is no partition table.
    pub number: u32,
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

/// Plans to make `medium` shorter by making its last filesystem smaller; `survey` says what is on
/// it. A filesystem that was not unmounted is recovered on the way. Reads the filesystem's own
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
    let last = Last::of(medium, survey.sector_bytes)?;
    let at_rest = last.at_rest(medium).map_err(shrink::Declined::from)?;
    let fs = Ext4::load(Cached::new(&at_rest)).map_err(shrink::Declined::from)?;
    let block_bytes = u64::from(fs.superblock().block_bytes);
    let old_fs_bytes = fs.info().len;
    let blocks = last.blocks(wanted, old_fs_bytes, block_bytes)?;
    let plan = shrink::plan(&fs, blocks, monitor)
        .map_err(|declined| last.told(declined, wanted, block_bytes))?;
    drop(fs);
    let end = last.end(medium, plan.len(), wanted)?;
    let map = end.map(&survey.map, &last, &plan);
    let own = last.survey(survey, (&map, &end), &plan);
    let view = plan.view(at_rest);
    let patches = Patches::new(end.fitted.patches);
    let start = last.extent.start();
    Ok(Smaller {
        view: Arc::new(ResizedMedium::new(
            Arc::clone(medium),
            (start, Box::new(view)),
            patches,
            end.len,
        )),
        survey: own,
        number: last.number,
        old_fs_bytes,
        fs_bytes: plan.len(),
        free_bytes: plan.free_block_count().saturating_mul(block_bytes),
        moved_bytes: plan.moved_block_count().saturating_mul(block_bytes),
        left_out_bytes: last.left_out_bytes(&survey.map),
    })
}

/// Where the shorter medium ends, and what its partition table needs there.
struct End {
    len: u64,
    /// How long the last partition is.
    partition_len: u64,
    fitted: Fitted,
}

impl Last {
    /// Returns how many blocks to plan for.
    fn blocks(&self, wanted: Length, old_len: u64, block_bytes: u64) -> Result<Wanted, Declined> {
        match wanted {
            Length::Smallest { margin_per_mille } => Ok(Wanted::Smallest { margin_per_mille }),
            Length::AtMost(len) | Length::Exactly(len) => {
                match self.room(len).min(old_len) / block_bytes {
                    0 => Err(Declined::TooShort {
                        wanted: len,
                        least: self.extent.start(),
                    }),
                    blocks => Ok(Wanted::Blocks(blocks)),
                }
            }
        }
    }

    /// Returns the answer to a medium that was asked to be too short in its own measure.
    fn told(&self, declined: shrink::Declined, wanted: Length, block_bytes: u64) -> Declined {
        match (declined, wanted.limit()) {
            (shrink::Declined::Impossible { least, .. }, Some(len)) => {
                let tail = self.table.as_ref().map_or(0, |table| table.tail_bytes);
                let least = least.saturating_mul(block_bytes);
                let least = least.saturating_add(self.extent.start() + tail);
                Declined::TooShort { wanted: len, least }
            }
            (declined, _) => declined.into(),
        }
    }

    fn end(&self, medium: &Arc<dyn ReadAt>, fs_len: u64, wanted: Length) -> Result<End, Declined> {
        let fs_len = fs_len.next_multiple_of(self.sector_bytes);
        let partition_len = match wanted {
            Length::Exactly(len) => self.room(len).min(self.extent.len()),
            _ => fs_len,
        };
        let Some(table) = &self.table else {
            let len = partition_len.min(medium.len());
            return Ok(End {
                len,
                partition_len: len,
                fitted: Fitted::default(),
            });
        };
        let resize = [Resize {
            number: self.number,
            len: partition_len,
        }];
        let least = needed_len(table, &resize);
        if let Some(wanted) = wanted.limit().filter(|&wanted| wanted < least) {
            return Err(Declined::TooShort { wanted, least });
        }
        let len = match wanted {
            Length::Exactly(len) => len,
            _ => least,
        };
        Ok(End {
            len,
            partition_len,
            fitted: fitted(medium, table.sector_bytes, table, len, &resize)?,
        })
    }

    /// Returns how many bytes behind the partition are used by something else than the table.
    fn left_out_bytes(&self, map: &AllocationMap) -> u64 {
        let behind = Extent::between(self.extent.end(), u64::MAX);
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
        own.map = map.clone();
        own.gaps
            .retain(|gap| gap.extent.end() <= self.extent.start());
        let inner = plan.allocation_map();
        if let Some(last) = own.partitions.iter_mut().find(|p| p.number == self.number) {
            let len = end.partition_len;
            let end = last.extent.start().saturating_add(len);
            last.extent = Extent::between(last.extent.start(), end);
            last.used_bytes = inner.bytes(State::Used);
            last.zero_bytes = inner.bytes(State::Zero);
            last.free_bytes = len.saturating_sub(last.used_bytes + last.zero_bytes);
            if let Content::Ext(summary) = &mut last.content {
                summary.len = plan.len();
                summary.free_bytes = plan.free_block_count() * u64::from(plan.block_bytes());
                summary.is_clean = true;
            }
        }
        own
    }
}

impl End {
    /// Returns the map of the shorter medium.
    fn map(&self, old: &AllocationMap, last: &Last, plan: &ShrinkPlan) -> AllocationMap {
        let start = last.extent.start();
        let mut builder = MapBuilder::new(self.len);
        for run in old.runs_in(Extent::between(0, start.min(self.len))) {
            builder.push_to(run.extent.end(), run.state);
        }
        let whole = Extent::between(0, self.len);
        let stale = self.fitted.stale.iter().map(|e| e.intersection(whole));
        let stale: Vec<Run> = stale.map(|e| Run::new(e, State::Free)).collect();
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
