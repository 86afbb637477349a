//! One partition of a medium that passes by: what was learnt of it so far.

use cardkeep_block::{AllocationMap, Driver, Extent, ReadAt, Run, Slice, State, StreamingMap};

use crate::content::{Content, Learnt};
use crate::medium::Partition;

/// A partition, as far as it is known.
#[derive(Debug)]
pub(crate) struct PassingPartition {
    pub(crate) summary: Partition,
    pub(crate) known: Known,
    /// How long its content is by its own word, in bytes; `None` where that is not known.
    pub(crate) content_len: Option<u64>,
}

/// What tells which of a partition's bytes are free.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing does, or not yet.
    Nothing,
    /// A map of all of it.
    Map(AllocationMap),
    /// A map that is learnt step by step.
    Steps(Box<dyn StreamingMap>),
}

impl PassingPartition {
    /// Returns a partition of which nothing but its table entry is known.
    pub(crate) const fn new(summary: Partition) -> Self {
        Self {
            summary,
            known: Known::Nothing,
            content_len: None,
        }
    }

    /// Returns the view of this partition on `medium`.
    pub(crate) fn slice<M: ReadAt>(&self, medium: M) -> Slice<M> {
        Slice::new(medium, self.summary.extent)
    }

    /// Takes over what was learnt, with the bytes that `map` counts.
    pub(crate) fn set_map(&mut self, learnt: Learnt) {
        let map = learnt.map;
        self.content_len = Some(learnt.content_len);
        self.summary.content = learnt.content;
        self.summary.used_bytes = map.bytes(State::Used);
        self.summary.zero_bytes = map.bytes(State::Zero);
        self.summary.free_bytes = map.bytes(State::Free);
        self.known = Known::Map(map);
    }

    /// Takes over a filesystem that is learnt step by step, with the bytes that it says are free.
    pub(crate) fn set_steps(&mut self, driver: &'static dyn Driver, map: Box<dyn StreamingMap>) {
        let partition_bytes = self.summary.extent.len();
        let summary = map.summary();
        self.summary.free_bytes = summary.free_bytes.min(partition_bytes);
        self.summary.used_bytes = partition_bytes - self.summary.free_bytes;
        self.summary.content = Content::known(driver, summary);
        self.content_len = Some(self.summary.content.needed_len(partition_bytes));
        self.known = Known::Steps(map);
    }

    /// Returns the states of the bytes in `window` of the medium, of which all lie in this
    /// partition.
    pub(crate) fn runs(&self, medium: &dyn ReadAt, window: Extent) -> Vec<Run> {
        let start = self.summary.extent.start();
        let inner = Extent::between(window.start() - start, window.end() - start);
        let runs: Vec<Run> = match &self.known {
            Known::Nothing => return vec![Run::new(window, State::Used)],
            Known::Map(map) => map.runs_in(inner).collect(),
            Known::Steps(map) => map.runs(&self.slice(medium), inner),
        };
        runs.into_iter()
            .map(|run| {
                let (from, to) = (run.extent.start() + start, run.extent.end() + start);
                Run::new(Extent::between(from, to), run.state)
            })
            .collect()
    }
}
