//! The rescue map: how far reading a failing medium has come, byte by byte.
//!
//! A map tiles its medium without holes, and neighbouring runs differ in status. Every byte goes
//! through the statuses from the top to the bottom, and leaves them for the last one as soon as
//! it is read:
//!
//! ```text
//!   NonTried     nobody asked for it yet
//!   NonTrimmed   a large request that covers it failed: its good edges are not found yet
//!   NonScraped   the edges are known to be bad: what lies between was not tried by itself
//!   BadSector    it was tried by itself, and failed
//!   Finished     nothing of it is left to be read
//! ```
//!
//! The code that sets it keeps the map small: see [`RescueMap::RUNS_MAX`].

use std::collections::BTreeMap;

use crate::Extent;

/// What is known about reading a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RescueStatus {
    /// Nobody asked for it yet.
    NonTried,
    /// A large request that covers it failed.
    NonTrimmed,
    /// It lies between edges that are known to be bad.
    NonScraped,
    /// It was tried by itself, and failed.
    BadSector,
    /// Nothing of it is left to be read.
    Finished,
}

impl RescueStatus {
    /// Tells whether a request that covers it has failed.
    #[must_use]
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::NonTrimmed | Self::NonScraped | Self::BadSector)
    }
}

/// A longest extent of one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RescueRun {
    /// Where.
    pub extent: Extent,
    /// What is known about it.
    pub status: RescueStatus,
}

/// How far reading a medium has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RescueMap {
    len: u64,
    /// Where each run begins; it ends where the next one begins.
    starts: BTreeMap<u64, RescueStatus>,
}

impl RescueMap {
    /// Who splits failed areas stops at so many runs and leaves the rest whole: half a million
    /// take some 20 MB, and a medium that needs more keeps hardly anything.
    pub const RUNS_MAX: usize = 1 << 19;

    /// Returns the map of a medium of `len` bytes that has one status all over.
    #[must_use]
    pub fn new(len: u64, status: RescueStatus) -> Self {
        let mut starts = BTreeMap::new();
        if len > 0 {
            starts.insert(0, status);
        }
        Self { len, starts }
    }

    /// Returns the length of the medium in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether the medium holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of runs.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.starts.len()
    }

    /// Tells whether the map has as many runs as it should ever have: see [`Self::RUNS_MAX`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.run_count() >= Self::RUNS_MAX
    }

    /// Gives `extent`, cut at the medium's end, this status.
    pub fn set(&mut self, extent: Extent, status: RescueStatus) {
        let extent = extent.intersection(Extent::between(0, self.len));
        let (start, end) = (extent.start(), extent.end());
        if extent.is_empty() {
            return;
        }
        if let Some(behind) = self.status_at(end) {
            self.starts.insert(end, behind);
        }
        let covered: Vec<u64> = self.starts.range(start..end).map(|(&at, _)| at).collect();
        for at in covered {
            self.starts.remove(&at);
        }
        self.starts.insert(start, status);
        self.join(start);
        self.join(end);
    }

    /// Removes the border at `at` where both sides have the same status.
    fn join(&mut self, at: u64) {
        let before = self
            .starts
            .range(..at)
            .next_back()
            .map(|(_, &status)| status);
        if before.is_some() && self.starts.get(&at).copied() == before {
            self.starts.remove(&at);
        }
    }

    /// Returns the status of the byte at `offset`; `None` behind the end.
    #[must_use]
    pub fn status_at(&self, offset: u64) -> Option<RescueStatus> {
        if offset >= self.len {
            return None;
        }
        let run = self.starts.range(..=offset).next_back();
        run.map(|(_, &status)| status)
    }

    /// Returns the runs in address order; they tile the medium.
    pub fn runs(&self) -> impl Iterator<Item = RescueRun> + '_ {
        self.runs_in(Extent::between(0, self.len))
    }

    /// Returns the runs within `window`, cut to it, in address order.
    pub fn runs_in(&self, window: Extent) -> impl Iterator<Item = RescueRun> + '_ {
        let window = window.intersection(Extent::between(0, self.len));
        let first = self.starts.range(..=window.start()).next_back();
        let first = first.map_or(0, |(&start, _)| start);
        let starts = self.starts.range(first..window.end().max(first));
        let ends = self.starts.range(first..).skip(1).map(|(&start, _)| start);
        starts
            .zip(ends.chain(std::iter::once(self.len)))
            .map(move |((&start, &status), end)| RescueRun {
                extent: Extent::between(start, end).intersection(window),
                status,
            })
            .filter(|run| !run.extent.is_empty())
    }

    /// Returns the extents of one status in address order.
    pub fn extents(&self, status: RescueStatus) -> impl Iterator<Item = Extent> + '_ {
        self.runs()
            .filter(move |run| run.status == status)
            .map(|run| run.extent)
    }

    /// Returns how many bytes have `status`.
    #[must_use]
    pub fn bytes(&self, status: RescueStatus) -> u64 {
        self.extents(status).map(Extent::len).sum()
    }

    /// Returns the parts of `window` that are not finished, in address order.
    pub fn unfinished_in(&self, window: Extent) -> impl Iterator<Item = RescueRun> + '_ {
        self.runs_in(window)
            .filter(|run| run.status != RescueStatus::Finished)
    }

    /// Tells whether any request has failed for good or is still to be tried anew.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.starts.values().any(|status| status.is_failed())
    }
}

