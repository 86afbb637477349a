//! What of a rescue map anybody wants: where it meets the allocation map.

use cardkeep_block::{AllocationMap, Extent, RescueMap, RescueStatus, State};

/// Finishes in `map` what was handed on, and returns which of it the store lacks.
pub(crate) fn add_served(map: &mut RescueMap, served: &RescueMap) -> Vec<Extent> {
    let mut elsewhere = Vec::new();
    for handed in served.extents(RescueStatus::Finished) {
        elsewhere.extend(map.unfinished_in(handed).map(|run| run.extent));
    }
    for &extent in &elsewhere {
        map.set(extent, RescueStatus::Finished);
    }
    elsewhere
}

/// Shorter gaps are finished in passing: so many can't fill the map.
const IDLE_PARTS: u64 = 1 << 16;
/// A gap that is no longer than this is not worth a run of its own.
const IDLE_BYTES_MIN: u64 = 1 << 20;

/// Returns the map in which long stretches that nobody wants are finished: ddrescue, which knows
/// no filesystem, then leaves them alone too.
pub(crate) fn without_idle(mut map: RescueMap, wanted: &AllocationMap) -> RescueMap {
    let idle_bytes_min = (map.len() / IDLE_PARTS).max(IDLE_BYTES_MIN);
    let idle = wanted.runs().filter(|run| run.state != State::Used);
    for run in idle.filter(|run| run.extent.len() >= idle_bytes_min) {
        map.set(run.extent, RescueStatus::Finished);
    }
    map
}

/// Returns the used extents that are not finished, joined where there are too many for a manifest.
pub(crate) fn lost_of(wanted: &AllocationMap, map: &RescueMap) -> Vec<Extent> {
    let unfinished = map.unfinished_in(Extent::between(0, map.len()));
    let lost = unfinished
        .flat_map(|run| wanted.runs_in(run.extent))
        .filter(|run| run.state == State::Used)
        .map(|run| run.extent);
    joined(lost.collect())
}

/// Returns the extents in address order, joined where they meet, and across gaps where they are too many for
/// a manifest.
pub(crate) fn joined(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut all = joined_across(extents.into_iter(), 0);
    let mut gap_bytes = 512;
    while all.len() > cardkeep_image::LOST_MAX {
        all = joined_across(all.into_iter(), gap_bytes);
        gap_bytes *= 2;
    }
    all
}

fn joined_across(extents: impl Iterator<Item = Extent>, gap_bytes: u64) -> Vec<Extent> {
    let mut all: Vec<Extent> = Vec::new();
    for extent in extents {
        match all.last_mut() {
            Some(last) if extent.start().saturating_sub(last.end()) <= gap_bytes => {
                *last = Extent::between(last.start(), extent.end().max(last.end()));
            }
            _ => all.push(extent),
        }
    }
    all
}

/// Returns how many used bytes are not finished.
pub(crate) fn left_bytes(wanted: &AllocationMap, map: &RescueMap) -> u64 {
    let left = map.unfinished_in(Extent::between(0, map.len()));
    left.flat_map(|run| wanted.runs_in(run.extent))
        .filter(|run| run.state == State::Used)
        .map(|run| run.extent.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{add_served, joined_across, left_bytes, lost_of, without_idle};
    use cardkeep_block::{AllocationMap, Extent, RescueMap, RescueStatus, Run, State};

    const MIB: u64 = 1 << 20;

    fn wanted() -> AllocationMap {
        let free = [(0, 512), (MIB, 3 * MIB)];
        let runs = free.map(|(a, b)| Run::new(Extent::between(a, b), State::Free));
        AllocationMap::all(4 * MIB, State::Used).replaced(&runs)
    }

    #[test]
    fn only_long_free_stretches_are_finished_beforehand() {
        let map = RescueMap::new(4 * MIB, RescueStatus::NonTried);
        let map = without_idle(map, &wanted());
        let done: Vec<Extent> = map.extents(RescueStatus::Finished).collect();
        assert_eq!(done, [Extent::between(MIB, 3 * MIB)]);
        assert_eq!(left_bytes(&wanted(), &map), 2 * MIB - 512);
    }

    #[test]
    fn what_was_handed_on_is_finished_and_known_to_lie_elsewhere() {
        let mut map = RescueMap::new(100, RescueStatus::NonTried);
        map.set(Extent::between(20, 30), RescueStatus::Finished);
        let mut served = RescueMap::new(100, RescueStatus::NonTried);
        served.set(Extent::between(10, 40), RescueStatus::Finished);
        let elsewhere = add_served(&mut map, &served);
        assert_eq!(
            elsewhere,
            [Extent::between(10, 20), Extent::between(30, 40)]
        );
        let done: Vec<Extent> = map.extents(RescueStatus::Finished).collect();
        assert_eq!(done, [Extent::between(10, 40)]);
    }

    #[test]
    fn what_is_free_is_not_lost() {
        let mut map = RescueMap::new(4 * MIB, RescueStatus::Finished);
        map.set(Extent::between(0, 1024), RescueStatus::BadSector);
        map.set(Extent::between(MIB, MIB + 512), RescueStatus::BadSector);
        assert_eq!(lost_of(&wanted(), &map), [Extent::between(512, 1024)]);
    }

    #[test]
    fn neighbours_are_joined_across_gaps_of_a_size() {
        let extents = [(0, 10), (10, 20), (25, 30), (36, 40)];
        let extents = extents.map(|(a, b)| Extent::between(a, b));
        let all = |gap| joined_across(extents.into_iter(), gap).len();
        assert_eq!([all(0), all(5), all(6)], [3, 2, 1]);
    }
}
