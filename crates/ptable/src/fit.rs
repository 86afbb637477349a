//! Fitting a partition table to a medium of another size, as patches of the old medium's bytes.
//!
//! What need not change stays as it is: boot code, identities, names, attributes, the order of
//! partitions, and every byte whose meaning is not known. Partitions keep their starts here; see
//! [`crate::Shift`] for those that move.

use cardkeep_block::{Extent, ReadAt};

use crate::draft::Draft;
use crate::fitted::Change;
use crate::loader::draft;
use crate::sectors::Sectors;
use crate::{
    Corrupt, Error, FitError, Fitted, Loaded, PartitionTable, Scheme, Shift, fit_gpt, fit_record,
};

/// A change of one partition's length; its start stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// The number of the partition, or of an extended partition.
    pub number: u32,
    /// The new length in bytes, a multiple of the sector size.
    pub len: u64,
}

/// Returns what must change for `table`, which was loaded from `medium`, to be the table of a
/// medium of `new_len` bytes, with the partitions of `resizes` at their new lengths.
///
/// `new_len` is rounded down to whole sectors of `sector_bytes`. Where a number comes twice, the
/// last one counts. The extended partition of a logical one that grows past its end grows with
/// it, and so does one that ended just where its last logical partition did; one that reaches
/// past the new end is cut behind its last logical partition. Both copies of a GPT come out sound
/// if one was. A table without damages that fits already needs no patches.
///
/// # Errors
/// [`FitError::DoesNotFit`] where a partition ends behind the new medium, or in its backup GPT.
/// [`FitError::Conflict`] where partitions would overlap each other or the table. The others say
/// that the arguments do not go together.
pub fn fitted(
    medium: &impl ReadAt,
    table: &PartitionTable,
    new_len: u64,
    resizes: &[Resize],
) -> Result<Fitted, FitError> {
    let old = reload(medium, table)?;
    let sector_bytes = u64::from(table.sector_bytes);
    let new_count = new_len / sector_bytes;
    let mut new = resized(&old.table, resizes)?;
    fit_containers(&mut new, &old.table, new_count * sector_bytes, resizes)?;
    let unchanged = new == old.table && old.table.damages.is_empty();
    if unchanged && new_count == medium.len() / sector_bytes {
        let metadata = new.metadata;
        return Ok(Fitted {
            metadata,
            ..Fitted::default()
        });
    }
    fit_to(medium, &old, new, new_count, Shift::default())
}

/// Returns what turns the table of `old` into `new`, on a medium of `new_count` sectors on which all
/// is moved by `shift`.
pub(crate) fn fit_to(
    medium: &impl ReadAt,
    old: &Draft,
    mut new: PartitionTable,
    new_count: u64,
    shift: Shift,
) -> Result<Fitted, FitError> {
    let sectors = Sectors::new(medium, old.table.sector_bytes);
    let total = new_count * u64::from(sectors.bytes);
    check_ends(&new, total)?;
    let change = Change {
        old: &old.table,
        new: &new,
        shift,
    };
    let mut fitted = match new.scheme {
        Scheme::Mbr => Fitted {
            patches: fit_record::fit(&sectors, &old.slots, change)?,
            stale: Vec::new(),
            metadata: new.metadata.clone(),
        },
        Scheme::Gpt | Scheme::HybridGpt => fit_gpt::fit(&sectors, change, new_count)?,
    };
    new.metadata.clone_from(&fitted.metadata);
    fitted.metadata = checked(new, total)?.metadata;
    fitted.patches.sort_by_key(|patch| patch.offset);
    Ok(fitted)
}

/// Returns the length in bytes of the shortest medium that `table` fits with the partitions of
/// `resizes` at their new lengths. Numbers that the table lacks do not count.
#[must_use]
pub fn needed_len(table: &PartitionTable, resizes: &[Resize]) -> u64 {
    let partitions = table.partitions.iter().map(|p| {
        let len = new_len_of(p.number, resizes).unwrap_or(p.extent.len());
        p.extent.start().saturating_add(len)
    });
    let containers = table.containers.iter().filter_map(|c| {
        let len = new_len_of(c.number, resizes)?;
        Some(c.extent.start().saturating_add(len))
    });
    let head = match table.scheme {
        Scheme::Mbr => table.metadata.last().map_or(0, |last| last.end()),
        // FirstUsableLBA must not lie behind LastUsableLBA.
        Scheme::Gpt | Scheme::HybridGpt => {
            table.usable_start.saturating_add(table.sector_bytes.into())
        }
    };
    let end = partitions.chain(containers).fold(head, u64::max);
    let len = end.saturating_add(table.tail_bytes);
    len.checked_next_multiple_of(u64::from(table.sector_bytes).max(1))
        .unwrap_or(u64::MAX)
}

