//! What lies behind a partition that gets another length, and moves with its end.

use std::sync::Arc;

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Patch, ReadAt, Slice};
use cardkeep_fat::moved_hidden_sectors;
use cardkeep_ptable::{FitError, Kind, PartitionTable, Shift};

use crate::declined::Declined;

/// The place of a boot loader that firmware finds by its sector number (UEFI 2.10, table 5-7, and the
/// GRUB manual, "BIOS installation").
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

/// A partition that lies in another place than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its number.
    pub number: u32,
    /// Where it lay.
    pub from: Extent,
    /// Where it lies.
    pub to: Extent,
}

/// The move of all that lies behind one partition.
#[derive(Clone, Debug)]
pub(super) struct Relocation {
    pub(super) shift: Shift,
    /// Where what moves ends on the old medium.
    pub(super) old_end: u64,
    /// The partitions, by their order on the medium.
    pub(super) moved: Vec<Moved>,
    /// What changes in them, by places on the new medium.
    pub(super) patches: Vec<Patch>,
}

impl Relocation {
    /// Plans to move what `shift` moves on `medium`, up to `old_end`.
    pub(super) fn new(
        medium: &Arc<dyn ReadAt>,
        table: &PartitionTable,
        shift: Shift,
        old_end: u64,
    ) -> Result<Self, Declined> {
        let behind = |p: &&cardkeep_ptable::Partition| p.extent.start() >= shift.from;
        let mut moved = Vec::new();
        let mut patches = Vec::new();
        for partition in table.partitions.iter().filter(behind) {
            let (number, from) = (partition.number, partition.extent);
            if matches!(partition.kind, Kind::Gpt(guid) if guid.to_string() == BIOS_BOOT) {
                return Err(Declined::Fixed { number });
            }
            let to = shift.extent(from).ok_or(FitError::Moved { number })?;
            moved.push(Moved { number, from, to });
            let sector = u64::from(table.sector_bytes.max(1));
            let (old, new) = (from.start() / sector, to.start() / sector);
            let own = moved_hidden_sectors(&Slice::new(medium, from), old, new);
            let own = own.into_iter();
            patches.extend(own.map(|patch| Patch::new(to.start() + patch.offset, patch.bytes)));
        }
        moved.sort_by_key(|moved| moved.from);
        Ok(Self {
            shift,
            old_end,
            moved,
            patches,
        })
    }

    /// Returns where what moved begins on the new medium.
    pub(super) fn new_start(&self) -> u64 {
        self.shift.place(self.shift.from).unwrap_or(u64::MAX)
    }

    /// Returns where what moved ends on the new medium.
    pub(super) fn new_end(&self) -> u64 {
        self.shift.place(self.old_end).unwrap_or(u64::MAX)
    }

    /// Appends what moved to the map of the new medium, which was made up to it; `old` is the map of
    /// the old one.
    pub(super) fn push_runs(&self, builder: &mut MapBuilder, old: &AllocationMap) {
        for run in old.runs_in(Extent::between(self.shift.from, self.old_end)) {
            builder.push_to(self.shift.place(run.extent.end()).unwrap_or(0), run.state);
        }
    }
}
