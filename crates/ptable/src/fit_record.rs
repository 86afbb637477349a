//! Fitting the entries of an MBR and of the records that chain logical partitions.
//!
//! Only an entry's sector count changes, and with it the address of its last sector in cylinders
//! and heads (+5, three bytes), which nobody has needed since disks outgrew it at 8 GB.

use cardkeep_block::{Patch, ReadAt};

use crate::loader::{Draft, Named, Sectors, Slot};
use crate::mbr::{ENTRIES_OFFSET, ENTRY_BYTES, RECORD_BYTES, Record};
use crate::{Error, FitError, PartitionTable};

/// Where an entry holds the address of its last sector in cylinders and heads.
const CHS_END_OFFSET: usize = 5;
const SECTOR_COUNT_OFFSET: usize = 12;
/// "Further than cylinders can count", as UEFI 2.10, table 5-3 and 5-4, and libfdisk write it.
const CHS_SATURATED: [u8; 3] = [0xfe, 0xff, 0xff];
/// The geometry that every tool supposes for disks that have none.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
const CYLINDER_MAX: u64 = 1023;

/// A record whose entries are being changed.
#[derive(Debug)]
pub(crate) struct Edited {
    lba: u64,
    old: [u8; RECORD_BYTES],
    new: [u8; RECORD_BYTES],
}

impl Edited {
    pub(crate) fn read(sectors: &Sectors<'_, impl ReadAt>, lba: u64) -> Result<Self, FitError> {
        let old = sectors
            .record(lba)
            .map_err(|error| FitError::Load(Error::Io(error)))?;
        let new = old;
        Ok(Self { lba, old, new })
    }

    /// The record as changed so far; `None` where it has no signature.
    pub(crate) fn record(&self) -> Option<Record> {
        Record::parse(&self.new)
    }

    /// Gives an entry, which starts at sector `start` of the medium, a new count of sectors.
    pub(crate) fn set_count(&mut self, index: usize, start: u64, old_count: u32, count: u32) {
        let place = ENTRIES_OFFSET + index * ENTRY_BYTES;
        let Some(entry) = self.new.get_mut(place..place + ENTRY_BYTES) else {
            return;
        };
        if old_count == count {
            return;
        }
        entry[SECTOR_COUNT_OFFSET..].copy_from_slice(&count.to_le_bytes());
        let last = |count: u32| start.saturating_add(u64::from(count.saturating_sub(1)));
        let chs = &mut entry[CHS_END_OFFSET..CHS_END_OFFSET + 3];
        let old = [chs[0], chs[1], chs[2]];
        chs.copy_from_slice(&moved_chs(old, last(old_count), last(count)));
    }

    /// The changed entries, one patch each.
    pub(crate) fn patches(&self, sector_bytes: u32) -> impl Iterator<Item = Patch> + '_ {
        let start = self.lba.saturating_mul(sector_bytes.into());
        (0..4).filter_map(move |index| {
            let place = ENTRIES_OFFSET + index * ENTRY_BYTES;
            let entry = place..place + ENTRY_BYTES;
            let bytes = &self.new[entry.clone()];
            (bytes != &self.old[entry])
                .then(|| Patch::new(start.saturating_add(place as u64), bytes.to_vec()))
        })
    }
}

/// Returns what stands for the last sector `new` in an entry where `old_chs` stood for `old`.
///
/// Zeros (never filled in) and anything in the last cylinder (saturated, in whichever geometry)
/// stay. What was true in the usual geometry becomes true for the new end. Everything else was
/// counted in a geometry that can't be known, and says from now on that it does not count.
fn moved_chs(old_chs: [u8; 3], old: u64, new: u64) -> [u8; 3] {
    let cylinder = u64::from(old_chs[1] & 0xc0) << 2 | u64::from(old_chs[2]);
    if old_chs == [0; 3] || cylinder == CYLINDER_MAX {
        old_chs
    } else if old_chs == chs(old) {
        chs(new)
    } else {
        CHS_SATURATED
    }
}

