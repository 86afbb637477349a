//! The allocation map: which bytes of a medium matter.
//!
//! A map tiles its medium without holes: neighbouring runs differ in state. One run takes 8 bytes:
//!
//! ```text
//!   bits 63..2  start of the run, in bytes      bits 1..0  state
//! ```
//!
//! so that the map of a badly fragmented card stays small. [`MapBuilder`] bounds the number of
//! runs: past that it reads through the smallest free gaps, which is always safe.

use crate::Extent;

/// What is known about a run of bytes. The order is that of caution: a later state wins where
/// two claims meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nobody will read it before writing it: never read, never stored, never written.
    Free = 0,
    /// Its content must be zero after a restore: never read, never stored.
    Zero = 1,
    /// Its content matters: read, hashed, stored, written, verified.
    Used = 2,
}

/// A longest extent of one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where.
    pub extent: Extent,
    /// What is known about it.
    pub state: State,
}

impl Run {
    /// Returns a run.
    #[must_use]
    pub const fn new(extent: Extent, state: State) -> Self {
        Self { extent, state }
    }
}

const STATE_BITS: u32 = 2;
/// 4 million runs take 32 MiB: what may be spent of the memory budget on the map. A card of 32 GB
/// whose every second block of 4 KiB is free stays below it.
const RUNS_MAX: usize = 4 << 20;

/// The states of all bytes of a medium of up to 2^62 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationMap {
    len: u64,
    packed: Vec<u64>,
}

const fn pack(start: u64, state: State) -> u64 {
    start << STATE_BITS | state as u64
}

const fn unpack(word: u64) -> (u64, State) {
    let state = match word & 3 {
        0 => State::Free,
        1 => State::Zero,
        _ => State::Used,
    };
    (word >> STATE_BITS, state)
}

impl AllocationMap {
    /// The longest medium that a map can describe, in bytes.
    pub const LEN_MAX: u64 = u64::MAX >> STATE_BITS;

    /// Returns the map of `len` bytes that are all in one state.
    ///
    /// # Panics
    /// Where `len` exceeds [`Self::LEN_MAX`]: no medium is that long.
    #[must_use]
    pub fn all(len: u64, state: State) -> Self {
        let mut builder = MapBuilder::new(len);
        builder.push(len, state);
        builder.finish(state)
    }

    /// Returns the length in bytes.
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
        self.packed.len()
    }

    /// Returns the runs in address order; they tile the medium.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs_from(0)
    }

    fn runs_from(&self, index: usize) -> impl Iterator<Item = Run> + '_ {
        let ends = self
            .packed
            .iter()
            .skip(index + 1)
            .map(|&word| unpack(word).0);
        let starts = self.packed.iter().skip(index).map(|&word| unpack(word));
        starts
            .zip(ends.chain(std::iter::once(self.len)))
            .map(|((start, state), end)| Run {
                extent: Extent::between(start, end),
                state,
            })
    }

    /// Returns the runs within `window`, cut to it, in address order.
    pub fn runs_in(&self, window: Extent) -> impl Iterator<Item = Run> + '_ {
        let key = window.start().min(Self::LEN_MAX) << STATE_BITS | 3;
        let first = self
            .packed
            .partition_point(|&word| word <= key)
            .saturating_sub(1);
        self.runs_from(first)
            .take_while(move |run| run.extent.start() < window.end())
            .map(move |run| Run::new(run.extent.intersection(window), run.state))
            .filter(|run| !run.extent.is_empty())
    }

    /// Returns the whole run that the byte at `offset` lies in; `None` behind the end.
    #[must_use]
    pub fn run_at(&self, offset: u64) -> Option<Run> {
        let key = offset.min(Self::LEN_MAX) << STATE_BITS | 3;
        let behind = self.packed.partition_point(|&word| word <= key);
        let run = self.runs_from(behind.checked_sub(1)?).next();
        run.filter(|run| run.extent.contains(offset))
    }

    /// Returns the extents of one state in address order.
    pub fn extents(&self, state: State) -> impl Iterator<Item = Extent> + '_ {
        self.runs()
            .filter(move |run| run.state == state)
            .map(|run| run.extent)
    }

    /// Returns how many bytes are in `state`.
    #[must_use]
    pub fn bytes(&self, state: State) -> u64 {
        self.extents(state).map(Extent::len).sum()
    }

    /// Returns the map that has at each byte the more cautious state of the two. Where the
    /// lengths differ, the longer one alone speaks for its tail.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.len >= other.len {
            (self, other)
        } else {
            (other, self)
        };
        long.merge(short.runs(), State::max)
    }

    /// Returns the map with `layer` laid over it: within the layer's runs its states replace
    /// those below. The runs may come in any order; where they meet, the more cautious one wins.
    #[must_use]
    pub fn replaced(&self, layer: &[Run]) -> Self {
        self.merge(disjoint(layer).into_iter(), |_, above| above)
    }

    /// Returns the map in which every byte is at least as cautious as `layer` says.
    #[must_use]
    pub fn raised(&self, layer: &[Run]) -> Self {
        self.merge(disjoint(layer).into_iter(), State::max)
    }

    /// Returns the map with `inner` in place of what was at `start` (cut at the end of this map).
    #[must_use]
    pub fn with_inner(&self, start: u64, inner: &Self) -> Self {
        let shifted = inner
            .runs()
            .filter_map(|run| Some(Run::new(run.extent.shifted(start)?, run.state)));
        self.merge(shifted, |_, above| above)
    }

    /// Walks both in address order; `above` must be disjoint and ordered.
    fn merge(&self, above: impl Iterator<Item = Run>, choose: fn(State, State) -> State) -> Self {
        let mut builder = MapBuilder::new(self.len);
        let mut below = self.runs().peekable();
        for upper in above {
            let upper_end = upper.extent.end().min(self.len);
            while builder.end() < upper_end
                && let Some(&lower) = below.peek()
            {
                let start = builder.end();
                if start < upper.extent.start() {
                    builder.push_to(lower.extent.end().min(upper.extent.start()), lower.state);
                } else {
                    let end = lower.extent.end().min(upper_end);
                    builder.push_to(end, choose(lower.state, upper.state));
                }
                if builder.end() >= lower.extent.end() {
                    below.next();
                }
            }
        }
        for lower in below {
            builder.push_to(lower.extent.end(), lower.state);
        }
        builder.finish(State::Used)
    }
}

