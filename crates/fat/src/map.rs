//! The allocation map: what the FATs say of each cluster, and everything around them as used.
//!
//! | bytes | state | why |
//! |---|---|---|
//! | reserved sectors, FATs, fixed root directory | used | |
//! | clusters that any FAT calls used | used | the copies should agree; if not, either may be right |
//! | clusters that no FAT can be read for | used | not proven free |
//! | free clusters | free | |
//! | clusters marked bad | free | nobody reads them, and trying would only delay |
//! | behind the last cluster, inside the filesystem and behind it | used | not proven free |

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Monitor, ReadAt, State, Trouble};

use crate::geometry::{FIRST_CLUSTER, Geometry};
use crate::table::{Mark, SCAN_BYTES, Window, WindowPlace};
use crate::{Error, FatFs};

impl<M: ReadAt> FatFs<M> {
    /// Returns the allocation map over the medium's whole length.
    ///
    /// FATs that differ or can't be read, and a root directory that the FAT calls free, are told
    /// to the monitor. Memory is bounded by a constant beyond the map itself.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the monitor asks for it.
    pub fn allocation_map(&self, monitor: &dyn Monitor) -> Result<AllocationMap, Error> {
        let geometry = &self.geometry;
        let mut builder = MapBuilder::new(self.medium.len());
        builder.push_to(geometry.data_start, State::Used);
        let mut differences = Differences::default();
        for index in 0..geometry.window_count(SCAN_BYTES) {
            if monitor.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.read_copies(index, monitor) {
                Some(copies) => {
                    differences.add(geometry, index, &copies);
                    self.push_window(&copies, &mut builder, monitor);
                }
                None => {
                    let end = geometry.window_range(index, SCAN_BYTES).end;
                    builder.push_to(geometry.cluster_start(end), State::Used);
                }
            }
        }
        // Where only one FAT is kept, the others are known to be old.
        if geometry.only_fat.is_none() {
            differences.tell(monitor);
        }
        Ok(builder.finish(State::Used))
    }

    /// The same window of all FATs that can be read there; `None` where none that counts can.
    fn read_copies(&self, index: u32, monitor: &dyn Monitor) -> Option<Vec<Window>> {
        let mut copies = Vec::with_capacity(self.geometry.fat_count.into());
        let mut is_known = false;
        for fat in 0..self.geometry.fat_count {
            let window = self.geometry.read_window(&self.medium, place(fat, index));
            match window {
                Ok(window) => {
                    copies.push(window);
                    // Where only one FAT is kept, the others are old.
                    is_known |= self.geometry.only_fat.is_none_or(|only| only == fat);
                }
                Err(error) => {
                    let extent = self.geometry.window_extent(place(fat, index));
                    let message = format!("FAT {} is unreadable in part: {error}", fat + 1);
                    monitor.trouble(Trouble::new(message).at(extent));
                }
            }
        }
        if !is_known {
            let extent = self.geometry.window_extent(place(0, index));
            let message = "no FAT can be read in part, so its clusters count as used";
            monitor.trouble(Trouble::new(message).at(extent));
        }
        is_known.then_some(copies)
    }

    fn push_window(&self, copies: &[Window], builder: &mut MapBuilder, monitor: &dyn Monitor) {
        let Some((first, others)) = copies.split_first() else {
            return;
        };
        let others: Vec<_> = others
            .iter()
            .filter(|other| other.bytes() != first.bytes())
            .collect();
        for number in first.entries().skip_while(|&n| n < FIRST_CLUSTER) {
            let is_used = |window: &Window| window.mark(number) == Mark::Used;
            let mut state = match is_used(first) || others.iter().any(|other| is_used(other)) {
                true => State::Used,
                false => State::Free,
            };
            if state == State::Free && self.geometry.root_cluster == Some(number) {
                let extent = self.geometry.clusters(number, 1);
                let message = "the FAT calls the root directory's first cluster free: it is kept";
                monitor.trouble(Trouble::new(message).at(extent));
                state = State::Used;
            }
            builder.push_to(self.geometry.cluster_start(number + 1), state);
        }
    }
}

/// The window number `index` of FAT number `fat` (both from 0), as a scan reads it.
const fn place(fat: u8, index: u32) -> WindowPlace {
    WindowPlace {
        fat,
        index,
        window_bytes: SCAN_BYTES,
    }
}

