//! Loading: finds out which kind of table a medium has, and holds it against the medium.

use cardkeep_block::ReadAt;

use crate::damage::DamageKind;
use crate::draft::{Draft, Named, Slot};
use crate::ebr::Chain;
use crate::fault::Fault;
use crate::filesystem_sector::filesystem_of;
use crate::mbr::{Entry, Record};
use crate::sectors::Sectors;
use crate::{DiskId, Error, Loaded, Scheme, Unsupported, gpt, gpt_header};

/// Loads the partition table of a medium whose sectors have `sector_bytes` bytes.
///
/// [`Loaded::None`] says that nothing is known: the medium is too short, has no signature, no
/// entries, or starts with a filesystem's boot sector.
///
/// # Errors
/// [`Error::Io`] where the first sector or a link of the chain of logical partitions can't be
/// read; an unreadable copy of a GPT is a [`Damage`](crate::Damage) as long as the other serves.
/// [`Error::Corrupt`] where partitions overlap, lie on the table or past the medium's end, the
/// chain of logical partitions is broken, or both copies of a GPT are.
/// [`Error::Unsupported`] for sector sizes that are no power of two from 512 to 4096.
pub fn load(medium: &impl ReadAt, sector_bytes: u32) -> Result<Loaded, Error> {
    match draft(medium, sector_bytes)? {
        Some(draft) => draft.finish(medium.len()),
        None => Ok(Loaded::None),
    }
}

/// Reads what is there, before it is held against the medium; `None` where [`load`] would say so.
pub(crate) fn draft(medium: &impl ReadAt, sector_bytes: u32) -> Result<Option<Draft>, Error> {
    if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
        return Err(Error::Unsupported(Unsupported::sector_size(sector_bytes)));
    }
    let sectors = Sectors::new(medium, sector_bytes);
    if sectors.count() == 0 {
        return Ok(None);
    }
    let first = sectors.record(0).map_err(Error::Io)?;
    let Some(record) = Record::parse(&first).filter(is_table) else {
        return Ok(None);
    };
    let filesystem = filesystem_of(&first);
    if filesystem.is_some() && !record.entries.iter().any(|entry| sectors.holds(entry)) {
        return Ok(None);
    }
    let mut draft = if has_protective(&record) {
        gpt::read(&sectors, &record)
    } else {
        read_mbr(&sectors, &record)?
    };
    if let Some(filesystem) = filesystem {
        draft.faults.insert(0, Fault::Ambiguous { filesystem });
    }
    Ok(Some(draft))
}

fn is_table(record: &Record) -> bool {
    record.has_valid_status() && (!record.is_empty() || has_protective(record))
}

fn has_protective(record: &Record) -> bool {
    record.entries.iter().any(Entry::is_protective)
}