#[cfg(test)]
mod tests {
    use super::{RescueMap, RescueRun, RescueStatus};
    use crate::Extent;
    use proptest::prelude::{Strategy, prop, proptest};

    const LEN: u64 = 100;
    const STATUSES: [RescueStatus; 5] = [
        RescueStatus::NonTried,
        RescueStatus::NonTrimmed,
        RescueStatus::NonScraped,
        RescueStatus::BadSector,
        RescueStatus::Finished,
    ];

    fn steps() -> impl Strategy<Value = Vec<RescueRun>> {
        let step =
            (0..LEN + 20, 0..40_u64, 0..5_usize).prop_map(|(start, len, status)| RescueRun {
                extent: Extent::new(start, len).unwrap(),
                status: STATUSES[status],
            });
        prop::collection::vec(step, 0..20)
    }

    /// Takes the steps in the map and in the model, a status per byte.
    fn both(steps: &[RescueRun]) -> (RescueMap, Vec<RescueStatus>) {
        let mut map = RescueMap::new(LEN, RescueStatus::NonTried);
        let mut model = vec![RescueStatus::NonTried; LEN as usize];
        for step in steps {
            map.set(step.extent, step.status);
            for offset in step.extent.start()..step.extent.end().min(LEN) {
                model[offset as usize] = step.status;
            }
        }
        (map, model)
    }

    fn bytes_of(runs: impl Iterator<Item = RescueRun>) -> Vec<RescueStatus> {
        runs.flat_map(|run| vec![run.status; run.extent.len() as usize])
            .collect()
    }

    proptest! {
        #[test]
        fn setting_follows_the_model(steps in steps()) {
            let (map, model) = both(&steps);
            assert_eq!(bytes_of(map.runs()), model);
            for status in STATUSES {
                let count = model.iter().filter(|&&s| s == status).count() as u64;
                assert_eq!(map.bytes(status), count);
            }
            let failed = model.iter().any(|status| status.is_failed());
            assert_eq!(map.has_failures(), failed);
        }

        #[test]
        fn runs_tile_the_medium_and_neighbours_differ(steps in steps()) {
            let (map, _) = both(&steps);
            let runs: Vec<RescueRun> = map.runs().collect();
            assert_eq!(runs.len(), map.run_count());
            let mut end = 0;
            for (index, run) in runs.iter().enumerate() {
                assert_eq!(run.extent.start(), end);
                assert!(!run.extent.is_empty());
                assert!(index == 0 || runs[index - 1].status != run.status);
                end = run.extent.end();
            }
            assert_eq!(end, LEN);
        }

        #[test]
        fn windows_cut_the_runs(steps in steps(), start in 0..LEN + 20, len in 0..LEN + 20) {
            let (map, model) = both(&steps);
            let window = Extent::new(start, len).unwrap();
            let (from, to) = (start.min(LEN) as usize, window.end().min(LEN) as usize);
            assert_eq!(bytes_of(map.runs_in(window)), model[from..to.max(from)]);
            assert_eq!(map.status_at(start), model.get(start as usize).copied());
            let unfinished = map.unfinished_in(window).map(|run| run.extent.len()).sum::<u64>();
            let expected = model[from..to.max(from)].iter();
            let expected = expected.filter(|&&s| s != RescueStatus::Finished).count();
            assert_eq!(unfinished, expected as u64);
        }
    }

    #[test]
    fn a_medium_without_bytes_has_no_runs() {
        let mut map = RescueMap::new(0, RescueStatus::NonTried);
        map.set(Extent::between(0, 10), RescueStatus::BadSector);
        assert_eq!((map.run_count(), map.runs().count()), (0, 0));
        assert!(map.is_empty() && !map.has_failures());
    }
}
