//! Fitting the entries of an MBR and of the records that chain logical partitions.
//!
//! An entry's sector count changes (+12), and with it the address of its last sector in cylinders
//! and heads (+5, three bytes), which nobody has needed since disks outgrew it at 8 GB; where a
//! partition moves, so do its first sector (+8) and the address of that one (+1).

use cardkeep_block::{Extent, Patch, ReadAt};

use crate::draft::{Named, Slot};
use crate::fitted::Change;
use crate::mbr::{ENTRIES_OFFSET, ENTRY_BYTES, Entry, RECORD_BYTES, Record};
use crate::sectors::Sectors;
use crate::{Error, FitError, PartitionTable};

/// Where an entry holds the address of its last sector in cylinders and heads.
const CHS_END_OFFSET: usize = 5;
/// Where it holds that of its first one.
const CHS_START_OFFSET: usize = 1;
const FIRST_SECTOR_OFFSET: usize = 8;
const SECTOR_COUNT_OFFSET: usize = 12;
/// "Further than cylinders can count", as UEFI 2.10, table 5-3 and 5-4, and libfdisk write it.
const CHS_SATURATED: [u8; 3] = [0xfe, 0xff, 0xff];
/// The geometry that every tool supposes for disks that have none.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
const CYLINDER_MAX: u64 = 1023;

/// Where an entry starts from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewStart {
    /// The sector of the medium at which it started.
    pub(crate) old: u64,
    /// The one at which it starts.
    pub(crate) new: u64,
    /// How the entry says that, counted from wherever it counts.
    pub(crate) first_sector: u32,
}

/// A record whose entries are being changed.
#[derive(Debug)]
pub(crate) struct Edited {
    old: [u8; RECORD_BYTES],
    new: [u8; RECORD_BYTES],
}

impl Edited {
    pub(crate) fn read(sectors: &Sectors<'_, impl ReadAt>, lba: u64) -> Result<Self, FitError> {
        let old = sectors
            .record(lba)
            .map_err(|error| FitError::Load(Error::Io(error)))?;
        let new = old;
        Ok(Self { old, new })
    }

    /// The record as changed so far; `None` where it has no signature.
    pub(crate) fn record(&self) -> Option<Record> {
        Record::parse(&self.new)
    }

    /// Gives an entry, which starts at sector `start` of the medium, a new count of sectors.
    pub(crate) fn set_count(&mut self, index: usize, start: u64, old_count: u32, count: u32) {
        let Some(entry) = self.entry_mut(index).filter(|_| old_count != count) else {
            return;
        };
        entry[SECTOR_COUNT_OFFSET..].copy_from_slice(&count.to_le_bytes());
        let last = |count: u32| start.saturating_add(u64::from(count.saturating_sub(1)));
        set_chs(entry, CHS_END_OFFSET, last(old_count), last(count));
    }

    /// Gives an entry, whose last sector was told for `count` sectors, a new start.
    pub(crate) fn set_start(&mut self, index: usize, count: u32, start: NewStart) {
        let NewStart {
            old,
            new,
            first_sector,
        } = start;
        let Some(entry) = self.entry_mut(index) else {
            return;
        };
        entry[FIRST_SECTOR_OFFSET..FIRST_SECTOR_OFFSET + 4]
            .copy_from_slice(&first_sector.to_le_bytes());
        if old != new {
            let last = |start: u64| start.saturating_add(u64::from(count.saturating_sub(1)));
            set_chs(entry, CHS_START_OFFSET, old, new);
            set_chs(entry, CHS_END_OFFSET, last(old), last(new));
        }
    }

    fn entry_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let place = ENTRIES_OFFSET + index * ENTRY_BYTES;
        self.new.get_mut(place..place + ENTRY_BYTES)
    }

    /// The changed entries, one patch each, for a record that lies at byte `start` from now on.
    pub(crate) fn patches(&self, start: u64) -> impl Iterator<Item = Patch> + '_ {
        (0..4).filter_map(move |index| {
            let place = ENTRIES_OFFSET + index * ENTRY_BYTES;
            let entry = place..place + ENTRY_BYTES;
            let bytes = &self.new[entry.clone()];
            (bytes != &self.old[entry])
                .then(|| Patch::new(start.saturating_add(place as u64), bytes.to_vec()))
        })
    }
}

/// Changes the address in cylinders and heads at `offset` of an entry.
fn set_chs(entry: &mut [u8], offset: usize, old: u64, new: u64) {
    if let Some(chs) = entry.get_mut(offset..offset + 3) {
        let before = [chs[0], chs[1], chs[2]];
        chs.copy_from_slice(&moved_chs(before, old, new));
    }
}

/// Returns what stands for the sector `new` in an entry where `old_chs` stood for `old`.
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

