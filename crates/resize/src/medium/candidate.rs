//! The partition whose filesystem gets another size, and how much room it has.
//!
//! It is the ext filesystem with the system on it, or else the largest one; a settings partition
//! never is. What lies behind it moves with its end.

use std::sync::Arc;

use cardkeep_block::{Extent, ReadAt, Resizer, Slice};
use cardkeep_ext4::{Ext4, Recovered};
use cardkeep_ptable::{Loaded, PartitionTable, Scheme, Shift};
use cardkeep_survey::{Survey, holds_system};

use crate::declined::Declined;

/// The entries of an MBR count sectors in 32 bits; what lies behind is out of its partitions' reach
/// (Linux takes longer ones, others don't).
const MBR_SECTORS_MAX: u64 = u32::MAX as u64;
/// What lies behind moves by multiples of this, in bytes, so that every start keeps its place within
/// a card's erase units: 4 MiB is what the SD standard's allocation units and most tools align to.
const GRANULE_BYTES: u64 = 4 << 20;
/// NOOBS keeps its settings in a partition of this name, 32 MiB that never fill.
const SETTINGS_LABEL: &str = "SETTINGS";

/// A filesystem with its journal replayed, and what it is seen through.
pub(super) type AtRest = Recovered<Slice<Arc<dyn ReadAt>>>;

/// How a medium can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// At any place.
    Anywhere,
    /// From its beginning on: nothing of it can move, and no file on it is looked at.
    FromBeginning,
}

/// A partition that holds an ext filesystem.
pub(super) struct Candidate {
    /// 0 where there is no partition table.
    pub(super) number: u32,
    pub(super) extent: Extent,
    pub(super) label: Option<String>,
    pub(super) table: Option<PartitionTable>,
    pub(super) sector_bytes: u64,
    /// Where all partitions end, and the records of logical ones.
    pub(super) last_end: u64,
    /// The number of what lies behind it: a partition, or an extended one.
    pub(super) behind: Option<u32>,
}

/// What is known of an ext filesystem before it is looked into.
struct Found {
    number: u32,
    extent: Extent,
    fs_len: u64,
    label: Option<String>,
}

impl Candidate {
    /// Finds those that may get another size, the one to be tried first before the others.
    pub(super) fn all(
        medium: &Arc<dyn ReadAt>,
        sector_bytes: u32,
        survey: Option<&Survey>,
        access: Access,
    ) -> Result<Vec<Self>, Declined> {
        let table = match survey.and_then(Survey::whole_table) {
            Some(table) => table.clone(),
            None => match cardkeep_ptable::load(medium, sector_bytes) {
                Ok(Loaded::None) => return Self::whole(medium, sector_bytes),
                Ok(Loaded::Table(table)) => table,
                Err(error) => return Err(Declined::BrokenTable(error)),
            },
        };
        if table.partitions.is_empty() {
            return Err(Declined::NoPartition);
        }
        let mut found = Found::all(medium, &table, survey);
        if found.is_empty() {
            let number = last_of(&table);
            return Err(Declined::NoFilesystem { number });
        }
        let is_settings = |found: &Found| found.label.as_deref() == Some(SETTINGS_LABEL);
        let settings = found.iter().find(|found| is_settings(found));
        let only_settings = Declined::OnlySettings {
            number: settings.map_or(0, |found| found.number),
        };
        found.retain(|found| !is_settings(found));
        found.sort_by_key(|found| (std::cmp::Reverse(found.fs_len), found.number));
        if found.is_empty() {
            return Err(only_settings);
        }
        let system = match access {
            Access::Anywhere if found.len() > 1 => found
                .iter()
                .position(|found| holds_system(&Slice::new(medium, found.extent))),
            _ => None,
        };
        let first = system.unwrap_or(0);
        // The largest one may still do where the system's can't.
        let order = if first == 0 { vec![0] } else { vec![first, 0] };
        let candidates = order.into_iter().filter_map(|index| found.get(index));
        Ok(candidates.map(|found| Self::of(found, &table)).collect())
    }

    /// A medium without a partition table is a filesystem from its first byte on, or nothing.
    fn whole(medium: &Arc<dyn ReadAt>, sector_bytes: u32) -> Result<Vec<Self>, Declined> {
        if !cardkeep_ext4::probe(medium) {
            return Err(Declined::NoFilesystem { number: 0 });
        }
        let extent = Extent::between(0, medium.len());
        Ok(vec![Self {
            number: 0,
            extent,
            label: label_of(medium),
            table: None,
            sector_bytes: u64::from(sector_bytes.max(1)),
            last_end: extent.end(),
            behind: None,
        }])
    }

    fn of(found: &Found, table: &PartitionTable) -> Self {
        let all = || table.partitions.iter().chain(&table.containers);
        let end = found.extent.end();
        let behind = all().filter(|p| p.extent.start() >= end);
        let behind = behind.min_by_key(|p| p.extent.start()).map(|p| p.number);
        // A record without a partition moves, too.
        let is_mbr = table.scheme == Scheme::Mbr;
        let records = || table.metadata.iter().filter(|_| is_mbr);
        let has_record = records().any(|record| record.start() >= end);
        let ends = table.partitions.iter().map(|p| p.extent.end());
        let ends = ends.chain(records().map(|record| record.end()));
        Self {
            number: found.number,
            extent: found.extent,
            label: found.label.clone(),
            sector_bytes: u64::from(table.sector_bytes.max(1)),
            last_end: ends.fold(end, u64::max),
            behind: behind.or(has_record.then_some(0)),
            table: Some(table.clone()),
        }
    }

