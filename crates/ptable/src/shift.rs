//! Moving all that lies behind one partition, so that the partition can have another length.
//!
//! ```text
//!   old   | p1 | p2 ................ | p5 | EBR p6 |
//!   new   | p1 | p2 ....... | p5 | EBR p6 |            from: the end of p2, by: negative
//! ```
//!
//! What lies behind keeps its order and its distances: a chain of logical partitions stays as its
//! records describe it, and only the entries that count from the medium's beginning change.

use cardkeep_block::Extent;

use crate::{PartitionTable, Scheme};

/// How far the bytes of a medium move that lie at or behind one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// The first byte that moves: the end of the partition that gets another length.
    pub from: u64,
    /// How far it moves, in bytes, a multiple of the sector size; towards the medium's beginning
    /// where negative.
    pub by: i64,
}

impl Shift {
    /// Returns where the byte at `offset` lies afterwards; `None` outside of 64 bits.
    #[must_use]
    pub const fn place(self, offset: u64) -> Option<u64> {
        if offset < self.from {
            Some(offset)
        } else {
            offset.checked_add_signed(self.by)
        }
    }

    /// Returns where an extent lies afterwards: one that reaches up to [`Shift::from`] or past it
    /// gets longer or shorter, one that lies behind moves. `None` where nothing would be left.
    #[must_use]
    pub fn extent(self, extent: Extent) -> Option<Extent> {
        let (start, end) = (self.place(extent.start())?, self.place(extent.end())?);
        (start < end).then(|| Extent::between(start, end))
    }
}

impl PartitionTable {
    /// Returns the table with every place in it where `shift` moves it; `None` where a partition
    /// would have no bytes left. The places of a backup GPT mean nothing in it.
    #[must_use]
    pub fn shifted(&self, shift: Shift) -> Option<Self> {
        let mut new = self.clone();
        for partition in new.partitions.iter_mut().chain(&mut new.containers) {
            partition.extent = shift.extent(partition.extent)?;
        }
        if new.scheme == Scheme::Mbr {
            for place in &mut new.metadata {
                *place = shift.extent(*place)?;
            }
        }
        Some(new)
    }
}
