//! Fitting a GPT: its backup moves to the new end, and both headers learn of it.
//!
//! The copy that [`crate::load`] believes is the model for both. Each header starts from the whole
//! sector of its old self, or of the other one where it was broken, so that headers longer than
//! this program knows keep their bytes.
//!
//! Source: UEFI specification 2.10, tables 5-4 (protective MBR), 5-5 (header), 5-6 (entry).

use cardkeep_block::{Extent, Patch, ReadAt, le_u32, le_u64};

use crate::draft::Draft;
use crate::fit_record::{Edited, NewStart};
use crate::fitted::Change;
use crate::gpt::{Copies, PRIMARY_LBA, TableCopy, check_hybrid};
use crate::gpt_header::has_signature;
use crate::mbr::Entry;
use crate::sectors::Sectors;
use crate::{Corrupt, FitError, Fitted, PartitionTable};

/// Where the array of entries follows the primary header, unless that says otherwise.
const PRIMARY_ARRAY_LBA: u64 = 2;

/// The places, in sectors, that the new table takes.
#[derive(Debug)]
struct Layout {
    primary_array_lba: u64,
    backup_array_lba: u64,
    last_lba: u64,
    last_usable_lba: u64,
    array_sectors: u64,
}

/// What a header says of its own place, the other header's, and its array's, in sectors.
#[derive(Clone, Copy, Debug)]
struct HeaderPlaces {
    lba: u64,
    alternate_lba: u64,
    array_lba: u64,
}

/// Returns what makes the GPT that of a medium of `new_count` sectors, which [`crate::needed_len`]
/// was found to allow.
pub(crate) fn fit(
    sectors: &Sectors<'_, impl ReadAt>,
    change: Change<'_>,
    new_count: u64,
) -> Result<Fitted, FitError> {
    let mut first = Edited::read(sectors, 0)?;
    let record = first.record().ok_or(FitError::NotItsTable)?;
    let copies = Copies::read(sectors, &record);
    let model = copies.primary.as_ref().or(copies.backup.as_ref());
    // A table with both copies broken can't have been loaded.
    let model = model.map_err(|_| FitError::NotItsTable)?;
    let layout = layout(sectors, &copies, model, change.new, new_count)?;
    let hybrid = Hybrid {
        sectors,
        change,
        new_count,
    };
    hybrid.fit(&mut first, &copies)?;
    let array = fit_array(model, change);
    let metadata = layout.extents(sectors)?;
    let headers = layout.headers(&copies, model, crc32fast::hash(&array));
    let [_, primary_place, primary_array, backup_array, backup_place] = metadata;
    let mut patches: Vec<Patch> = first.patches(0).collect();
    for (place, bytes) in [
        (primary_place, &headers[0]),
        (primary_array, &array),
        (backup_array, &padded(&array, backup_array, sectors)),
        (backup_place, &headers[1]),
    ] {
        if !sectors.holds_bytes(place.start(), bytes) {
            patches.push(Patch::new(place.start(), bytes.clone()));
        }
    }
    let places = copies.backup.iter().flat_map(|copy| copy.extents);
    Ok(Fitted {
        patches,
        stale: without(places.collect(), &metadata),
        metadata: metadata.to_vec(),
    })
}

fn layout(
    sectors: &Sectors<'_, impl ReadAt>,
    copies: &Copies,
    model: &TableCopy,
    new: &PartitionTable,
    new_count: u64,
) -> Result<Layout, FitError> {
    let sector_bytes = u64::from(sectors.bytes);
    let array_sectors = model.header.array_bytes().div_ceil(sector_bytes);
    let no_room = |missing: u64| FitError::TableDoesNotFit {
        by_bytes: missing.saturating_mul(sector_bytes),
    };
    let backup_array_lba = new_count
        .checked_sub(1)
        .and_then(|last_lba| last_lba.checked_sub(array_sectors))
        .ok_or_else(|| no_room(array_sectors.saturating_add(1)))?;
    let last_lba = backup_array_lba + array_sectors;
    let primary_array_lba = match &copies.primary {
        Ok(copy) => copy.header.array_lba,
        Err(_) => lost_array_lba(sectors, model, array_sectors),
    };
    let missing = primary_array_lba
        .saturating_add(array_sectors)
        .saturating_sub(backup_array_lba);
    if missing > 0 {
        return Err(no_room(missing));
    }
    let old_last_lba = match &copies.backup {
        Ok(copy) => copy.header.lba,
        Err(_) => model.header.alternate_lba,
    };
    let end = new.partitions.iter().map(|p| p.extent.end()).max();
    let end_lba = end.unwrap_or(0) / sector_bytes;
    let kept = model.header.last_usable_lba;
    let keeps = old_last_lba == last_lba && kept < backup_array_lba && kept >= end_lba.max(1) - 1;
    Ok(Layout {
        primary_array_lba,
        backup_array_lba,
        last_lba,
        last_usable_lba: if keeps { kept } else { backup_array_lba - 1 },
        array_sectors,
    })
}