fn new_len_of(number: u32, resizes: &[Resize]) -> Option<u64> {
    let last = resizes.iter().rev().find(|resize| resize.number == number);
    last.map(|resize| resize.len)
}

/// Reads the table again, this time with the places of its entries.
pub(crate) fn reload(medium: &impl ReadAt, table: &PartitionTable) -> Result<Draft, FitError> {
    let mut old = draft(medium, table.sector_bytes)
        .map_err(FitError::Load)?
        .ok_or(FitError::NotItsTable)?;
    let faults = std::mem::take(&mut old.faults);
    let copy = Draft {
        table: old.table.clone(),
        slots: Vec::new(),
        faults,
    };
    match copy.finish(medium.len()) {
        Ok(Loaded::Table(loaded)) if loaded == *table => {
            old.table = loaded;
            Ok(old)
        }
        Ok(_) => Err(FitError::NotItsTable),
        // Of a medium that was cut, which the new one is longer than.
        Err(Error::Corrupt(corrupt)) if is_cut(&corrupt, table) => {
            old.table = table.clone();
            Ok(old)
        }
        Err(error) => Err(FitError::Load(error)),
    }
}

/// Tells whether all that is wrong with `table` is that partitions reach past the medium's end.
fn is_cut(corrupt: &Corrupt, table: &PartitionTable) -> bool {
    !corrupt.lacks_partitions() && corrupt.cut() == Some(table)
}

fn resized(old: &PartitionTable, resizes: &[Resize]) -> Result<PartitionTable, FitError> {
    let mut new = old.clone();
    for &Resize { number, len } in resizes {
        let all = new.partitions.iter_mut().chain(&mut new.containers);
        let partition = all
            .into_iter()
            .find(|p| p.number == number)
            .ok_or(FitError::NoSuchPartition { number })?;
        if len == 0 || !len.is_multiple_of(old.sector_bytes.into()) {
            return Err(FitError::NotWholeSectors { number, len });
        }
        partition.extent =
            Extent::new(partition.extent.start(), len).ok_or(FitError::TooLong { number, len })?;
    }
    Ok(new)
}

/// Lets the extended partitions follow their logical ones.
fn fit_containers(
    new: &mut PartitionTable,
    old: &PartitionTable,
    total: u64,
    resizes: &[Resize],
) -> Result<(), FitError> {
    for index in 0..new.containers.len() {
        let before = old.containers[index].extent;
        let old_content = content_end(old, old, before);
        let new_content = content_end(old, new, before);
        let container = &mut new.containers[index];
        let number = container.number;
        if new_len_of(number, resizes).is_some() {
            let by_bytes = new_content.saturating_sub(container.extent.end());
            if by_bytes > 0 {
                return Err(FitError::ContainerTooShort { number, by_bytes });
            }
            continue;
        }
        let is_tight = before.end() == old_content;
        let end = if is_tight || before.end() > total {
            new_content
        } else {
            before.end().max(new_content)
        };
        container.extent = Extent::between(before.start(), end);
    }
    Ok(())
}

/// Returns where the last logical partition or record in the container at `container` ends,
/// once the logical partitions are those of `new`.
fn content_end(old: &PartitionTable, new: &PartitionTable, container: Extent) -> u64 {
    let inside = old.partitions.iter().zip(&new.partitions);
    let inside = inside.filter(|(before, _)| before.logical && container.covers(before.extent));
    let ends = inside.map(|(_, after)| after.extent.end());
    let records = old.metadata.iter().filter(|m| container.covers(**m));
    ends.chain(records.map(|m| m.end()))
        .fold(container.start(), u64::max)
}

fn check_ends(new: &PartitionTable, total: u64) -> Result<(), FitError> {
    let limit = total.saturating_sub(new.tail_bytes);
    for partition in new.partitions.iter().chain(&new.containers) {
        let by_bytes = partition.extent.end().saturating_sub(limit);
        if by_bytes > 0 {
            let number = partition.number;
            return Err(FitError::DoesNotFit { number, by_bytes });
        }
    }
    match needed_len(new, &[]).saturating_sub(total) {
        0 => Ok(()),
        by_bytes => Err(FitError::TableDoesNotFit { by_bytes }),
    }
}

