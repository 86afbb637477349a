//! GUID partition tables: two copies, each a header and an array of entries.
//!
//! ```text
//!   sector 0    protective (or hybrid) MBR     entry: 0x00 type GUID     0x10 own GUID
//!          1    header ──┐                            0x20 first sector  0x28 last (inclusive)
//!          2..  entries ◄┘                            0x30 attributes    0x38 name, UTF-16
//!          …    partitions
//!     -33..     entries ◄┐  the backup, in this order so that both arrays
//!      -1       header ──┘  lie next to the partitions
//! ```
//!
//! Source: UEFI specification 2.10, section 5.3, table 5-6 for the entries.

use cardkeep_block::{Extent, ReadAt, le_u64};

use crate::damage::DamageKind;
use crate::draft::Draft;
use crate::fault::Fault;
use crate::flaw::HeaderFlaw;
use crate::gpt_header::Header;
use crate::mbr::Record;
use crate::sectors::Sectors;
use crate::{DiskId, Guid, Kind, Partition, Scheme};

pub(crate) const PRIMARY_LBA: u64 = 1;
/// "Legacy BIOS bootable" (UEFI 2.10, table 5-8).
const ATTRIBUTE_BOOTABLE: u64 = 1 << 2;
const NAME_BYTES: usize = 72;

/// One copy whose checksums are right.
#[derive(Debug)]
pub(crate) struct TableCopy {
    pub(crate) header: Header,
    /// The whole sector that holds the header.
    pub(crate) header_sector: Vec<u8>,
    pub(crate) array: Vec<u8>,
    /// The sectors of the header and those of the array.
    pub(crate) extents: [Extent; 2],
}

/// Both copies, or why they can't be used.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) primary: Result<TableCopy, HeaderFlaw>,
    pub(crate) backup: Result<TableCopy, HeaderFlaw>,
}

impl Copies {
    pub(crate) fn read(sectors: &Sectors<'_, impl ReadAt>, record: &Record) -> Self {
        let primary = read_copy(sectors, PRIMARY_LBA);
        // The flaw of the primary one is kept beside.
        let backup = read_backup(sectors, primary.as_ref().ok(), record);
        Self { primary, backup }
    }
}

/// Reads the table that a protective or hybrid MBR announces.
pub(crate) fn read(sectors: &Sectors<'_, impl ReadAt>, record: &Record) -> Draft {
    let last_lba = sectors.count().saturating_sub(1);
    let Copies { primary, backup } = Copies::read(sectors, record);
    let hybrid = record
        .entries
        .iter()
        .any(|entry| entry.is_used() && !entry.is_protective());
    let scheme = if hybrid {
        Scheme::HybridGpt
    } else {
        Scheme::Gpt
    };
    let mut draft = Draft::new(scheme, DiskId::Gpt(Guid::ZERO), sectors.bytes);
    draft.table.metadata.extend(sectors.extent(0, 1));
    for copy in [&primary, &backup].into_iter().flatten() {
        draft.table.metadata.extend(copy.extents);
    }
    note_damages(&mut draft, &primary, &backup, last_lba);
    match (primary, backup) {
        (Ok(copy), _) | (Err(_), Ok(copy)) => add_partitions(sectors, &copy, &mut draft),
        (Err(primary), Err(backup)) => {
            draft.faults.push(Fault::BothGptBroken { primary, backup });
        }
    }
    check_hybrid(sectors, record, &mut draft);
    draft
}

/// Looks for the backup where the primary copy says; without that, in the last sector, and then
/// where the protective entry ends, for images written to a larger card.
fn read_backup(
    sectors: &Sectors<'_, impl ReadAt>,
    primary: Option<&TableCopy>,
    record: &Record,
) -> Result<TableCopy, HeaderFlaw> {
    let last_lba = sectors.count().saturating_sub(1);
    if let Some(copy) = primary {
        return read_copy(sectors, copy.header.alternate_lba);
    }
    read_copy(sectors, last_lba).or_else(|flaw| {
        let protective = record.entries.iter().find(|entry| entry.is_protective());
        let end = protective.map(|entry| {
            u64::from(entry.first_sector).saturating_add(u64::from(entry.sector_count))
        });
        match end.and_then(|end| end.checked_sub(1)) {
            Some(lba) if lba > PRIMARY_LBA && lba < last_lba => {
                // No copy there either: what the last sector lacks is the one to tell.
                read_copy(sectors, lba).map_err(|_| flaw)
            }
            _ => Err(flaw),
        }
    })
}

