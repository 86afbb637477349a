//! A medium cut into frames, and what has to be read of each.

use cardkeep_block::{AllocationMap, Extent, State};
use cardkeep_image::FRAME_BYTES;

use crate::runs::{RequestCost, clear, requests_for};

/// A medium's address space cut into frames of [`FRAME_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct FrameList<'a> {
    map: &'a AllocationMap,
}

impl<'a> FrameList<'a> {
    /// Returns the frames of the medium that `map` describes.
    #[must_use]
    pub const fn new(map: &'a AllocationMap) -> Self {
        Self { map }
    }

    /// Returns the map of the medium.
    #[must_use]
    pub const fn map(&self) -> &'a AllocationMap {
        self.map
    }

    /// Returns the number of frames.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.map.len().div_ceil(FRAME_BYTES as u64) as usize
    }

    /// Returns the part of the medium that a frame holds; the last one may be shorter.
    #[must_use]
    pub fn extent(&self, index: usize) -> Extent {
        let start = (index as u64)
            .saturating_mul(FRAME_BYTES as u64)
            .min(self.map.len());
        Extent::between(
            start,
            start.saturating_add(FRAME_BYTES as u64).min(self.map.len()),
        )
    }

    /// Returns the used extents within a frame.
    pub fn used(&self, index: usize) -> impl Iterator<Item = Extent> + 'a {
        self.map
            .runs_in(self.extent(index))
            .filter(|run| run.state == State::Used)
            .map(|run| run.extent)
    }

    /// Returns the number of used bytes within a frame.
    #[must_use]
    pub fn used_bytes(&self, index: usize) -> u64 {
        self.used(index).map(Extent::len).sum()
    }

    /// Returns the first frame from `from` on that holds a used byte.
    #[must_use]
    pub fn next_used(&self, from: usize) -> Option<usize> {
        let rest = Extent::between(self.extent(from).start(), self.map.len());
        if from >= self.count() {
            return None;
        }
        let first = self
            .map
            .runs_in(rest)
            .find(|run| run.state == State::Used)?;
        Some((first.extent.start() / FRAME_BYTES as u64) as usize)
    }

    /// Fills with zeros what is not used of a frame's content.
    pub(crate) fn clear_unused(&self, index: usize, content: &mut [u8]) {
        let frame = self.extent(index);
        let runs = self.map.runs_in(frame);
        let unused = runs.filter(|run| run.state != State::Used);
        clear(unused, frame.start(), content);
    }

    /// Returns the requests that read a frame: see [`requests_in`].
    pub(crate) fn requests(&self, index: usize, cost: RequestCost) -> Vec<Extent> {
        requests_in(self.map, self.extent(index), cost)
    }
}

/// Returns the requests that read what `window` has of the used extents of `map`: see
/// [`requests_for`].
pub(crate) fn requests_in(map: &AllocationMap, window: Extent, cost: RequestCost) -> Vec<Extent> {
    let used = map.runs_in(window).filter(|run| run.state == State::Used);
    requests_for(used.map(|run| run.extent), window, cost)
}

#[cfg(test)]
mod tests {
    use super::FrameList;
    use crate::runs::RequestCost;
    use cardkeep_block::{AllocationMap, Extent, Run, State};
    use cardkeep_image::FRAME_BYTES;

    const FRAME: u64 = FRAME_BYTES as u64;

    fn map(len: u64, used: &[(u64, u64)]) -> AllocationMap {
        let runs: Vec<Run> = used
            .iter()
            .map(|&(a, b)| Run::new(Extent::between(a, b), State::Used))
            .collect();
        AllocationMap::all(len, State::Free).replaced(&runs)
    }

    #[test]
    fn frames_without_used_bytes_are_passed_over() {
        let map = map(
            10 * FRAME + 5,
            &[(3 * FRAME + 7, 3 * FRAME + 8), (10 * FRAME, 10 * FRAME + 5)],
        );
        let frames = FrameList::new(&map);
        assert_eq!(frames.count(), 11);
        assert_eq!(frames.next_used(0), Some(3));
        assert_eq!(frames.next_used(4), Some(10));
        assert_eq!(frames.next_used(11), None);
        assert_eq!(frames.extent(10).len(), 5);
    }

    #[test]
    fn requests_are_aligned_and_joined_across_small_gaps() {
        let map = map(FRAME, &[(100, 200), (1000, 4000), (9000, 9001)]);
        let frames = FrameList::new(&map);
        let at = |read_through_bytes| {
            let cost = RequestCost {
                alignment: 512,
                read_through_bytes,
            };
            let requests = frames.requests(0, cost);
            requests
                .iter()
                .map(|r| (r.start(), r.end()))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(0), [(0, 4096), (8704, 9216)]);
        assert_eq!(at(4608), [(0, 9216)]);
    }

    #[test]
    fn unused_bytes_are_cleared_and_no_others() {
        let map = map(FRAME, &[(10, 20), (30, FRAME - 1)]);
        let mut content = vec![7; FRAME_BYTES];
        FrameList::new(&map).clear_unused(0, &mut content);
        let kept = content.iter().filter(|&&byte| byte == 7).count() as u64;
        assert_eq!(kept, map.bytes(State::Used));
        assert_eq!(
            (content[9], content[10], content[20], content[30]),
            (0, 7, 0, 7)
        );
    }
}