/// Returns the runs ordered and without overlaps: the most cautious state wins.
fn disjoint(layer: &[Run]) -> Vec<Run> {
    let mut result: Vec<Run> = Vec::with_capacity(layer.len());
    // Each state is laid in turn, the most cautious first; later ones fill what is left.
    for state in [State::Used, State::Zero, State::Free] {
        let mut extents: Vec<Extent> = layer
            .iter()
            .filter(|run| run.state == state)
            .map(|run| run.extent)
            .collect();
        extents.sort_unstable();
        let mut taken = std::mem::take(&mut result).into_iter().peekable();
        let mut end = 0;
        for extent in extents {
            let mut start = extent.start().max(end);
            while start < extent.end() {
                while let Some(run) = taken.next_if(|run| run.extent.end() <= start) {
                    result.push(run);
                }
                let gap_end = taken.peek().map_or(u64::MAX, |run| run.extent.start());
                if start < gap_end {
                    let stop = extent.end().min(gap_end);
                    result.push(Run::new(Extent::between(start, stop), state));
                    start = stop;
                }
                if start < extent.end()
                    && let Some(run) = taken.next()
                {
                    start = start.max(run.extent.end());
                    result.push(run);
                }
            }
            end = end.max(extent.end());
        }
        result.extend(taken);
    }
    result
}

/// Makes a map by pushing runs in address order.
#[derive(Debug)]
pub struct MapBuilder {
    len: u64,
    end: u64,
    packed: Vec<u64>,
    last: Option<State>,
    runs_max: usize,
    gap_bytes: u64,
}