fn read_copy(sectors: &Sectors<'_, impl ReadAt>, lba: u64) -> Result<TableCopy, HeaderFlaw> {
    let place = sectors
        .extent_on_medium(lba, 1)
        .ok_or(HeaderFlaw::Absent { lba })?;
    // What the medium said is dropped: the other copy may serve, and the place is what helps.
    let sector = sectors
        .read(lba)
        .map_err(|_| HeaderFlaw::Unreadable { lba })?;
    let header = Header::parse(&sector, lba)?;
    let array_lba = header.array_lba;
    let sector_count = header.array_bytes().div_ceil(sectors.bytes.into());
    let array_place = sectors
        .extent_on_medium(array_lba, sector_count)
        .ok_or(HeaderFlaw::ArrayOutside { lba, array_lba })?;
    if array_lba == 0 || array_place.overlaps(place) {
        return Err(HeaderFlaw::ArrayOverlaps { lba, array_lba });
    }
    // ARRAY_BYTES_MAX bounds the length.
    let array = sectors
        .read_extent(array_place, header.array_bytes() as usize)
        // Dropped for the same reason.
        .map_err(|_| HeaderFlaw::ArrayUnreadable { array_lba })?;
    let computed = crc32fast::hash(&array);
    if computed != header.array_crc {
        return Err(HeaderFlaw::ArrayCrc {
            array_lba,
            stored: header.array_crc,
            computed,
        });
    }
    Ok(TableCopy {
        header,
        header_sector: sector,
        array,
        extents: [place, array_place],
    })
}

fn note_damages(
    draft: &mut Draft,
    primary: &Result<TableCopy, HeaderFlaw>,
    backup: &Result<TableCopy, HeaderFlaw>,
    last_lba: u64,
) {
    match (primary, backup) {
        (Err(flaw), Ok(_)) => draft.damage(DamageKind::PrimaryBroken(flaw.clone())),
        (Ok(_), Err(flaw)) => draft.damage(DamageKind::BackupBroken(flaw.clone())),
        (Ok(one), Ok(other)) if differ(one, other) => draft.damage(DamageKind::CopiesDiffer),
        _ => {}
    }
    // A broken one was noted above.
    if let Ok(copy) = backup
        && copy.header.lba != last_lba
    {
        let lba = copy.header.lba;
        draft.damage(DamageKind::BackupNotAtEnd { lba, last_lba });
    }
    // Where both are broken, the caller tells.
    if let Some(copy) = primary.as_ref().or(backup.as_ref()).ok()
        && copy.header.last_usable_lba > last_lba
    {
        draft.damage(DamageKind::MadeForLonger {
            last_usable_lba: copy.header.last_usable_lba,
            last_lba,
        });
    }
}

fn differ(one: &TableCopy, other: &TableCopy) -> bool {
    one.array != other.array || one.header.disk_guid != other.header.disk_guid
}

fn add_partitions(sectors: &Sectors<'_, impl ReadAt>, copy: &TableCopy, draft: &mut Draft) {
    let sector_bytes = u64::from(sectors.bytes);
    draft.table.disk_id = DiskId::Gpt(copy.header.disk_guid);
    draft.table.usable_start = copy.header.first_usable_lba.saturating_mul(sector_bytes);
    draft.table.tail_bytes = copy.extents[1].len().saturating_add(sector_bytes);
    let entries = copy.array.chunks_exact(copy.header.entry_bytes as usize);
    for (number, bytes) in (1..).zip(entries) {
        let kind = guid(bytes, 0x00); // PartitionTypeGUID
        if kind == Guid::ZERO {
            continue;
        }
        let first = le_u64(bytes, 0x20); // StartingLBA
        let last = le_u64(bytes, 0x28); // EndingLBA, inclusive
        let attributes = le_u64(bytes, 0x30); // Attributes
        let extent = last
            .checked_sub(first)
            .and_then(|distance| distance.checked_add(1))
            .and_then(|count| sectors.extent(first, count));
        let Some(extent) = extent else {
            draft.faults.push(Fault::Backwards { number, lba: first });
            continue;
        };
        draft.table.partitions.push(Partition {
            number,
            extent,
            kind: Kind::Gpt(kind),
            name: name(bytes),
            bootable: attributes & ATTRIBUTE_BOOTABLE != 0,
            logical: false,
            guid: Some(guid(bytes, 0x10)), // UniquePartitionGUID
        });
    }
}

