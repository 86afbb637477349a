//! One partition of a medium that passes by: what was learnt of it so far.

use cardkeep_block::{AllocationMap, Extent, ReadAt, Run, Slice, State};
use cardkeep_ext4::PassingGroups;

use crate::content::{Content, ext_summary};
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
    /// The block groups of an ext filesystem.
    Groups(Box<PassingGroups>),
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
    pub(crate) fn set_map(&mut self, content: Content, map: AllocationMap, content_len: u64) {
        self.content_len = Some(content_len);
        self.summary.content = content;
        self.summary.used_bytes = map.bytes(State::Used);
        self.summary.zero_bytes = map.bytes(State::Zero);
        self.summary.free_bytes = map.bytes(State::Free);
        self.known = Known::Map(map);
    }

    /// Takes over an ext filesystem, with the bytes that it says are free.
    pub(crate) fn set_groups(&mut self, groups: PassingGroups) {
        let info = groups.info();
        self.content_len = Some(info.len);
        self.summary.free_bytes = info.free_bytes.min(self.summary.extent.len());
        self.summary.used_bytes = self.summary.extent.len() - self.summary.free_bytes;
        self.summary.content = Content::Ext(ext_summary(info));
        self.known = Known::Groups(Box::new(groups));
    }

    /// Returns the states of the bytes in `window` of the medium, of which all lie in this
    /// partition.
    pub(crate) fn runs(&self, medium: &dyn ReadAt, window: Extent) -> Vec<Run> {
        let start = self.summary.extent.start();
        let inner = Extent::between(window.start() - start, window.end() - start);
        let runs: Vec<Run> = match &self.known {
            Known::Nothing => return vec![Run::new(window, State::Used)],
            Known::Map(map) => map.runs_in(inner).collect(),
            Known::Groups(groups) => groups.runs(&self.slice(medium), inner),
        };
        runs.into_iter()
            .map(|run| {
                let (from, to) = (run.extent.start() + start, run.extent.end() + start);
                Run::new(Extent::between(from, to), run.state)
            })
            .collect()
    }
}