/// Returns a sector's head, sector with the cylinder's upper two bits, cylinder.
fn chs(lba: u64) -> [u8; 3] {
    let cylinder = lba / (HEADS * SECTORS_PER_TRACK);
    if cylinder > CYLINDER_MAX {
        return CHS_SATURATED;
    }
    let head = lba / SECTORS_PER_TRACK % HEADS;
    let sector = lba % SECTORS_PER_TRACK + 1;
    // OK to cast: the remainders and the bound keep all below 256.
    [
        head as u8,
        (sector | cylinder >> 8 << 6) as u8,
        (cylinder & 0xff) as u8,
    ]
}

/// Returns the patches that turn the entries of `draft` into those of `new`.
pub(crate) fn fit(
    sectors: &Sectors<'_, impl ReadAt>,
    draft: &Draft,
    new: &PartitionTable,
) -> Result<Vec<Patch>, FitError> {
    let mut lbas: Vec<u64> = draft.slots.iter().map(|slot| slot.record_lba).collect();
    lbas.sort_unstable();
    lbas.dedup();
    let mut patches = Vec::new();
    for lba in lbas {
        let mut edited = Edited::read(sectors, lba)?;
        for slot in draft.slots.iter().filter(|slot| slot.record_lba == lba) {
            fit_slot(sectors.bytes, &mut edited, slot, &draft.table, new)?;
        }
        patches.extend(edited.patches(sectors.bytes));
    }
    Ok(patches)
}

fn fit_slot(
    sector_bytes: u32,
    edited: &mut Edited,
    slot: &Slot,
    old: &PartitionTable,
    new: &PartitionTable,
) -> Result<(), FitError> {
    let Some(entry) = edited.record().map(|record| record.entries[slot.index]) else {
        return Err(FitError::NotItsTable);
    };
    let sector_bytes = u64::from(sector_bytes);
    match slot.names {
        Named::Partition(number) => {
            let Some(extent) = new.any_partition(number).map(|p| p.extent) else {
                return Err(FitError::NotItsTable);
            };
            let len = extent.len();
            let count =
                u32::try_from(len / sector_bytes).map_err(|_| FitError::TooLong { number, len })?;
            let start = extent.start() / sector_bytes;
            edited.set_count(slot.index, start, entry.sector_count, count);
        }
        // Nobody reads a link's length, but tools write it: from the record that it leads to, to
        // the end of the partition there.
        Named::Link { to_lba } => {
            let start = to_lba.saturating_mul(sector_bytes);
            let count = |table: &PartitionTable| {
                let next = table.partitions.iter().filter(|p| p.logical);
                let next = next.filter(|p| p.extent.start() > start);
                let end = next.min_by_key(|p| p.extent.start())?.extent.end();
                u32::try_from((end - start) / sector_bytes).ok()
            };
            if let (Some(was), Some(now)) = (count(old), count(new))
                && was == entry.sector_count
            {
                edited.set_count(slot.index, to_lba, was, now);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{CHS_SATURATED, chs, moved_chs};

    #[test]
    fn addresses_in_cylinders_are_those_of_sfdisk() {
        // As sfdisk wrote them for partitions that end there.
        assert_eq!(chs(2048), [0x20, 0x21, 0x00]);
        assert_eq!(chs(16_450_559), [0xfe, 0xff, 0xff]);
        assert_eq!(chs(16_450_560), CHS_SATURATED);
        assert_eq!(chs(u64::MAX), CHS_SATURATED);
    }

    #[test]
    fn an_address_that_was_true_stays_true_and_one_that_said_nothing_stays() {
        assert_eq!(moved_chs(chs(5000), 5000, 99_999), chs(99_999));
        assert_eq!(moved_chs([0; 3], 5000, 99_999), [0; 3]);
        // 4 heads and 32 sectors, as Raspberry Pi images have it.
        assert_eq!(moved_chs([3, 0xe0, 0xff], 5000, 99), [3, 0xe0, 0xff]);
        assert_eq!(moved_chs([3, 0xe0, 0x10], 5000, 99), CHS_SATURATED);
    }
}
