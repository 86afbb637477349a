//! Moving all that lies behind one partition, so that the partition can have another length.
//!
//! ```text
//!   old   | p1 | p2 ................ | p5 | EBR p6 |
//!   new   | p1 | p2 ....... | p5 | EBR p6 |            from: the end of p2, by: negative
//! ```
//!
//! What lies behind keeps its order and its distances: a chain of logical partitions stays as its
//! records describe it, and only the entries that count from the medium's beginning change.

use cardkeep_block::{Extent, ReadAt};

use crate::fit::{check_ends, checked, reload};
use crate::loader::Sectors;
use crate::{FitError, Fitted, PartitionTable, Scheme, fit_gpt, fit_record};

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

/// Cuts extended partitions that reach past `total` behind what is in them.
fn cut_containers(new: &mut PartitionTable, total: u64) {
    let (partitions, metadata) = (&new.partitions, &new.metadata);
    for container in new.containers.iter_mut().filter(|c| c.extent.end() > total) {
        let own = container.extent;
        let logical = partitions.iter().filter(|p| p.logical).map(|p| p.extent);
        let content = logical.chain(metadata.iter().copied());
        let ends = content.filter(|part| own.covers(*part)).map(Extent::end);
        container.extent = Extent::between(own.start(), ends.fold(own.start(), u64::max));
    }
}

/// Returns what must change for `table`, which was loaded from `medium`, to be the table of a
/// medium of `new_len` bytes on which all is moved by `shift`. The patches are for the new medium,
/// where the bytes that are not patched are the moved ones; the places of [`Fitted::stale`] are
/// those of the old one. An extended partition that would reach past the new end is cut behind what is
/// in it.
///
/// # Errors
/// As [`crate::fitted`]; [`FitError::Moved`] where the entry of a partition can't say its new place.
pub fn fitted_with_shift(
    medium: &impl ReadAt,
    sector_bytes: u32,
    (table, shift): (&PartitionTable, Shift),
    new_len: u64,
) -> Result<Fitted, FitError> {
    let old = reload(medium, sector_bytes, table)?;
    let sectors = Sectors::new(medium, sector_bytes);
    let new_count = new_len / u64::from(sector_bytes);
    let total = new_count * u64::from(sector_bytes);
    let is_whole = shift.by.unsigned_abs().is_multiple_of(sector_bytes.into());
    let new = old.table.shifted(shift).filter(|_| is_whole);
    let mut new = new.ok_or(FitError::Moved { number: 0 })?;
    cut_containers(&mut new, total);
    check_ends(&new, total)?;
    let mut fitted = match new.scheme {
        Scheme::Mbr => Fitted {
            patches: fit_record::fit(&sectors, &old, &new, shift)?,
            stale: Vec::new(),
            metadata: new.metadata.clone(),
        },
        Scheme::Gpt | Scheme::HybridGpt => {
            fit_gpt::fit(&sectors, (&old.table, &new), new_count, shift)?
        }
    };
    new.metadata.clone_from(&fitted.metadata);
    fitted.metadata = checked(new, total)?.metadata;
    fitted.patches.sort_by_key(|patch| patch.offset);
    Ok(fitted)
}