/// Where the FATs differ.
#[derive(Debug, Default)]
struct Differences {
    entry_count: u64,
    first: Option<Extent>,
}

impl Differences {
    fn add(&mut self, geometry: &Geometry, index: u32, copies: &[Window]) {
        let Some((first, others)) = copies.split_first() else {
            return;
        };
        for (fat, other) in (1..).zip(others) {
            if other.bytes() == first.bytes() {
                continue;
            }
            // The two entries before the clusters hold marks that tools set in one copy only.
            let numbers = first.entries().skip_while(|&n| n < FIRST_CLUSTER);
            let count = numbers
                .filter(|&n| first.value(n) != other.value(n))
                .count();
            self.entry_count += count as u64;
            if count > 0 && self.first.is_none() {
                self.first = Some(geometry.window_extent(place(fat, index)));
            }
        }
    }

    fn tell(&self, monitor: &dyn Monitor) {
        if let Some(extent) = self.first {
            let message = format!(
                "the copies of the FAT differ in {} entries: what either calls used is kept",
                self.entry_count
            );
            monitor.trouble(Trouble::new(message).at(extent));
        }
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{AllocationMap, Extent, ReadAt, Silent, State, Trouble};
    use cardkeep_testkit::{Recorder, Stop};

    use crate::kind::FatKind;
    use crate::test_writer::{SECTOR, Writer};
    use crate::{Error, FatFs};

    const KINDS: [(FatKind, u64); 3] = [
        (FatKind::Fat12, 4084),
        (FatKind::Fat16, 60_001),
        (FatKind::Fat32, 70_000),
    ];

    fn map(writer: &Writer) -> (AllocationMap, Vec<Trouble>) {
        let listener = Recorder::new();
        let fs = FatFs::load(&writer.medium).unwrap();
        let map = fs.allocation_map(&listener).unwrap();
        (map, listener.troubles())
    }

    /// The map that calls just these clusters free.
    fn expected(writer: &Writer, free: impl Iterator<Item = u64>) -> AllocationMap {
        let layer: Vec<_> = free
            .map(|cluster| {
                let extent = Extent::new(writer.cluster_start(cluster), SECTOR).unwrap();
                cardkeep_block::Run::new(extent, State::Free)
            })
            .collect();
        AllocationMap::all(writer.medium.len(), State::Used).replaced(&layer)
    }

    #[test]
    fn free_is_what_the_fat_calls_free_or_bad() {
        for (kind, count) in KINDS {
            let writer = Writer::new(kind, count);
            let last = count + 1;
            let bad = match kind {
                FatKind::Fat12 => 0xff7,
                FatKind::Fat16 => 0xfff7,
                FatKind::Fat32 => 0x0fff_fff7,
            };
            writer.chain(&[5, 6, 900, last]);
            writer.set_all(7, bad);
            writer.set_all(8, 1);
            let mut used = vec![5, 6, 8, 900, last];
            used.extend((kind == FatKind::Fat32).then_some(2));
            let free = (2..=last).filter(|cluster| !used.contains(cluster));
            let (map, troubles) = map(&writer);
            assert_eq!(map, expected(&writer, free), "{kind}");
            assert_eq!(troubles, []);
            let info = FatFs::load(&writer.medium).unwrap().info().clone();
            // The bad cluster is neither free nor used.
            assert_eq!(u64::from(info.free_clusters), count - used.len() as u64 - 1);
        }
    }

    #[test]
    fn the_upper_four_bits_of_fat32_say_nothing() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        writer.set_all(9, 0xf000_0000);
        let (map, _) = map(&writer);
        assert_eq!(map, expected(&writer, 3..70_002));
    }

    #[test]
    fn what_either_fat_calls_used_is_used() {
        for (kind, count) in KINDS {
            let writer = Writer::new(kind, count);
            writer.set(0, 10, 0xff7 | 0x0fff_f000);
            writer.set(0, 11, 0xfff);
            writer.set(1, 12, 0xfff);
            let first = if kind == FatKind::Fat32 { 3 } else { 2 };
            let free = (first..count + 2).filter(|cluster| !matches!(cluster, 11 | 12));
            let (map, troubles) = map(&writer);
            assert_eq!(map, expected(&writer, free), "{kind}");
            assert_eq!(troubles.len(), 1);
            assert_eq!(
                troubles[0].message,
                "the copies of the FAT differ in 3 entries: what either calls used is kept"
            );
            let place = troubles[0].extent.unwrap();
            assert_eq!(place.start(), writer.fat_start(1));
        }
    }