impl MapBuilder {
    /// Returns a builder of a map of `len` bytes.
    ///
    /// # Panics
    /// Where `len` exceeds [`AllocationMap::LEN_MAX`]: no medium is that long.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self::bounded(len, RUNS_MAX)
    }

    fn bounded(len: u64, runs_max: usize) -> Self {
        assert!(
            len <= AllocationMap::LEN_MAX,
            "no medium is longer than 2^62 bytes"
        );
        Self {
            len,
            end: 0,
            packed: Vec::new(),
            last: None,
            runs_max,
            gap_bytes: 4096,
        }
    }

    /// Returns the offset up to which the map is made.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Appends `len` bytes of `state`; what would reach past the medium's end is cut.
    pub fn push(&mut self, len: u64, state: State) {
        self.push_to(self.end.saturating_add(len), state);
    }

    /// Appends bytes of `state` up to the offset `end`.
    pub fn push_to(&mut self, end: u64, state: State) {
        let end = end.min(self.len);
        if end <= self.end {
            return;
        }
        if self.last != Some(state) && self.packed.len() >= self.runs_max {
            self.coarsen();
        }
        if self.last != Some(state) {
            self.packed.push(pack(self.end, state));
            self.last = Some(state);
        }
        self.end = end;
    }

    /// Turns the free gaps below a growing size between used runs into used ones, until half the
    /// runs are gone.
    fn coarsen(&mut self) {
        while self.packed.len() > self.runs_max / 2 && self.gap_bytes < 1 << 40 {
            self.gap_bytes *= 2;
            let mut kept: Vec<u64> = Vec::with_capacity(self.packed.len() / 2);
            for (index, &word) in self.packed.iter().enumerate() {
                let (start, state) = unpack(word);
                let end = self
                    .packed
                    .get(index + 1)
                    .map_or(self.end, |&next| unpack(next).0);
                let between = |i: Option<&u64>| i.is_none_or(|&w| unpack(w).1 == State::Used);
                let fill = state == State::Free
                    && end - start < self.gap_bytes
                    && between(kept.last())
                    && between(self.packed.get(index + 1));
                let state = if fill { State::Used } else { state };
                if kept.last().is_none_or(|&last| unpack(last).1 != state) {
                    kept.push(pack(start, state));
                }
            }
            self.packed = kept;
        }
        self.last = self.packed.last().map(|&word| unpack(word).1);
    }

    /// Returns the map; what was not pushed gets `rest`.
    #[must_use]
    pub fn finish(mut self, rest: State) -> AllocationMap {
        self.push_to(self.len, rest);
        AllocationMap {
            len: self.len,
            packed: self.packed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AllocationMap, MapBuilder, Run, State};
    use crate::Extent;
    use proptest::prelude::{Just, Strategy, prop, prop_oneof, proptest};

    const LEN: u64 = 200;

    fn states() -> impl Strategy<Value = State> {
        prop_oneof![Just(State::Free), Just(State::Zero), Just(State::Used)]
    }

    fn layers() -> impl Strategy<Value = Vec<Run>> {
        let run = (0..LEN + 20, 0u64..60, states())
            .prop_map(|(start, len, state)| Run::new(Extent::new(start, len).unwrap(), state));
        prop::collection::vec(run, 0..12)
    }

    fn bytes_of(map: &AllocationMap) -> Vec<State> {
        map.runs()
            .flat_map(|run| vec![run.state; run.extent.len() as usize])
            .collect()
    }

    /// The model: one state per byte; within a layer the most cautious run wins.
    fn layer_bytes(layer: &[Run]) -> Vec<Option<State>> {
        (0..LEN)
            .map(|o| {
                layer
                    .iter()
                    .filter(|run| run.extent.contains(o))
                    .map(|run| run.state)
                    .max()
            })
            .collect()
    }

    fn from_layer(layer: &[Run]) -> AllocationMap {
        AllocationMap::all(LEN, State::Free).replaced(layer)
    }

    fn assert_tiles(map: &AllocationMap) {
        let mut end = 0;
        let mut last = None;
        for run in map.runs() {
            assert_eq!(run.extent.start(), end);
            assert!(!run.extent.is_empty());
            assert_ne!(Some(run.state), last);
            last = Some(run.state);
            end = run.extent.end();
        }
        assert_eq!(end, map.len());
    }

    proptest! {
        #[test]
        fn replacing_follows_the_model(below in layers(), above in layers()) {
            let base = from_layer(&below);
            let map = base.replaced(&above);
            assert_tiles(&map);
            let model: Vec<State> = bytes_of(&base)
                .into_iter()
                .zip(layer_bytes(&above))
                .map(|(b, a)| a.unwrap_or(b))
                .collect();
            assert_eq!(bytes_of(&map), model);
        }

        #[test]
        fn union_and_raise_take_the_more_cautious(below in layers(), above in layers()) {
            let (a, b) = (from_layer(&below), from_layer(&above));
            let model: Vec<State> =
                bytes_of(&a).into_iter().zip(bytes_of(&b)).map(|(a, b)| a.max(b)).collect();
            assert_eq!(bytes_of(&a.union(&b)), model);
            assert_eq!(bytes_of(&a.raised(&above)), model);
            assert_tiles(&a.union(&b));
        }

        #[test]
        fn windows_cut_the_runs(layer in layers(), start in 0..LEN, len in 0..LEN) {
            let map = from_layer(&layer);
            let window = Extent::new(start, len).unwrap();
            let got: Vec<State> = map
                .runs_in(window)
                .flat_map(|run| vec![run.state; run.extent.len() as usize])
                .collect();
            let end = (start + len).min(LEN);
            assert_eq!(got, bytes_of(&map)[start as usize..end as usize]);
            for offset in 0..LEN + 2 {
                let run = map.runs().find(|run| run.extent.contains(offset));
                assert_eq!(map.run_at(offset), run);
            }
        }

        #[test]
        fn coarsening_never_loses_used_or_zero_bytes(runs in prop::collection::vec((1u64..9000, states()), 0..200)) {
            let len = runs.iter().map(|run| run.0).sum();
            let (mut exact, mut coarse) = (MapBuilder::new(len), MapBuilder::bounded(len, 16));
            for (bytes, state) in runs {
                exact.push(bytes, state);
                coarse.push(bytes, state);
            }
            let (exact, coarse) = (exact.finish(State::Used), coarse.finish(State::Used));
            assert_tiles(&coarse);
            for run in exact.runs() {
                for part in coarse.runs_in(run.extent) {
                    assert!(part.state == run.state || (run.state == State::Free && part.state == State::Used));
                }
            }
        }
    }

    #[test]
    fn an_inner_map_replaces_its_window() {
        let map = AllocationMap::all(100, State::Used);
        let inner = AllocationMap::all(30, State::Free);
        let map = map.with_inner(90, &inner);
        assert_eq!((map.bytes(State::Used), map.bytes(State::Free)), (90, 10));
    }

    #[test]
    fn used_runs_beyond_the_bound_swallow_small_gaps() {
        let mut builder = MapBuilder::bounded(1 << 20, 8);
        for _ in 0..64 {
            builder.push(4096, State::Used);
            builder.push(4096, State::Free);
        }
        let map = builder.finish(State::Free);
        assert!(map.run_count() <= 8, "{}", map.run_count());
    }
}
