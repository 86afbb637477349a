//! The allocation map: what the FATs say of each cluster, and everything around them as used.
//!
//! | bytes | state | why |
//! |---|---|---|
//! | reserved sectors, FATs, fixed root directory | used | |
//! | clusters that any FAT calls used | used | the copies should agree; if not, either may be right |
//! | clusters that can't be known, since a FAT can't be read | used | not proven free |
//! | free clusters | free | |
//! | clusters marked bad | free | nobody reads them, and trying would only delay |
//! | behind the last cluster, inside the filesystem and behind it | used | not proven free |

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Monitor, ReadAt, State, Trouble};

use crate::geometry::{FIRST_CLUSTER, Geometry};
use crate::table::{Mark, SCAN_BYTES, Window};
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

    /// The same window of all FATs; `None` where one can't be read.
    fn read_copies(&self, index: u32, monitor: &dyn Monitor) -> Option<Vec<Window>> {
        let mut copies = Vec::with_capacity(self.geometry.fat_count.into());
        for fat in 0..self.geometry.fat_count {
            let window = self
                .geometry
                .read_window(&self.medium, (fat, index), SCAN_BYTES);
            match window {
                Ok(window) => copies.push(window),
                Err(error) => {
                    let extent = self.geometry.window_extent(fat, index, SCAN_BYTES);
                    let message = format!(
                        "FAT {} is unreadable in part, so its clusters count as used: {error}",
                        fat + 1
                    );
                    monitor.trouble(Trouble::new(message).at(extent));
                    return None;
                }
            }
        }
        Some(copies)
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
                self.first = Some(geometry.window_extent(fat, index, SCAN_BYTES));
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
