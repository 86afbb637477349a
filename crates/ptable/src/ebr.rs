//! Logical partitions: a chain of records, each naming one partition and the next record.
//!
//! ```text
//!   extended partition (container)
//!   ┌─────┬───────────────┬─────┬───────────────┐
//!   │ EBR │ logical 5     │ EBR │ logical 6     │   partition: counted from its own EBR
//!   └──┬──┴───────────────┴──▲──┴───────────────┘   link: counted from the container's start
//!      └─────────────────────┘
//! ```
//!
//! Followed as `parse_extended` in block/partitions/msdos.c of Linux follows it, but a chain
//! that Linux would cut silently is a fault here: what it no longer names may be data.

use std::collections::BTreeSet;

use cardkeep_block::{Extent, ReadAt};

use crate::draft::{Draft, Named, Slot};
use crate::fault::Fault;
use crate::mbr::{Entry, Record};
use crate::sectors::Sectors;
use crate::{Error, Partition};

/// Linux shows at most 256 partitions of one disk (`DISK_MAX_PARTS`).
const LINKS_MAX: usize = 256;
/// Linux counts logical partitions from 5.
const FIRST_NUMBER: u32 = 5;

/// Where a record of a chain stands.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    record_lba: u64,
    container: &'a Partition,
}

/// The walk along the chains of all containers of a medium.
#[derive(Debug)]
pub(crate) struct Chain {
    seen: BTreeSet<u64>,
    next_number: u32,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self {
            seen: BTreeSet::new(),
            next_number: FIRST_NUMBER,
        }
    }

    /// Adds the logical partitions of `container` to the draft, up to the first broken link.
    pub(crate) fn walk(
        &mut self,
        sectors: &Sectors<'_, impl ReadAt>,
        container: &Partition,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        let base = container.extent.start() / u64::from(sectors.bytes);
        let mut lba = base;
        loop {
            match self.step(sectors, container, lba) {
                Ok(extent) => draft.table.metadata.push(extent),
                Err(fault) => {
                    draft.faults.push(fault);
                    return Ok(());
                }
            }
            let bytes = sectors.record(lba).map_err(Error::Io)?;
            let Some(record) = Record::parse(&bytes) else {
                draft.faults.push(Fault::EbrUnsigned { lba });
                return Ok(());
            };
            let place = Place {
                record_lba: lba,
                container,
            };
            self.add_partitions(sectors, place, &record, draft);
            let is_link = |entry: &Entry| entry.is_used() && entry.is_extended();
            let Some(index) = record.entries.iter().position(is_link) else {
                return Ok(());
            };
            let to_lba = base.saturating_add(record.entries[index].first_sector.into());
            draft.slots.push(Slot {
                record_lba: lba,
                index,
                names: Named::Link { to_lba },
            });
            lba = to_lba;
        }
    }

    /// Returns where the record at `lba` lies, if the chain may go there.
    fn step(
        &mut self,
        sectors: &Sectors<'_, impl ReadAt>,
        container: &Partition,
        lba: u64,
    ) -> Result<Extent, Fault> {
        let extent = sectors
            .extent(lba, 1)
            .filter(|&extent| container.extent.covers(extent))
            .ok_or(Fault::EbrOutside {
                lba,
                container: container.number,
            })?;
        if !sectors.holds_extent(extent) {
            let container = container.number;
            return Err(Fault::ChainPastEnd { container, lba });
        }
        if self.seen.len() >= LINKS_MAX {
            return Err(Fault::EbrTooLong { lba });
        }
        if !self.seen.insert(lba) {
            return Err(Fault::EbrLoop { lba });
        }
        Ok(extent)
    }

    fn add_partitions(
        &mut self,
        sectors: &Sectors<'_, impl ReadAt>,
        place: Place<'_>,
        record: &Record,
        draft: &mut Draft,
    ) {
        let Place {
            record_lba,
            container,
        } = place;
        for (index, entry) in record.entries.iter().enumerate() {
            if !entry.is_used() || entry.is_extended() {
                continue;
            }
            let partition = sectors
                .partition(self.next_number, record_lba, entry)
                .filter(|p| container.extent.covers(p.extent));
            match partition {
                Some(partition) => {
                    draft.table.partitions.push(partition);
                    draft.slots.push(Slot {
                        record_lba,
                        index,
                        names: Named::Partition(self.next_number),
                    });
                    self.next_number += 1;
                }
                // The last two entries should be empty. Some DOS tools left rubbish there, which
                // Linux skips where it does not fit.
                None if index >= 2 => {}
                None => draft.faults.push(Fault::EbrOutside {
                    lba: record_lba,
                    container: container.number,
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, MemoryMedium};

    use super::LINKS_MAX;
    use crate::fault::Fault;
    use crate::test_writer::write_record;
    use crate::{Error, Loaded, PartitionTable, load};

    const CONTAINER: (u8, u8, u32, u32) = (0, 0x05, 1000, 9000);

    fn medium(records: &[(u64, &[crate::test_writer::RawEntry])]) -> MemoryMedium {
        // Longer than the container, so that leaving it is not leaving the medium.
        let medium = MemoryMedium::new(11_000 * 512);
        write_record(&medium, 512, 0, &[(0, 0x83, 10, 900), CONTAINER]);
        for (lba, entries) in records {
            write_record(&medium, 512, *lba, entries);
        }
        medium
    }

    fn table(medium: &MemoryMedium) -> PartitionTable {
        match load(medium, 512).unwrap() {
            Loaded::Table(table) => table,
            Loaded::None => panic!("no table"),
        }
    }

    fn fault(medium: &MemoryMedium) -> Fault {
        match load(medium, 512) {
            Err(Error::Corrupt(corrupt)) => {
                assert!(corrupt.readable().is_some());
                corrupt.fault().clone()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn logical_partitions_are_numbered_along_the_chain() {
        // The second record names no partition: Linux gives it no number.
        let medium = medium(&[
            (1000, &[(0, 0x83, 8, 100), (0, 0x05, 500, 200)]),
            (1500, &[(0, 0, 0, 0), (0, 0x05, 3000, 200)]),
            (4000, &[(0x80, 0x82, 8, 50)]),
        ]);
        let table = table(&medium);
        let found: Vec<_> = table
            .partitions
            .iter()
            .map(|p| (p.number, p.extent.start() / 512, p.logical, p.bootable))
            .collect();
        assert_eq!(
            found,
            [
                (1, 10, false, false),
                (5, 1008, true, false),
                (6, 4008, true, true)
            ]
        );
        assert_eq!(table.containers[0].number, 2);
        let starts: Vec<_> = table.metadata.iter().map(|m| m.start() / 512).collect();
        assert_eq!(starts, [0, 1000, 1500, 4000]);
        assert!(table.metadata.iter().all(|m| m.len() == 512));
    }

    #[test]
    fn a_loop_is_found() {
        let medium = medium(&[
            (1000, &[(0, 0x83, 8, 100), (0, 0x05, 500, 200)]),
            (1500, &[(0, 0x83, 8, 100), (0, 0x05, 0, 200)]),
        ]);
        assert_eq!(fault(&medium), Fault::EbrLoop { lba: 1000 });
    }

    #[test]
    fn a_chain_that_leaves_its_container_is_found() {
        let medium = medium(&[(1000, &[(0, 0x83, 8, 100), (0, 0x05, 9000, 200)])]);
        let expected = Fault::EbrOutside {
            lba: 10_000,
            container: 2,
        };
        assert_eq!(fault(&medium), expected);
    }

    #[test]
    fn a_logical_partition_outside_its_container_is_found() {
        let medium = medium(&[(1000, &[(0, 0x83, 8, 8993)])]);
        let expected = Fault::EbrOutside {
            lba: 1000,
            container: 2,
        };
        assert_eq!(fault(&medium), expected);
    }

    #[test]
    fn rubbish_in_the_last_two_entries_is_skipped() {
        let rubbish = (0, 0x83, u32::MAX, u32::MAX);
        let medium = medium(&[(1000, &[(0, 0x83, 8, 8), (0, 0, 0, 0), rubbish, rubbish])]);
        assert_eq!(table(&medium).partitions.len(), 2);
    }

    #[test]
    fn a_link_without_signature_is_found() {
        let medium = medium(&[(1000, &[(0, 0x83, 8, 100), (0, 0x05, 500, 200)])]);
        assert_eq!(fault(&medium), Fault::EbrUnsigned { lba: 1500 });
    }

    #[test]
    fn overlapping_logical_partitions_are_found() {
        let medium = medium(&[
            (1000, &[(0, 0x83, 8, 600), (0, 0x05, 700, 200)]),
            (1700, &[(0, 0x83, 8, 100), (0, 0x05, 400, 200)]),
            (1400, &[(0, 0x83, 300, 20)]),
        ]);
        let Err(Error::Corrupt(corrupt)) = load(&medium, 512) else {
            panic!("no fault");
        };
        // Partition 7 covers the second record and reaches into partition 6; the third record
        // lies inside partition 5.
        let messages: Vec<_> = corrupt.messages().collect();
        assert_eq!(
            messages,
            [
                "partitions 7 and 6 overlap at bytes 874496..880640",
                "partition 5 overlaps the partition table itself at bytes 716800..717312",
                "partition 7 overlaps the partition table itself at bytes 870400..870912"
            ]
        );
    }

    #[test]
    fn the_longest_chain_ends() {
        let medium = MemoryMedium::new(10_000 * 512);
        write_record(&medium, 512, 0, &[CONTAINER]);
        for link in 0..300_u32 {
            let next = (0, 0x05, (link + 1) * 4, 4);
            write_record(
                &medium,
                512,
                u64::from(1000 + link * 4),
                &[(0, 0x83, 1, 1), next],
            );
        }
        let lba = 1000 + LINKS_MAX as u64 * 4;
        assert_eq!(fault(&medium), Fault::EbrTooLong { lba });
    }

    #[test]
    fn an_extended_partition_across_a_primary_one_is_found() {
        let medium = MemoryMedium::new(10_000 * 512);
        write_record(&medium, 512, 0, &[(0, 0x83, 10, 991), CONTAINER]);
        write_record(&medium, 512, 1000, &[]);
        let expected = Fault::Overlap {
            one: 1,
            other: 2,
            at: Extent::between(1000 * 512, 1001 * 512),
        };
        assert_eq!(fault(&medium), expected);
    }
}