    pub(super) fn slice(&self, medium: &Arc<dyn ReadAt>) -> Slice<Arc<dyn ReadAt>> {
        Slice::new(Arc::clone(medium), self.extent)
    }

    /// Refuses a filesystem on which the kernel noted errors.
    pub(super) fn check_errors(&self, medium: &Arc<dyn ReadAt>) -> Result<(), Declined> {
        let number = self.number;
        match Ext4::load(self.slice(medium)) {
            Ok(fs) if fs.superblock().has_errors() => Err(Declined::HasErrors { number }),
            // Other faults have their own words.
            _ => Ok(()),
        }
    }

    /// Returns the filesystem's place on `medium` as the next mount would leave it.
    pub(super) fn at_rest(&self, medium: &Arc<dyn ReadAt>) -> Result<AtRest, cardkeep_ext4::Error> {
        let fs = Ext4::load(self.slice(medium))?;
        let recovered = fs.recovered()?;
        Ok(recovered.onto(self.slice(medium)))
    }

    /// Returns how many bytes the table needs at the medium's end.
    pub(super) fn tail_bytes(&self) -> u64 {
        self.table.as_ref().map_or(0, |table| table.tail_bytes)
    }

    /// Returns how long the partition can be on a medium of `len` bytes.
    pub(super) fn room(&self, len: u64) -> u64 {
        let sectors = len.saturating_sub(self.tail_bytes()) / self.sector_bytes;
        let limit = match self.table_limit() {
            Some(limit) => limit.min(sectors * self.sector_bytes),
            None => sectors * self.sector_bytes,
        };
        if self.behind.is_none() {
            return limit.saturating_sub(self.extent.start());
        }
        let old = self.extent.len();
        let down = |bytes: u64| bytes / GRANULE_BYTES * GRANULE_BYTES;
        match limit.checked_sub(self.last_end) {
            Some(more) => old.saturating_add(down(more)),
            None => {
                let less = self.last_end - limit;
                let less = less.checked_next_multiple_of(GRANULE_BYTES);
                old.saturating_sub(less.unwrap_or(u64::MAX))
            }
        }
    }

    /// Returns the shortest length of the partition that holds a filesystem of `fs_len` bytes and
    /// leaves what lies behind where its alignment is kept.
    pub(super) fn len_for(&self, fs_len: u64) -> u64 {
        let fs_len = fs_len.checked_next_multiple_of(self.sector_bytes);
        let fs_len = fs_len.unwrap_or(u64::MAX);
        if self.behind.is_none() {
            return fs_len;
        }
        let less = self.extent.len().saturating_sub(fs_len);
        self.extent.len() - less / GRANULE_BYTES * GRANULE_BYTES
    }

    /// Returns the byte that no partition of an MBR can end behind; `None` for other tables.
    pub(super) fn table_limit(&self) -> Option<u64> {
        let table = self.table.as_ref()?;
        (table.scheme == Scheme::Mbr).then(|| MBR_SECTORS_MAX * self.sector_bytes)
    }

    /// Returns how the medium moves where the partition gets `len` bytes; `None` where nothing lies
    /// behind it.
    pub(super) fn shift(&self, len: u64) -> Option<Shift> {
        self.behind?;
        let by = i64::try_from(len).ok()?;
        let by = by.checked_sub(i64::try_from(self.extent.len()).ok()?)?;
        let from = self.extent.end();
        Some(Shift { from, by })
    }
}

impl Found {
    /// Finds the ext filesystems: as the survey says, or by looking.
    fn all(medium: &Arc<dyn ReadAt>, table: &PartitionTable, survey: Option<&Survey>) -> Vec<Self> {
        let partitions = table.partitions.iter();
        let found = partitions.filter_map(|entry| {
            let (number, extent) = (entry.number, entry.extent);
            let known = survey.and_then(|survey| {
                let mut known = survey.partitions.iter();
                known.find(|known| known.number == number && known.extent == extent)
            });
            let (fs_len, label) = match known.map(|known| &known.content) {
                Some(content) => {
                    let summary = content.resizable_by(Resizer::Ext)?;
                    (summary.len, summary.label.clone())
                }
                None => {
                    let slice = Slice::new(medium, extent);
                    if !cardkeep_ext4::probe(&slice) {
                        return None;
                    }
                    (extent.len(), label_of(&slice))
                }
            };
            Some(Self {
                number,
                extent,
                fs_len,
                label,
            })
        });
        found.collect()
    }
}

/// Returns the label of an ext filesystem, where it can be read, without control characters.
fn label_of(medium: &impl ReadAt) -> Option<String> {
    let label = Ext4::load(medium).ok()?.info().label?;
    Some(label.chars().filter(|c| !c.is_control()).collect())
}

/// Returns the number of the partition that lies last.
fn last_of(table: &PartitionTable) -> u32 {
    let last = table.partitions.iter().max_by_key(|p| p.extent.end());
    last.map_or(0, |last| last.number)
}