    #[test]
    fn fats_that_are_not_kept_alike_are_no_trouble() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        writer.put(0x028, &[0x81]);
        writer.set(0, 11, 0xfff);
        writer.set(1, 12, 0xfff);
        let (map, troubles) = map(&writer);
        assert_eq!(troubles, []);
        let free = (3..70_002).filter(|cluster| !matches!(cluster, 11 | 12));
        assert_eq!(map, expected(&writer, free));
        // The second FAT counts: it calls all but clusters 2 and 12 free.
        let fs = FatFs::load(&writer.medium).unwrap();
        assert_eq!(fs.info().free_clusters, 69_998);
    }

    #[test]
    fn a_root_directory_called_free_is_kept() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        writer.set_all(2, 0);
        let (map, troubles) = map(&writer);
        assert_eq!(map, expected(&writer, 3..70_002));
        assert_eq!(troubles.len(), 1);
    }

    #[test]
    fn where_one_fat_is_unreadable_the_other_counts() {
        for fat in [0, 1] {
            let writer = Writer::new(FatKind::Fat32, 70_000);
            writer.chain(&[50_000, 50_001]);
            let bad = Extent::new(writer.fat_start(fat) + 200 * 1024, 512).unwrap();
            let listener = Recorder::new();
            let fs = FatFs::load(writer.with_bad(bad)).unwrap();
            let map = fs.allocation_map(&listener).unwrap();
            let free = (3..70_002).filter(|cluster| !matches!(cluster, 50_000 | 50_001));
            assert_eq!(map, expected(&writer, free));
            let troubles = listener.troubles();
            assert_eq!(troubles.len(), 1);
            assert!(troubles[0].extent.unwrap().covers(bad));
            assert_eq!(fs.info().free_clusters, 69_997);
        }
    }

    #[test]
    fn clusters_that_no_fat_can_be_read_for_are_used() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        // From the second of two pieces of the first FAT, entries from 49 152 on, into the second
        // FAT's.
        let start = writer.fat_start(0) + 200 * 1024;
        let bad = Extent::between(start, writer.fat_start(1) + 200 * 1024);
        let fs = FatFs::load(writer.with_bad(bad)).unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map, expected(&writer, 3..49_152));
    }

    #[test]
    fn an_old_fat_does_not_stand_in_for_the_one_that_is_kept() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        writer.put(0x028, &[0x81]);
        let bad = Extent::new(writer.fat_start(1), 512).unwrap();
        let fs = FatFs::load(writer.with_bad(bad)).unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map, expected(&writer, 49_152..70_002));
    }

    #[test]
    fn a_cancelled_map_ends() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        let listener = Recorder::stopping(Stop::AfterQuestions(0));
        let fs = FatFs::load(&writer.medium).unwrap();
        let result = fs.allocation_map(&listener);
        assert!(matches!(result, Err(Error::Cancelled)));
    }
    proptest::proptest! {
        #[test]
        fn the_map_follows_any_fat(
            kind in proptest::sample::select(&KINDS[..]),
            values in proptest::collection::vec(0_u32..0x1000, 4084),
            shift in 0_u64..60_000,
        ) {
            let (kind, count) = kind;
            let writer = Writer::new(kind, count);
            let start = 3 + if kind == FatKind::Fat12 { 0 } else { shift % (count - 4084) };
            // Three in four are free; none of the rest is a mark of a bad cluster.
            let value = |v: u32| if v.is_multiple_of(4) { v } else { 0 };
            for (cluster, &v) in (start..=count + 1).zip(&values) {
                writer.set_all(cluster, value(v));
            }
            let is_used = |cluster: u64| {
                let index = cluster.checked_sub(start).map(|index| index as usize);
                let own = index.and_then(|index| values.get(index)).is_some_and(|&v| value(v) != 0);
                own || (kind == FatKind::Fat32 && cluster == 2)
            };
            let free: Vec<_> = (2..count + 2).filter(|&cluster| !is_used(cluster)).collect();
            let (map, _) = map(&writer);
            let fs = FatFs::load(&writer.medium).unwrap();
            proptest::prop_assert_eq!(fs.info().free_clusters as usize, free.len());
            proptest::prop_assert_eq!(map, expected(&writer, free.into_iter()));
        }
    }
}