/// Returns where the array of a broken primary copy belongs: where its header says, as far as
/// that is possible. Boards whose boot ROM wants the second sector move it away from there.
fn lost_array_lba(
    sectors: &Sectors<'_, impl ReadAt>,
    model: &TableCopy,
    array_sectors: u64,
) -> u64 {
    let claimed = sectors
        .read(PRIMARY_LBA)
        .ok() // Unreadable: it is to be written anew.
        .filter(|sector| has_signature(sector))
        .map(|sector| le_u64(&sector, 0x48)); // PartitionEntryLBA
    let end = |lba: u64| lba.saturating_add(array_sectors);
    claimed
        .filter(|&lba| lba >= PRIMARY_ARRAY_LBA && end(lba) <= model.header.first_usable_lba)
        .unwrap_or(PRIMARY_ARRAY_LBA)
}

impl Layout {
    /// The MBR, the primary header and array, the backup array and header.
    fn extents(&self, sectors: &Sectors<'_, impl ReadAt>) -> Result<[Extent; 5], FitError> {
        let extent = |lba: u64, count: u64| {
            let by_bytes = u64::MAX;
            sectors
                .extent(lba, count)
                .ok_or(FitError::TableDoesNotFit { by_bytes })
        };
        Ok([
            extent(0, 1)?,
            extent(PRIMARY_LBA, 1)?,
            extent(self.primary_array_lba, self.array_sectors)?,
            extent(self.backup_array_lba, self.array_sectors)?,
            extent(self.last_lba, 1)?,
        ])
    }

    /// The sectors of the primary and the backup header.
    fn headers(&self, copies: &Copies, model: &TableCopy, array_crc: u32) -> [Vec<u8>; 2] {
        let primary = HeaderPlaces {
            lba: PRIMARY_LBA,
            alternate_lba: self.last_lba,
            array_lba: self.primary_array_lba,
        };
        let backup = HeaderPlaces {
            lba: self.last_lba,
            alternate_lba: PRIMARY_LBA,
            array_lba: self.backup_array_lba,
        };
        [(&copies.primary, primary), (&copies.backup, backup)].map(|(copy, places)| {
            // A copy that says something else than the model is no better than a broken one.
            let own = copy.as_ref().ok().filter(|copy| agree(copy, model));
            let own = own.unwrap_or(model);
            self.header(own.header_sector.clone(), places, array_crc)
        })
    }

    fn header(&self, mut sector: Vec<u8>, places: HeaderPlaces, array_crc: u32) -> Vec<u8> {
        for (offset, value) in [
            (0x18, places.lba),           // MyLBA
            (0x20, places.alternate_lba), // AlternateLBA
            (0x30, self.last_usable_lba), // LastUsableLBA
            (0x48, places.array_lba),     // PartitionEntryLBA
        ] {
            put(&mut sector, offset, &value.to_le_bytes());
        }
        put(&mut sector, 0x58, &array_crc.to_le_bytes()); // PartitionEntryArrayCRC32
        put(&mut sector, 0x10, &[0; 4]); // HeaderCRC32
        let size = (le_u32(&sector, 0x0c) as usize).min(sector.len()); // HeaderSize
        let crc = crc32fast::hash(&sector[..size]);
        put(&mut sector, 0x10, &crc.to_le_bytes());
        sector
    }
}

/// Tells whether two copies say the same of everything that both headers hold.
fn agree(one: &TableCopy, other: &TableCopy) -> bool {
    let (header, others) = (&one.header, &other.header);
    one.array == other.array
        && header.entry_bytes == others.entry_bytes
        && header.disk_guid == others.disk_guid
        && header.first_usable_lba == others.first_usable_lba
}

/// Puts a field into a record; one that does not fit was checked to do so when it was parsed.
fn put(record: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = record.get_mut(offset..offset.saturating_add(field.len())) {
        place.copy_from_slice(field);
    }
}

/// Returns the array with the first and last sectors of partitions that moved or were resized.
fn fit_array(model: &TableCopy, change: Change<'_>) -> Vec<u8> {
    let sector_bytes = u64::from(change.old.sector_bytes);
    let mut array = model.array.clone();
    let pairs = change.old.partitions.iter().zip(&change.new.partitions);
    for (before, after) in pairs {
        if before.extent != after.extent {
            let index = after.number.saturating_sub(1) as usize;
            let entry = index.saturating_mul(model.header.entry_bytes as usize);
            let last = (after.extent.end() / sector_bytes).saturating_sub(1);
            let first = after.extent.start() / sector_bytes;
            put(&mut array, entry.saturating_add(0x20), &first.to_le_bytes()); // StartingLBA
            put(&mut array, entry.saturating_add(0x28), &last.to_le_bytes()); // EndingLBA
        }
    }
    array
}