/// Holds the new table against the new medium, as if it had been loaded from there.
fn checked(new: PartitionTable, total: u64) -> Result<PartitionTable, FitError> {
    let draft = Draft {
        table: new,
        slots: Vec::new(),
        faults: Vec::new(),
    };
    match draft.finish(total) {
        Ok(Loaded::Table(table)) => Ok(table),
        Ok(Loaded::None) => Err(FitError::NotItsTable),
        Err(Error::Corrupt(corrupt)) => Err(FitError::Conflict(corrupt)),
        Err(error) => Err(FitError::Load(error)),
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, MemoryMedium, Patch, Patches, ReadAt, WriteAt};
    use proptest::prelude::*;

    use super::{Resize, fitted, needed_len};
    use crate::test_writer::{Gpt, RawEntry, seal, write_record};
    use crate::{FitError, Fitted, Loaded, PartitionTable, load};

    fn table(medium: &MemoryMedium, sector_bytes: u32) -> PartitionTable {
        match load(medium, sector_bytes).unwrap() {
            Loaded::Table(table) => table,
            Loaded::None => panic!("no table"),
        }
    }

    fn fit(medium: &MemoryMedium, len: u64, resizes: &[Resize]) -> Result<Fitted, FitError> {
        fitted(medium, &table(medium, 512), len, resizes)
    }

    /// The medium that a restore would leave: the old bytes as far as they go, then the patches.
    fn applied(medium: &MemoryMedium, len: u64, patches: &[Patch]) -> MemoryMedium {
        let mut bytes = medium.to_vec();
        bytes.resize(len as usize, 0);
        Patches::new(patches.to_vec()).apply(0, &mut bytes);
        MemoryMedium::from_bytes(&bytes)
    }

    fn sectors(first: u64, end: u64) -> Extent {
        Extent::between(first * 512, end * 512)
    }

    fn resize(number: u32, sectors: u64) -> Resize {
        let len = sectors * 512;
        Resize { number, len }
    }

    fn mbr(entries: &[RawEntry]) -> MemoryMedium {
        let medium = MemoryMedium::new(10_000 * 512);
        medium.write_at(0, &[0xeb; 512]).unwrap();
        write_record(&medium, 512, 0, entries);
        medium
    }

    /// Two logical partitions, with links as sfdisk writes them; the container ends with them
    /// at sector 6000 or, with slack, behind.
    fn with_logicals(slack: u32) -> MemoryMedium {
        let medium = mbr(&[(0, 0x83, 10, 900), (0, 0x05, 1000, 5000 + slack)]);
        let link = (0, 0x05, 2000, 3000);
        write_record(&medium, 512, 1000, &[(0, 0x83, 8, 1992), link]);
        write_record(&medium, 512, 3000, &[(0, 0x83, 8, 2992)]);
        medium
    }

    #[test]
    fn a_table_that_fits_already_needs_no_patches() {
        let medium = mbr(&[(0, 0x83, 10, 900)]);
        let fitted = fit(&medium, 1 << 40, &[]).unwrap();
        assert_eq!(fitted.patches, []);
        assert_eq!(fitted.metadata, [sectors(0, 1)]);
        let medium = gpt().medium();
        let fitted = fit(&medium, 1000 * 512 + 511, &[]).unwrap();
        assert_eq!(fitted.patches, []);
        assert_eq!(fitted.stale, []);
        assert_eq!(fitted.metadata, [sectors(0, 34), sectors(967, 1000)]);
    }

    #[test]
    fn a_primary_partition_changes_in_its_own_entry_alone() {
        let medium = mbr(&[(0x80, 0x0c, 10, 90), (0, 0x83, 100, 900)]);
        let fitted = fit(&medium, 20_000 * 512, &[resize(2, 15_000)]).unwrap();
        let mut entry = vec![0, 0, 0, 0, 0x83, 0, 0, 0, 100, 0, 0, 0];
        entry.extend(15_000_u32.to_le_bytes());
        assert_eq!(fitted.patches, [Patch::new(0x1ce, entry)]);
    }

    #[test]
    fn a_partition_past_the_end_is_named_with_what_is_missing() {
        let medium = mbr(&[(0, 0x83, 10, 90), (0, 0x83, 100, 900)]);
        // A part of a sector is none.
        match fit(&medium, 999 * 512 + 511, &[]) {
            Err(FitError::DoesNotFit {
                number: 2,
                by_bytes: 512,
            }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(needed_len(&table(&medium, 512), &[]), 1000 * 512);
        assert!(fit(&medium, 999 * 512, &[resize(2, 899)]).is_ok());
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let medium = mbr(&[(0, 0x83, 10, 90), (0, 0x83, 100, 900)]);
        let error = |resize| fit(&medium, u64::MAX, &[resize]).unwrap_err();
        let odd = Resize { number: 1, len: 5 };
        let cases = [
            (resize(3, 1), "there is no partition 3"),
            (
                odd,
                "partition 1 cannot have 5 bytes: these are no whole sectors",
            ),
            (
                resize(2, 0),
                "partition 2 cannot have 0 bytes: these are no whole sectors",
            ),
            (
                resize(2, 1 << 32),
                "partition 2 cannot have 2199023255552 bytes: its table cannot count as many",
            ),
            (resize(1, 91), "the partitions cannot have these lengths"),
        ];
        for (resize, message) in cases {
            assert_eq!(error(resize).to_string(), message);
        }
        assert!(fit(&medium, u64::MAX, &[resize(2, (1 << 32) - 1)]).is_ok());
    }

    #[test]
    fn another_table_than_the_mediums_is_refused() {
        let medium = mbr(&[(0, 0x83, 10, 90)]);
        let other = table(&mbr(&[(0, 0x83, 10, 91)]), 512);
        let error = fitted(&medium, &other, 1 << 30, &[]).unwrap_err();
        assert!(matches!(error, FitError::NotItsTable), "{error:?}");
    }

    #[test]
    fn a_container_and_its_link_follow_their_last_logical_partition() {
        for slack in [0, 100] {
            let medium = with_logicals(slack);
            let grown = fit(&medium, 20_000 * 512, &[resize(6, 9000)]).unwrap();
            let grown = applied(&medium, 20_000 * 512, &grown.patches);
            let new = table(&grown, 512);
            assert_eq!(new.partitions[2].extent, sectors(3008, 12_008));
            assert_eq!(new.containers[0].extent, sectors(1000, 12_008));
            let link = grown.read_vec(1000 * 512 + 0x1ce, 16).unwrap();
            assert_eq!(link[8..], [0xd0, 7, 0, 0, 0x30, 0x23, 0, 0]); // 2000, 9008
            let back = fit(&grown, 10_000 * 512, &[resize(6, 2992)]).unwrap();
            let back = applied(&grown, 20_000 * 512, &back.patches).to_vec();
            let start = with_logicals(0).to_vec();
            assert!(back[..start.len()] == start[..], "slack {slack}");
        }
    }

    #[test]
    fn a_container_past_the_end_is_cut_behind_its_last_logical_partition() {
        let medium = with_logicals(2000);
        let kept = fit(&medium, 8000 * 512, &[]).unwrap();
        assert_eq!(kept.patches, []);
        let cut = fit(&medium, 7999 * 512, &[]).unwrap();
        let cut = table(&applied(&medium, 7999 * 512, &cut.patches), 512);
        assert_eq!(cut.containers[0].extent, sectors(1000, 6000));
        assert_eq!(needed_len(&cut, &[]), 6000 * 512);
        assert!(fit(&medium, 5999 * 512, &[]).is_err());
    }

    #[test]
    fn a_logical_partition_must_not_grow_over_the_next_record() {
        let error = fit(&with_logicals(0), 1 << 30, &[resize(5, 1993)]).unwrap_err();
        let FitError::Conflict(corrupt) = error else {
            panic!("{error:?}");
        };
        let messages: Vec<_> = corrupt.messages().collect();
        let expected = "partition 5 overlaps the partition table itself at bytes 1536000..1536512";
        assert_eq!(messages, [expected]);
    }

    #[test]
    fn a_container_can_be_resized_but_not_below_its_content() {
        let medium = with_logicals(0);
        let fitted = fit(&medium, 10_000 * 512, &[resize(2, 8000)]).unwrap();
        let new = table(&applied(&medium, 10_000 * 512, &fitted.patches), 512);
        assert_eq!(new.containers[0].extent, sectors(1000, 9000));
        match fit(&medium, 10_000 * 512, &[resize(2, 4999)]) {
            Err(FitError::ContainerTooShort {
                number: 2,
                by_bytes: 512,
            }) => {}
            other => panic!("{other:?}"),
        }
    }

    fn gpt() -> Gpt {
        Gpt {
            sector_bytes: 512,
            sector_count: 1000,
            partitions: vec![Some((40, 99)), None, Some((100, 966))],
        }
    }

    #[test]
    fn a_gpt_is_as_if_written_for_the_other_medium() {
        let mut other = gpt();
        other.sector_count = 2000;
        other.partitions[2] = Some((100, 1966));
        for (from, to, len) in [(gpt(), &other, 1867), (other.clone(), &gpt(), 867)] {
            let medium = from.medium();
            let new_len = to.sector_count * 512;
            let fitted = fit(&medium, new_len, &[resize(3, len)]).unwrap();
            let stale = sectors(from.sector_count - 33, from.sector_count);
            assert_eq!(
                fitted.stale.iter().map(|s| s.len()).sum::<u64>(),
                stale.len()
            );
            assert!(fitted.stale.iter().all(|s| stale.covers(*s)));
            let mut new = applied(&medium, new_len, &fitted.patches).to_vec();
            for extent in fitted.stale.iter().filter(|s| s.end() <= new_len) {
                new[extent.start() as usize..extent.end() as usize].fill(0);
            }
            assert!(new == to.medium().to_vec());
            assert_eq!(fitted.metadata, table(&to.medium(), 512).metadata);
        }
    }

    #[test]
    fn one_good_copy_makes_two() {
        let expected = gpt().medium().to_vec();
        for broken in [1, 2, 967, 999] {
            let medium = gpt().medium();
            medium.write_at(broken * 512 + 40, &[0x77; 3]).unwrap();
            let fitted = fit(&medium, 1000 * 512, &[]).unwrap();
            let new = applied(&medium, 1000 * 512, &fitted.patches);
            assert!(new.to_vec() == expected, "sector {broken}");
        }
    }

    #[test]
    fn no_partition_may_end_in_the_new_backup() {
        let medium = gpt().medium();
        match fit(&medium, 999 * 512, &[]) {
            Err(FitError::DoesNotFit {
                number: 3,
                by_bytes: 512,
            }) => {}
            other => panic!("{other:?}"),
        }
        let mut empty = gpt();
        empty.partitions.clear();
        match fit(&empty.medium(), 67 * 512, &[]) {
            Err(FitError::TableDoesNotFit { by_bytes: 512 }) => {}
            other => panic!("{other:?}"),
        }
        assert!(fit(&empty.medium(), 68 * 512, &[]).is_ok());
        assert!(fit(&empty.medium(), 0, &[]).is_err());
    }

    #[test]
    fn a_longer_header_and_what_follows_it_is_kept() {
        let medium = gpt().medium();
        for lba in [1, 999] {
            let mut header = medium.read_vec(lba * 512, 512).unwrap();
            header[0x0c] = 96;
            header[92..100].fill(0xa5);
            header[0x10..0x14].fill(0);
            let crc = crc32fast::hash(&header[..96]);
            header[0x10..0x14].copy_from_slice(&crc.to_le_bytes());
            medium.write_at(lba * 512, &header).unwrap();
        }
        let fitted = fit(&medium, 3000 * 512, &[]).unwrap();
        let new = applied(&medium, 3000 * 512, &fitted.patches);
        assert_eq!(table(&new, 512).damages, []);
        for lba in [1, 2999] {
            assert_eq!(
                new.read_vec(lba * 512 + 92, 9).unwrap()[..],
                *b"\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\0"
            );
        }
    }

    #[test]
    fn entries_of_a_hybrid_follow_their_partition_and_others_stay() {
        let medium = gpt().medium();
        let others: [RawEntry; 3] = [(0, 0xee, 1, 39), (0x80, 0x0c, 40, 60), (0, 0x83, 100, 867)];
        write_record(&medium, 512, 0, &others);
        let fitted = fit(&medium, 2000 * 512, &[resize(3, 1000)]).unwrap();
        let new = applied(&medium, 2000 * 512, &fitted.patches);
        let expected = MemoryMedium::new(512);
        write_record(
            &expected,
            512,
            0,
            &[others[0], others[1], (0, 0x83, 100, 1000)],
        );
        assert_eq!(new.read_vec(0, 512).unwrap(), expected.to_vec());
        assert_eq!(table(&new, 512).damages, []);
    }

    #[test]
    fn a_cut_that_a_hybrid_entry_can_not_follow_is_refused() {
        let medium = gpt().medium();
        write_record(&medium, 512, 0, &[(0, 0xee, 1, 39), (0, 0x83, 200, 767)]);
        let error = fit(&medium, 2000 * 512, &[resize(3, 866)]).unwrap_err();
        assert!(matches!(error, FitError::Conflict(_)), "{error:?}");
    }

    #[test]
    fn a_protective_entry_that_says_everything_goes_on_saying_so() {
        let medium = gpt().medium();
        write_record(&medium, 512, 0, &[(0, 0xee, 1, u32::MAX)]);
        let fitted = fit(&medium, 2000 * 512, &[]).unwrap();
        assert_eq!(fitted.patches[0].offset, 512);
    }

    #[test]
    fn an_array_that_was_moved_away_from_the_second_sector_stays_where_it_is() {
        let mut gpt = gpt();
        gpt.partitions = vec![Some((200, 300))];
        let medium = gpt.medium();
        let array = medium.read_vec(2 * 512, 32 * 512).unwrap();
        medium.write_at(100 * 512, &array).unwrap();
        medium.write_at(2 * 512, &[0xb0; 32 * 512]).unwrap();
        for lba in [1, 999] {
            let mut header = medium.read_vec(lba * 512, 92).unwrap();
            header[0x28] = 132;
            if lba == 1 {
                header[0x48] = 100;
            }
            seal(&mut header);
            medium.write_at(lba * 512, &header).unwrap();
        }
        for broken in [false, true] {
            if broken {
                medium.write_at(512 + 0x10, &[1, 2, 3, 4]).unwrap();
            }
            let fitted = fit(&medium, 2000 * 512, &[resize(1, 500)]).unwrap();
            let new = applied(&medium, 2000 * 512, &fitted.patches);
            assert_eq!(new.read_vec(1024, 32 * 512).unwrap(), [0xb0; 32 * 512]);
            let new = table(&new, 512);
            assert_eq!(new.damages, []);
            assert_eq!(new.metadata[1], sectors(100, 132));
        }
    }

    prop_compose! {
        fn any_gpt()(
            lengths in prop::collection::vec((0_u64..30, 1_u64..50, any::<bool>()), 1..20),
            sector_bytes in prop::sample::select(vec![512_u64, 4096]),
            tail in 0_u64..100,
        ) -> Gpt {
            let mut next = 34;
            let mut partitions = Vec::new();
            for (gap, len, used) in lengths {
                partitions.push(used.then_some((next + gap, next + gap + len - 1)));
                next += gap + len;
            }
            partitions.reverse();
            Gpt { sector_bytes, sector_count: next + tail + 34, partitions }
        }
    }

    proptest! {
        #[test]
        fn a_fitted_gpt_is_sound_and_its_shortest_medium_is_the_shortest(
            gpt in any_gpt(), more in 0_u64..300, slot in 0_usize..20, len in 1_u64..300,
        ) {
            let medium = gpt.medium();
            let sector_bytes = gpt.sector_bytes as u32;
            let old = table(&medium, sector_bytes);
            let resizes: Vec<_> = old.partitions.get(slot).into_iter().map(|p| Resize {
                number: p.number,
                len: len * gpt.sector_bytes,
            }).collect();
            let needed = needed_len(&old, &resizes);
            prop_assert!(fitted(&medium, &old, needed - 1, &resizes).is_err());
            let new_len = needed + more * 512;
            match fitted(&medium, &old, new_len, &resizes) {
                Ok(fitted) => {
                    let new = applied(&medium, new_len, &fitted.patches);
                    let new = table(&new, sector_bytes);
                    prop_assert_eq!(&new.damages, &[]);
                    prop_assert_eq!(&new.metadata, &fitted.metadata);
                    for (before, after) in old.partitions.iter().zip(&new.partitions) {
                        let mut expected = before.clone();
                        if let Some(resize) = resizes.iter().find(|r| r.number == before.number) {
                            let start = before.extent.start();
                            expected.extent = Extent::between(start, start + resize.len);
                        }
                        prop_assert_eq!(after, &expected);
                    }
                    let back: Vec<_> = resizes.iter().map(|r| Resize {
                        number: r.number,
                        len: old.partition(r.number).unwrap().extent.len(),
                    }).collect();
                    let grown = applied(&medium, new_len, &fitted.patches);
                    let fitted =
                        super::fitted(&grown, &new, medium.len(), &back).unwrap();
                    let back = applied(&grown, new_len.max(medium.len()), &fitted.patches);
                    for extent in old.metadata {
                        let (start, len) = (extent.start(), extent.len() as usize);
                        let was = medium.read_vec(start, len).unwrap();
                        prop_assert!(back.read_vec(start, len).unwrap() == was);
                    }
                }
                Err(FitError::Conflict(_)) => prop_assert!(!resizes.is_empty()),
                Err(error) => prop_assert!(false, "{error:?}"),
            }
        }
    }
}
