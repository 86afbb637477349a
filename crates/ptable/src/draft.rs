//! A table in the making: what was read of it, before and after it is held against its medium.

use cardkeep_block::Extent;

use crate::damage::DamageKind;
use crate::fault::Fault;
use crate::{Corrupt, Damage, DiskId, Error, Loaded, Partition, PartitionTable, Scheme};

/// Where an MBR or a chain of EBRs names something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) record_lba: u64,
    /// Which of the record's four entries.
    pub(crate) index: usize,
    pub(crate) names: Named,
}

/// What an entry of a record names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// The partition, or extended partition, with this number.
    Partition(u32),
    /// The next record of a chain.
    Link { to_lba: u64 },
}

/// A table in the making, with the faults found so far.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) table: PartitionTable,
    /// The entries of an MBR and its chains; empty for a GPT.
    pub(crate) slots: Vec<Slot>,
    pub(crate) faults: Vec<Fault>,
}

impl Draft {
    pub(crate) fn new(scheme: Scheme, disk_id: DiskId, sector_bytes: u32) -> Self {
        Self {
            table: PartitionTable {
                scheme,
                disk_id,
                sector_bytes,
                partitions: Vec::new(),
                containers: Vec::new(),
                metadata: Vec::new(),
                damages: Vec::new(),
                usable_start: sector_bytes.into(),
                tail_bytes: 0,
            },
            slots: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn damage(&mut self, kind: DamageKind) {
        self.table.damages.push(Damage(kind));
    }

    /// Holds the table against a medium of `medium_len` bytes.
    pub(crate) fn finish(mut self, medium_len: u64) -> Result<Loaded, Error> {
        self.check_ends(medium_len);
        self.check_overlaps();
        self.check_metadata();
        self.table.metadata = disjoint(std::mem::take(&mut self.table.metadata));
        let Self { table, faults, .. } = self;
        if faults.is_empty() {
            return Ok(Loaded::Table(table));
        }
        match Corrupt::of(faults, Some(table)) {
            Some(corrupt) => Err(Error::Corrupt(corrupt)),
            None => Ok(Loaded::None),
        }
    }

    fn check_ends(&mut self, medium_len: u64) {
        let all = self.table.partitions.iter().chain(&self.table.containers);
        for partition in all.filter(|p| p.extent.end() > medium_len) {
            self.faults.push(Fault::PastEnd {
                number: partition.number,
                extent: partition.extent,
            });
        }
    }

    /// Logical partitions are known to lie inside their container: those overlap each other, or
    /// their containers overlap something.
    fn check_overlaps(&mut self) {
        let (logical, primary): (Vec<_>, Vec<_>) =
            self.table.partitions.iter().partition(|p| p.logical);
        let primary = primary.into_iter().chain(&self.table.containers);
        let mut faults = overlaps(primary);
        faults.extend(overlaps(logical.into_iter()));
        self.faults.append(&mut faults);
    }

    fn check_metadata(&mut self) {
        for partition in &self.table.partitions {
            let hit = self
                .table
                .metadata
                .iter()
                .find(|m| m.overlaps(partition.extent));
            if let Some(metadata) = hit {
                self.faults.push(Fault::OnTable {
                    number: partition.number,
                    at: metadata.intersection(partition.extent),
                });
            }
        }
    }
}

fn overlaps<'a>(partitions: impl Iterator<Item = &'a Partition>) -> Vec<Fault> {
    let mut sorted: Vec<_> = partitions.collect();
    sorted.sort_by_key(|p| (p.extent, p.number));
    let mut faults = Vec::new();
    let mut furthest: Option<&Partition> = None;
    for partition in sorted {
        if let Some(before) = furthest
            && before.extent.overlaps(partition.extent)
        {
            faults.push(Fault::Overlap {
                one: before.number,
                other: partition.number,
                at: before.extent.intersection(partition.extent),
            });
        }
        if furthest.is_none_or(|before| before.extent.end() < partition.extent.end()) {
            furthest = Some(partition);
        }
    }
    faults
}

/// Returns the extents ordered, with those that touch or overlap joined.
fn disjoint(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match joined.last_mut() {
            Some(last) if extent.start() <= last.end() => {
                *last = Extent::between(last.start(), last.end().max(extent.end()));
            }
            _ => joined.push(extent),
        }
    }
    joined
}