/// Returns the patches that let the entries in `slots` follow the change of their table.
pub(crate) fn fit(
    sectors: &Sectors<'_, impl ReadAt>,
    slots: &[Slot],
    change: Change<'_>,
) -> Result<Vec<Patch>, FitError> {
    let mut lbas: Vec<u64> = slots.iter().map(|slot| slot.record_lba).collect();
    lbas.sort_unstable();
    lbas.dedup();
    let fitting = Fitting {
        sector_bytes: u64::from(sectors.bytes),
        change,
    };
    let mut patches = Vec::new();
    for lba in lbas {
        let mut edited = Edited::read(sectors, lba)?;
        for slot in slots.iter().filter(|slot| slot.record_lba == lba) {
            fitting.fit_slot(&mut edited, slot)?;
        }
        let start = fitting.moved(lba, 0)?.saturating_mul(fitting.sector_bytes);
        patches.extend(edited.patches(start));
    }
    Ok(patches)
}

struct Fitting<'a> {
    sector_bytes: u64,
    change: Change<'a>,
}

impl Fitting<'_> {
    /// Returns where a sector lies afterwards.
    fn moved(&self, lba: u64, number: u32) -> Result<u64, FitError> {
        let place = self
            .change
            .shift
            .place(lba.saturating_mul(self.sector_bytes));
        place
            .map(|place| place / self.sector_bytes)
            .ok_or(FitError::Moved { number })
    }

    fn fit_slot(&self, edited: &mut Edited, slot: &Slot) -> Result<(), FitError> {
        let Some(entry) = edited.record().map(|record| record.entries[slot.index]) else {
            return Err(FitError::NotItsTable);
        };
        match slot.names {
            Named::Partition(number) => self.fit_partition(edited, slot, number),
            Named::Link { to_lba } => self.fit_link(edited, slot.index, &entry, to_lba),
        }
    }

    fn fit_partition(&self, edited: &mut Edited, slot: &Slot, number: u32) -> Result<(), FitError> {
        let extent = |table: &PartitionTable| table.any_partition(number).map(|p| p.extent);
        let (Some(old), Some(new)) = (extent(self.change.old), extent(self.change.new)) else {
            return Err(FitError::NotItsTable);
        };
        let old_start = old.start() / self.sector_bytes;
        let new_start = new.start() / self.sector_bytes;
        let count = |extent: Extent| {
            let len = extent.len();
            u32::try_from(len / self.sector_bytes).map_err(|_| FitError::TooLong { number, len })
        };
        let (old_count, new_count) = (count(old)?, count(new)?);
        // A primary one counts from the medium's beginning, a logical one from its record.
        let base = self.moved(slot.record_lba, number)?;
        if old_start != new_start || base != slot.record_lba {
            let start = NewStart {
                old: old_start,
                new: new_start,
                first_sector: counted_from(base, new_start).ok_or(FitError::Moved { number })?,
            };
            edited.set_start(slot.index, old_count, start);
        }
        edited.set_count(slot.index, new_start, old_count, new_count);
        Ok(())
    }

    /// A link counts from the beginning of the extended partition. Nobody reads its length, but
    /// tools write it: from the record that it leads to, to the end of the partition there.
    fn fit_link(
        &self,
        edited: &mut Edited,
        index: usize,
        entry: &Entry,
        to_lba: u64,
    ) -> Result<(), FitError> {
        let base = to_lba.saturating_sub(entry.first_sector.into());
        let (new_base, new_lba) = (self.moved(base, 0)?, self.moved(to_lba, 0)?);
        let moved = FitError::Moved { number: 0 };
        let start = NewStart {
            old: to_lba,
            new: new_lba,
            first_sector: counted_from(new_base, new_lba).ok_or(moved)?,
        };
        edited.set_start(index, entry.sector_count, start);
        let count = |table: &PartitionTable, lba: u64| {
            let start = lba.saturating_mul(self.sector_bytes);
            let next = table.partitions.iter().filter(|p| p.logical);
            let next = next.filter(|p| p.extent.start() > start);
            let end = next.min_by_key(|p| p.extent.start())?.extent.end();
            // A length that the entry can't hold is left as it was: nobody reads it.
            u32::try_from((end - start) / self.sector_bytes).ok()
        };
        let Change { old, new, .. } = self.change;
        if let (Some(was), Some(now)) = (count(old, to_lba), count(new, new_lba))
            && was == entry.sector_count
        {
            edited.set_count(index, new_lba, was, now);
        }
        Ok(())
    }
}

/// Returns how an entry that counts from sector `base` names sector `lba`; `None` where it can't.
fn counted_from(base: u64, lba: u64) -> Option<u32> {
    u32::try_from(lba.checked_sub(base)?).ok()
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
