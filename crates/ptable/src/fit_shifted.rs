//! Fitting a partition table to a medium on which all that lies behind one partition moved.

use cardkeep_block::{Extent, ReadAt};

use crate::fit::{fit_to, reload};
use crate::{FitError, Fitted, PartitionTable, Shift};

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
    table: &PartitionTable,
    shift: Shift,
    new_len: u64,
) -> Result<Fitted, FitError> {
    let old = reload(medium, table)?;
    let sector_bytes = u64::from(table.sector_bytes);
    let new_count = new_len / sector_bytes;
    let total = new_count * sector_bytes;
    let is_whole = shift.by.unsigned_abs().is_multiple_of(sector_bytes);
    let new = old.table.shifted(shift).filter(|_| is_whole);
    let mut new = new.ok_or(FitError::Moved { number: 0 })?;
    cut_containers(&mut new, total);
    fit_to(medium, &old, new, new_count, shift)
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, MemoryMedium, Patches, ReadAt, WriteAt};
    use proptest::prelude::*;

    use super::fitted_with_shift;
    use crate::fit::needed_len;
    use crate::test_writer::{Gpt, RawEntry, write_record};
    use crate::{FitError, Fitted, Loaded, PartitionTable, Shift, load};

    const SECTOR: u64 = 512;

    fn table(medium: &MemoryMedium) -> PartitionTable {
        match load(medium, 512).unwrap() {
            Loaded::Table(table) => table,
            Loaded::None => panic!("no table"),
        }
    }

    /// The medium that the view shows: what lies behind `from` moved, then the patches.
    fn applied(medium: &MemoryMedium, shift: Shift, fitted: &Fitted, len: u64) -> MemoryMedium {
        let old = medium.to_vec();
        let from = shift.from as usize;
        let to = shift.place(shift.from).unwrap() as usize;
        let mut new = old[..from.min(to)].to_vec();
        new.resize(to, 0);
        new.extend_from_slice(&old[from..]);
        new.resize(len as usize, 0);
        Patches::new(fitted.patches.clone()).apply(0, &mut new);
        MemoryMedium::from_bytes(&new)
    }

    /// Shifts, loads the outcome, and holds it against what was meant.
    fn check(medium: &MemoryMedium, number: u32, sectors: i64) -> Result<(), FitError> {
        let old = table(medium);
        let from = old.partition(number).unwrap().extent.end();
        let by = sectors * SECTOR as i64;
        let shift = Shift { from, by };
        let meant = old.shifted(shift).ok_or(FitError::Moved { number: 0 })?;
        let len = needed_len(&meant, &[]);
        let fitted = fitted_with_shift(medium, &old, shift, len)?;
        let new = table(&applied(medium, shift, &fitted, len));
        assert_eq!(new.partitions, meant.partitions);
        assert_eq!(new.disk_id, old.disk_id);
        assert_eq!(new.scheme, old.scheme);
        assert_eq!(new.damages, []);
        assert_eq!(new.metadata, fitted.metadata);
        Ok(())
    }

    /// A primary partition, an extended one with three logical ones in it, and another primary one.
    /// The chain of the second kind does not follow the places.
    fn chain(is_crossed: bool, slack: u32) -> MemoryMedium {
        let medium = MemoryMedium::new(10_000 * SECTOR);
        let container = (0, 0x05, 1000, 6000 + slack);
        let tail = (0x80, 0x0c, 7500, 2000);
        write_record(&medium, 512, 0, &[(0, 0x83, 10, 900), container, tail]);
        let record = |lba: u64, partition: RawEntry, next: Option<(u32, u32)>| {
            let link = next.map(|(first, count)| (0, 0x05, first, count));
            let entries: Vec<RawEntry> = [partition].into_iter().chain(link).collect();
            write_record(&medium, 512, lba, &entries);
        };
        let own = (0, 0x83, 8, 1992);
        let (second, third) = ((2000, 2000), (4000, 2000));
        let order = if is_crossed {
            [third, second]
        } else {
            [second, third]
        };
        record(1000, own, Some(order[0]));
        record(1000 + u64::from(order[0].0), own, Some(order[1]));
        record(1000 + u64::from(order[1].0), own, None);
        medium
    }

    #[test]
    fn a_chain_is_read_as_before_wherever_it_is_cut() {
        for is_crossed in [false, true] {
            let medium = chain(is_crossed, 100);
            for number in [1, 5, 6, 7, 3] {
                for sectors in [-500, -1, 1, 700] {
                    check(&medium, number, sectors).unwrap();
                }
            }
        }
    }

    #[test]
    fn an_extended_partition_is_cut_where_only_its_slack_would_not_fit() {
        let medium = chain(false, 100);
        write_record(
            &medium,
            512,
            0,
            &[(0, 0x83, 10, 900), (0, 0x05, 1000, 9000)],
        );
        check(&medium, 5, -100).unwrap();
    }

    #[test]
    fn a_partition_that_would_have_nothing_left_is_refused() {
        let medium = chain(false, 0);
        let error = check(&medium, 1, -900).unwrap_err();
        assert!(matches!(error, FitError::Moved { .. }), "{error}");
        let old = table(&medium);
        let shift = Shift {
            from: 910 * SECTOR,
            by: 5,
        };
        let error = fitted_with_shift(&medium, &old, shift, 1 << 30).unwrap_err();
        assert!(matches!(error, FitError::Moved { .. }), "{error}");
    }

    #[test]
    fn entries_past_what_32_bits_can_count_are_refused() {
        let medium = chain(false, 0);
        let old = table(&medium);
        let shift = Shift {
            from: 7000 * SECTOR,
            by: (u32::MAX as i64) * SECTOR as i64,
        };
        let error = fitted_with_shift(&medium, &old, shift, 1 << 50).unwrap_err();
        assert!(error.to_string().contains("partition"), "{error}");
    }

    #[test]
    fn both_copies_of_a_gpt_follow_in_whatever_order_its_entries_are() {
        let gpt = Gpt {
            sector_bytes: SECTOR,
            sector_count: 2000,
            partitions: vec![Some((1000, 1499)), None, Some((40, 499)), Some((500, 999))],
        };
        for number in [1, 3, 4] {
            for sectors in [-300, -1, 1, 5000] {
                check(&gpt.medium(), number, sectors).unwrap();
            }
        }
    }

    #[test]
    fn entries_of_a_hybrid_mbr_follow_their_partitions() {
        let gpt = Gpt {
            sector_bytes: SECTOR,
            sector_count: 2000,
            partitions: vec![Some((40, 499)), Some((500, 999)), Some((1000, 1499))],
        };
        let medium = gpt.medium();
        let protective = (0, 0xee, 1, 39);
        let entries = [
            protective,
            (0x80, 0x0c, 40, 460),
            (0, 0x83, 1000, 500),
            (0, 0xee, 1500, 500),
        ];
        write_record(&medium, SECTOR, 0, &entries);
        let old = table(&medium);
        for sectors in [-200_i64, 900] {
            let shift = Shift {
                from: 1000 * SECTOR,
                by: sectors * SECTOR as i64,
            };
            let len = needed_len(&old.shifted(shift).unwrap(), &[]);
            let fitted = fitted_with_shift(&medium, &old, shift, len).unwrap();
            let new = applied(&medium, shift, &fitted, len);
            let first = |index: usize| {
                let bytes = new.read_vec(0x1be + index as u64 * 16 + 8, 8).unwrap();
                let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                (i64::from(field(0)), i64::from(field(4)))
            };
            assert_eq!(first(0), (1, 39));
            assert_eq!(first(1), (40, 460));
            assert_eq!(first(2), (1000 + sectors, 500));
            let end = len as i64 / SECTOR as i64;
            assert_eq!(first(3), (1500 + sectors, end - 1500 - sectors));
            assert_eq!(table(&new).damages, []);
        }
    }

    #[test]
    fn a_sector_without_change_is_not_patched() {
        let medium = chain(false, 0);
        medium.write_at(100, &[7; 30]).unwrap();
        let old = table(&medium);
        let from = old.partition(7).unwrap().extent.end();
        let shift = Shift { from, by: -5120 };
        let fitted = fitted_with_shift(&medium, &old, shift, 9_800 * SECTOR).unwrap();
        // The extended one, the partition behind it, the last link and the partition itself.
        assert_eq!(fitted.patches.len(), 4, "{:?}", fitted.patches);
        let whole = Extent::between(0, 9_800 * SECTOR);
        assert!(
            fitted
                .patches
                .iter()
                .all(|patch| whole.covers(patch.extent()))
        );
    }

    proptest! {
        #[test]
        fn any_distance_that_fits_keeps_a_chain_readable(
            is_crossed: bool,
            number in prop::sample::select(vec![1_u32, 5, 6, 7]),
            sectors in -1990_i64..4000,
        ) {
            let medium = chain(is_crossed, 0);
            let len = table(&medium).partition(number).unwrap().extent.len() / SECTOR;
            prop_assume!(sectors > -(len as i64));
            check(&medium, number, sectors).unwrap();
        }
    }
}