/// Returns the array up to the end of its last sector: zeros where the place held none before.
fn padded(array: &[u8], place: Extent, sectors: &Sectors<'_, impl ReadAt>) -> Vec<u8> {
    let mut bytes = array.to_vec();
    // Where the old array was, the bytes behind it are not this program's to change.
    if !sectors.holds_bytes(place.start(), array) {
        bytes.resize(place.len() as usize, 0);
    }
    bytes
}

/// The fitting of the MBR's entries: the protective ones cover the medium, and those of a hybrid
/// that name a partition follow it.
struct Hybrid<'a, M> {
    sectors: &'a Sectors<'a, M>,
    change: Change<'a>,
    new_count: u64,
}

impl<M: ReadAt> Hybrid<'_, M> {
    fn fit(&self, first: &mut Edited, copies: &Copies) -> Result<(), FitError> {
        let record = first.record().ok_or(FitError::NotItsTable)?;
        let is_hybrid = record
            .entries
            .iter()
            .any(|e| e.is_used() && !e.is_protective());
        let old_last_lba = match (&copies.primary, &copies.backup) {
            (_, Ok(copy)) => copy.header.lba,
            (Ok(copy), Err(_)) => copy.header.alternate_lba,
            (Err(_), Err(_)) => 0,
        };
        let entries = record.entries.iter().enumerate();
        for (index, entry) in entries.filter(|(_, e)| e.is_used()) {
            let start = self.moved(index, entry, first)?;
            let count = if entry.is_protective() {
                let end = u64::from(entry.first_sector).saturating_add(entry.sector_count.into());
                let reaches = end == old_last_lba.saturating_add(1) || end > self.new_count;
                protective_count(start, entry, self.new_count).filter(|_| !is_hybrid || reaches)
            } else {
                self.count(entry)?
            };
            if let Some(count) = count {
                first.set_count(index, start, entry.sector_count, count);
            }
        }
        check_new_hybrid(self.sectors, first, self.change.new)
    }

    /// Moves an entry that lies where all moves, and returns its first sector.
    fn moved(&self, index: usize, entry: &Entry, first: &mut Edited) -> Result<u64, FitError> {
        let sector_bytes = u64::from(self.sectors.bytes);
        let old = u64::from(entry.first_sector);
        let place = self.change.shift.place(old.saturating_mul(sector_bytes));
        let moved = FitError::Moved { number: 0 };
        let new = place.ok_or(moved)? / sector_bytes;
        if new != old {
            let first_sector = u32::try_from(new).map_err(|_| FitError::Moved { number: 0 })?;
            let start = NewStart {
                old,
                new,
                first_sector,
            };
            first.set_start(index, entry.sector_count, start);
        }
        Ok(new)
    }

    fn count(&self, entry: &Entry) -> Result<Option<u32>, FitError> {
        let Change { old, new, .. } = self.change;
        let sectors = self.sectors;
        let extent = sectors.extent(entry.first_sector.into(), entry.sector_count.into());
        let mut all = old.partitions.iter().zip(&new.partitions);
        let Some((_, after)) = all.find(|(before, _)| Some(before.extent) == extent) else {
            return Ok(None);
        };
        let (number, len) = (after.number, after.extent.len());
        match u32::try_from(len / u64::from(sectors.bytes)) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(FitError::TooLong { number, len }),
        }
    }
}

/// A medium that 32 bits can't count is covered as far as they go; some tools always say so.
fn protective_count(start: u64, entry: &Entry, new_count: u64) -> Option<u32> {
    let count = new_count.checked_sub(start)?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (entry.sector_count != u32::MAX && count > 0).then_some(count)
}

fn check_new_hybrid(
    sectors: &Sectors<'_, impl ReadAt>,
    first: &Edited,
    new: &PartitionTable,
) -> Result<(), FitError> {
    let record = first.record().ok_or(FitError::NotItsTable)?;
    let mut draft = Draft {
        table: new.clone(),
        slots: Vec::new(),
        faults: Vec::new(),
    };
    check_hybrid(sectors, &record, &mut draft);
    match Corrupt::of(draft.faults, None) {
        Some(corrupt) => Err(FitError::Conflict(corrupt)),
        None => Ok(()),
    }
}

/// Returns what is left of `extents` where `others` are taken away.
fn without(mut extents: Vec<Extent>, others: &[Extent]) -> Vec<Extent> {
    for other in others {
        extents = extents
            .into_iter()
            .flat_map(|extent| {
                [
                    Extent::between(extent.start(), extent.end().min(other.start())),
                    Extent::between(extent.start().max(other.end()), extent.end()),
                ]
            })
            .filter(|extent| !extent.is_empty())
            .collect();
    }
    extents.sort_unstable();
    extents
}