fn read_mbr(sectors: &Sectors<'_, impl ReadAt>, record: &Record) -> Result<Draft, Error> {
    let mut draft = Draft::new(
        Scheme::Mbr,
        DiskId::Mbr(record.disk_signature),
        sectors.bytes,
    );
    draft.table.metadata.extend(sectors.extent(0, 1));
    // A header that a table no longer announces tells that another tool wrote over a GPT.
    // Where it can't be read, nothing of a GPT is known.
    if sectors
        .read(1)
        .is_ok_and(|sector| gpt_header::has_signature(&sector))
    {
        draft.damage(DamageKind::StaleGpt);
    }
    let mut chain = Chain::new();
    for (number, entry) in (1..).zip(&record.entries) {
        if !entry.is_used() {
            continue;
        }
        draft.slots.push(Slot {
            record_lba: 0,
            index: number as usize - 1,
            names: Named::Partition(number),
        });
        let Some(partition) = sectors.partition(number, 0, entry) else {
            let lba = u64::from(entry.first_sector);
            draft.faults.push(Fault::Backwards { number, lba });
            continue;
        };
        if entry.is_extended() {
            chain.walk(sectors, &partition, &mut draft)?;
            draft.table.containers.push(partition);
        } else {
            draft.table.partitions.push(partition);
        }
    }
    draft.table.partitions.sort_by_key(|p| p.number);
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, MemoryMedium, ReadAt, Slice, WriteAt};

    use super::load;
    use crate::damage::DamageKind;
    use crate::fault::Fault;
    use crate::test_writer::{Gpt, write_record};
    use crate::{Damage, Error, Loaded, PartitionTable, Scheme};

    fn table(medium: &impl ReadAt) -> PartitionTable {
        match load(medium, 512).unwrap() {
            Loaded::Table(table) => table,
            Loaded::None => panic!("no table"),
        }
    }

    fn fault(medium: &impl ReadAt) -> Fault {
        match load(medium, 512) {
            Err(Error::Corrupt(corrupt)) => corrupt.fault().clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blank_short_and_empty_media_have_no_table() {
        assert_eq!(load(&MemoryMedium::new(511), 512).unwrap(), Loaded::None);
        assert_eq!(load(&MemoryMedium::new(0), 4096).unwrap(), Loaded::None);
        let medium = MemoryMedium::new(5120);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        write_record(&medium, 512, 0, &[]);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
    }

    #[test]
    fn boot_code_where_status_bytes_would_be_is_no_table() {
        let medium = MemoryMedium::new(5120);
        write_record(&medium, 512, 0, &[(0x55, 0x83, 1, 1)]);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
    }

    #[test]
    fn odd_sector_sizes_are_refused() {
        for bytes in [0, 1, 256, 513, 8192, u32::MAX] {
            let result = load(&MemoryMedium::new(5120), bytes);
            assert!(matches!(result, Err(Error::Unsupported(_))), "{bytes}");
        }
    }

    #[test]
    fn an_entry_past_the_end_is_found_and_still_shown() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[(0x80, 0x0c, 1, 50), (0, 0x83, 51, 50)]);
        let Err(Error::Corrupt(corrupt)) = load(&medium, 512) else {
            panic!("no fault");
        };
        assert_eq!(
            corrupt.to_string(),
            "partition 2 (bytes 26112..51712) reaches past the end of the medium"
        );
        let shown = corrupt.readable().unwrap();
        assert_eq!(shown.partitions.len(), 2);
        assert!(shown.partitions[0].bootable);
        // One sector more, and it fits to the last byte.
        let longer = MemoryMedium::from_bytes(&[medium.to_vec(), vec![0; 512]].concat());
        assert_eq!(table(&longer).partitions[1].extent.end(), longer.len());
    }

    #[test]
    fn overlaps_are_found_past_a_partition_between() {
        let medium = MemoryMedium::new(100 * 512);
        // The second lies inside the first and ends before the third, which does too.
        let entries = [(0, 0x83, 1, 80), (0, 0x83, 10, 5), (0, 0x83, 50, 2)];
        write_record(&medium, 512, 0, &entries);
        let Err(Error::Corrupt(corrupt)) = load(&medium, 512) else {
            panic!("no fault");
        };
        let messages: Vec<_> = corrupt.messages().collect();
        assert_eq!(
            messages,
            [
                "partitions 1 and 2 overlap at bytes 5120..7680",
                "partitions 1 and 3 overlap at bytes 25600..26624"
            ]
        );
        assert_eq!(
            corrupt.to_string(),
            "partitions 1 and 2 overlap at bytes 5120..7680 (and 1 more)"
        );
    }

    #[test]
    fn a_partition_on_the_mbr_is_found() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[(0x80, 0x17, 0, 100)]);
        let at = Extent::between(0, 512);
        assert_eq!(fault(&medium), Fault::OnTable { number: 1, at });
    }

    fn fat_boot_sector(medium: &MemoryMedium) {
        // What `mkfs.vfat -F 16` writes: BytsPerSec 512, SecPerClus 4, RsvdSecCnt 4, NumFATs 2,
        // RootEntCnt 512, TotSec16 100, Media f8.
        let bpb = [
            0xeb, 0x3c, 0x90, b'm', b'k', b'f', b's', b'.', b'f', b'a', b't', 0x00, 0x02, 0x04,
            0x04, 0x00, 0x02, 0x00, 0x02, 100, 0, 0xf8,
        ];
        medium.write_at(0, &bpb).unwrap();
    }

    #[test]
    fn a_filesystem_directly_on_the_medium_is_no_table() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[]);
        fat_boot_sector(&medium);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        // Boot code with a zero where a status would be, but no partition on the medium.
        write_record(&medium, 512, 0, &[(0, b'N', 0x4c44_544e, 0x2073_6920)]);
        fat_boot_sector(&medium);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        for oem in [b"EXFAT   ", b"NTFS    "] {
            write_record(&medium, 512, 0, &[(0, 7, 500, 1)]);
            medium.write_at(3, oem).unwrap();
            assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        }
    }

    #[test]
    fn a_filesystem_with_a_plausible_table_in_it_is_doubtful() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[(0, 0x0c, 10, 50)]);
        assert_eq!(table(&medium).partitions.len(), 1);
        fat_boot_sector(&medium);
        assert_eq!(fault(&medium), Fault::Ambiguous { filesystem: "FAT" });
    }

    fn gpt() -> Gpt {
        Gpt {
            sector_bytes: 512,
            sector_count: 1000,
            partitions: vec![Some((40, 99)), None, Some((100, 966))],
        }
    }

    #[test]
    fn a_gpt_that_the_mbr_does_not_announce_is_a_damage() {
        let medium = gpt().medium();
        write_record(&medium, 512, 0, &[(0, 0x83, 40, 10)]);
        let table = table(&medium);
        assert_eq!(table.scheme, Scheme::Mbr);
        assert_eq!(table.damages, [Damage(DamageKind::StaleGpt)]);
    }

    #[test]
    fn an_image_cut_short_is_found() {
        let medium = gpt().medium();
        let cut = Slice::new(&medium, Extent::between(0, 900 * 512));
        let expected = Fault::PastEnd {
            number: 3,
            extent: Extent::between(100 * 512, 967 * 512),
        };
        assert_eq!(fault(&cut), expected);
    }
}