fn guid(bytes: &[u8], offset: usize) -> Guid {
    let mut stored = [0; 16];
    if let Some(field) = bytes.get(offset..offset + 16) {
        stored.copy_from_slice(field);
    }
    Guid::from_bytes(stored)
}

/// PartitionName at 0x38: UTF-16, ended by a zero or the field's end.
fn name(bytes: &[u8]) -> Option<String> {
    let field = bytes.get(0x38..0x38 + NAME_BYTES)?;
    let units = field
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|&unit| unit != 0);
    let name: String = char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Linux ignores the MBR of a hybrid, the Raspberry Pi's boot ROM does not: where the two name
/// different places, either may hold what matters.
pub(crate) fn check_hybrid(sectors: &Sectors<'_, impl ReadAt>, record: &Record, draft: &mut Draft) {
    for (number, entry) in (1..).zip(&record.entries) {
        if !entry.is_used() || entry.is_protective() {
            continue;
        }
        let lba = u64::from(entry.first_sector);
        let Some(at) = sectors.extent(lba, entry.sector_count.into()) else {
            draft.faults.push(Fault::Backwards { number, lba });
            continue;
        };
        let partitions = &draft.table.partitions;
        if !partitions.iter().any(|p| p.extent.covers(at)) {
            draft.faults.push(Fault::HybridDisagrees { number, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, MemoryMedium, ReadAt, WriteAt};
    use proptest::prelude::*;

    use crate::damage::DamageKind;
    use crate::fault::Fault;
    use crate::flaw::HeaderFlaw;
    use crate::test_writer::{Gpt, LINUX, seal, write_record};
    use crate::{Damage, DiskId, Error, Guid, Kind, Loaded, PartitionTable, Scheme, load};

    fn gpt() -> Gpt {
        Gpt {
            sector_bytes: 512,
            sector_count: 1000,
            partitions: vec![Some((40, 99)), None, Some((100, 966))],
        }
    }

    fn table_of(medium: &MemoryMedium, sector_bytes: u32) -> PartitionTable {
        match load(medium, sector_bytes).unwrap() {
            Loaded::Table(table) => table,
            Loaded::None => panic!("no table"),
        }
    }

    fn table(medium: &MemoryMedium) -> PartitionTable {
        table_of(medium, 512)
    }

    fn fault(medium: &MemoryMedium) -> Fault {
        match load(medium, 512) {
            Err(Error::Corrupt(corrupt)) => corrupt.fault().clone(),
            other => panic!("{other:?}"),
        }
    }

    fn flip(medium: &MemoryMedium, offset: u64) {
        let byte = medium.read_vec(offset, 1).unwrap()[0];
        medium.write_at(offset, &[byte ^ 0x10]).unwrap();
    }

    /// Changes bytes of the header at `lba` and makes its checksum right again.
    fn edit_header(medium: &MemoryMedium, lba: u64, offset: usize, bytes: &[u8]) {
        let mut header = medium.read_vec(lba * 512, 92).unwrap();
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
        seal(&mut header);
        medium.write_at(lba * 512, &header).unwrap();
    }

    #[test]
    fn entries_metadata_and_ids_are_read() {
        let table = table(&gpt().medium());
        assert_eq!(table.scheme, Scheme::Gpt);
        assert_eq!(table.disk_id, DiskId::Gpt(Guid::from_u128(0xD15C)));
        assert_eq!(table.damages, []);
        let sectors = |first: u64, end: u64| Extent::between(first * 512, end * 512);
        assert_eq!(table.metadata, [sectors(0, 34), sectors(967, 1000)]);
        let last = table.partition(3).unwrap();
        assert_eq!(last.extent, sectors(100, 967));
        assert_eq!(last.name.as_deref(), Some("p3"));
        assert_eq!(last.kind, Kind::Gpt(LINUX));
        assert_eq!(
            table.part_uuid(last),
            "00000000-0000-0000-0000-000000000003"
        );
        assert!(table.partition(2).is_none());
    }

    #[test]
    fn the_backup_serves_when_the_primary_is_broken() {
        let whole = table(&gpt().medium());
        // The signature, the checksum itself, a field, the first and the last byte of the array.
        for offset in [512, 528, 552, 1024, 1024 + 128 * 128 - 1] {
            let medium = gpt().medium();
            flip(&medium, offset);
            let table = table(&medium);
            assert_eq!(table.partitions, whole.partitions, "{offset}");
            assert!(matches!(
                table.damages[..],
                [Damage(DamageKind::PrimaryBroken(_))]
            ));
        }
    }

    #[test]
    fn a_broken_backup_is_a_damage_with_its_place() {
        let medium = gpt().medium();
        flip(&medium, 999 * 512);
        let damages = table(&medium).damages;
        assert_eq!(damages.len(), 1);
        assert_eq!(
            damages[0].to_string(),
            "the backup GPT has no signature at sector 999"
        );
    }

    #[test]
    fn both_copies_broken_is_corrupt() {
        let medium = gpt().medium();
        flip(&medium, 512);
        flip(&medium, 999 * 512);
        let expected = Fault::BothGptBroken {
            primary: HeaderFlaw::Signature { lba: 1 },
            backup: HeaderFlaw::Signature { lba: 999 },
        };
        assert_eq!(fault(&medium), expected);
    }

    #[test]
    fn impossible_fields_are_found_despite_a_right_checksum() {
        let check = |offset, bytes: &[u8], expected| {
            let medium = gpt().medium();
            edit_header(&medium, 1, offset, bytes);
            let damage = Damage(DamageKind::PrimaryBroken(expected));
            assert_eq!(table(&medium).damages, [damage]);
        };
        let lba = 1;
        check(0x18, &[9], HeaderFlaw::Misplaced { lba, says: 9 });
        check(0x30, &[0; 8], HeaderFlaw::UsableRange { lba });
        check(
            0x48,
            &[0xff; 8],
            HeaderFlaw::ArrayOutside {
                lba,
                array_lba: u64::MAX,
            },
        );
        // On the header itself, and on the MBR.
        for array_lba in [0_u64, 1] {
            let flaw = HeaderFlaw::ArrayOverlaps { lba, array_lba };
            check(0x48, &array_lba.to_le_bytes(), flaw);
        }
        check(0x50, &[0; 4], HeaderFlaw::EntryCount { lba, count: 0 });
        let count = 8193;
        check(
            0x50,
            &[1, 0x20, 0, 0],
            HeaderFlaw::EntryCount { lba, count },
        );
        check(0x54, &[129], HeaderFlaw::EntrySize { lba, bytes: 129 });
        check(0x54, &[64], HeaderFlaw::EntrySize { lba, bytes: 64 });
    }

    #[test]
    fn a_header_longer_than_its_sector_is_refused() {
        for bytes in [91, 513, u32::MAX] {
            let medium = gpt().medium();
            medium.write_at(512 + 0x0c, &bytes.to_le_bytes()).unwrap();
            let flaw = HeaderFlaw::HeaderSize { lba: 1, bytes };
            let damage = Damage(DamageKind::PrimaryBroken(flaw));
            assert_eq!(table(&medium).damages, [damage]);
        }
    }

    #[test]
    fn an_image_on_a_larger_card_keeps_its_backup_inside() {
        let small = gpt().medium().to_vec();
        let medium = MemoryMedium::from_bytes(&[small, vec![0; 512 * 500]].concat());
        let not_at_end = Damage(DamageKind::BackupNotAtEnd {
            lba: 999,
            last_lba: 1499,
        });
        assert_eq!(table(&medium).damages, std::slice::from_ref(&not_at_end));
        // Without the primary, the protective entry tells where the image ended.
        flip(&medium, 512);
        let table = table(&medium);
        assert_eq!(table.partitions.len(), 2);
        assert_eq!(table.damages[1], not_at_end);
    }

    #[test]
    fn copies_that_differ_are_a_damage() {
        let medium = gpt().medium();
        edit_header(&medium, 999, 0x38, &[1; 16]);
        let table = table(&medium);
        assert_eq!(table.damages, [Damage(DamageKind::CopiesDiffer)]);
        assert_eq!(table.disk_id, DiskId::Gpt(Guid::from_u128(0xD15C)));
    }

    #[test]
    fn a_backup_past_the_end_is_a_damage_while_all_partitions_fit() {
        let mut gpt = gpt();
        gpt.partitions = vec![Some((40, 99))];
        let cut = MemoryMedium::from_bytes(&gpt.medium().to_vec()[..512 * 500]);
        let messages: Vec<_> = table(&cut)
            .damages
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            [
                "the backup GPT would lie past the end, at sector 999",
                "the GPT was made for a longer medium: it counts sector 966 as usable, \
                 but sector 499 is the last"
            ]
        );
    }

    #[test]
    fn a_hybrid_mbr_must_agree_with_the_gpt() {
        let medium = gpt().medium();
        write_record(&medium, 512, 0, &[(0, 0x0c, 40, 60), (0, 0xee, 1, 39)]);
        let table = table(&medium);
        assert_eq!(table.scheme, Scheme::HybridGpt);
        assert_eq!(table.partitions.len(), 2);
        write_record(&medium, 512, 0, &[(0, 0x0c, 40, 61), (0, 0xee, 1, 39)]);
        let at = Extent::between(40 * 512, 101 * 512);
        assert_eq!(fault(&medium), Fault::HybridDisagrees { number: 1, at });
    }

    #[test]
    fn an_entry_that_ends_before_it_starts_is_found() {
        for range in [(100, 98), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            let mut gpt = gpt();
            gpt.partitions = vec![Some(range)];
            let lba = range.0;
            assert_eq!(fault(&gpt.medium()), Fault::Backwards { number: 1, lba });
        }
    }

    #[test]
    fn a_partition_on_the_backup_is_found() {
        let mut gpt = gpt();
        gpt.partitions = vec![Some((40, 967))];
        let at = Extent::between(967 * 512, 968 * 512);
        assert_eq!(fault(&gpt.medium()), Fault::OnTable { number: 1, at });
    }

    prop_compose! {
        /// Ordered, disjoint partitions in any slots of a medium of either sector size.
        fn any_gpt()(
            lengths in prop::collection::vec((0_u64..300, 1_u64..5000, any::<bool>()), 0..128),
            sector_bytes in prop::sample::select(vec![512_u64, 4096]),
            tail in 0_u64..100,
        ) -> Gpt {
            let mut next = 34;
            let mut partitions = Vec::new();
            for (gap, len, used) in lengths {
                let first = next + gap;
                partitions.push(used.then_some((first, first + len - 1)));
                next = first + len;
            }
            partitions.reverse();
            Gpt { sector_bytes, sector_count: next + tail + 34, partitions }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_loaded(gpt in any_gpt(), broken in 0_u64..92) {
            let medium = gpt.medium();
            let table = table_of(&medium, gpt.sector_bytes as u32);
            let found: Vec<_> = table.partitions.iter().map(|p| {
                let first = p.extent.start() / gpt.sector_bytes;
                (p.number as usize - 1, (first, p.extent.end() / gpt.sector_bytes - 1))
            }).collect();
            let slots = gpt.partitions.iter().enumerate();
            let expected: Vec<_> = slots.filter_map(|(i, p)| Some((i, (*p)?))).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(&table.damages, &[]);
            flip(&medium, gpt.sector_bytes + broken);
            let damaged = table_of(&medium, gpt.sector_bytes as u32);
            prop_assert_eq!(damaged.partitions, table.partitions);
            prop_assert_eq!(damaged.damages.len(), 1);
        }
    }
}
