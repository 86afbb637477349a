//! What lies outside all partitions.
//!
//! What lies before the first partition is kept, however much it is: bootloaders of other boards
//! live there, and the firmware of TV boxes reaches hundreds of megabytes far. Other gaps and the tail keep their first and last MiB, where labels and the forgotten ends of old partitions
//! may lie; the rest is skipped and shown in the plan.

use cardkeep_block::{Extent, Run, State};

/// What is kept at both ends of a gap.
const EDGE_BYTES: u64 = 1 << 20;

/// Where a gap lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// Before the first partition.
    BootArea,
    /// Between two partitions.
    Between,
    /// Behind the last partition.
    Tail,
}

/// Bytes outside all partitions and the partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it lies.
    pub kind: GapKind,
    /// Its bytes.
    pub extent: Extent,
    /// Which of them are not kept; empty where all are.
    pub skipped: Extent,
}

impl Gap {
    fn new(kind: GapKind, extent: Extent) -> Self {
        let middle = Extent::between(
            extent.start().saturating_add(EDGE_BYTES).min(extent.end()),
            extent.end().saturating_sub(EDGE_BYTES),
        );
        let skipped = match kind {
            // What is not proven free is used, and nothing but its content could prove it.
            GapKind::BootArea => Extent::between(extent.end(), extent.end()),
            GapKind::Between | GapKind::Tail => middle,
        };
        Self {
            kind,
            extent,
            skipped,
        }
    }

    /// Returns what is left of the gap behind `end`; `None` where nothing is.
    pub(crate) fn behind(self, end: u64) -> Option<Self> {
        let start = self.extent.start().max(end);
        (start < self.extent.end())
            .then(|| Self::new(self.kind, Extent::between(start, self.extent.end())))
    }

    /// Returns the gap's part of the allocation map.
    pub(crate) fn runs(&self) -> [Run; 3] {
        let (start, end) = (self.extent.start(), self.extent.end());
        let skipped = if self.skipped.is_empty() {
            Extent::between(end, end)
        } else {
            self.skipped
        };
        [
            Run::new(Extent::between(start, skipped.start()), State::Used),
            Run::new(skipped, State::Free),
            Run::new(Extent::between(skipped.end(), end), State::Used),
        ]
    }
}

/// Returns the gaps of a medium of `len` bytes between `partitions` (ordered, disjoint).
pub(crate) fn gaps(len: u64, partitions: &[Extent]) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut end = 0;
    for (index, partition) in partitions.iter().enumerate() {
        if partition.start() > end {
            let kind = if index == 0 {
                GapKind::BootArea
            } else {
                GapKind::Between
            };
            gaps.push(Gap::new(kind, Extent::between(end, partition.start())));
        }
        end = end.max(partition.end());
    }
    if end < len {
        gaps.push(Gap::new(GapKind::Tail, Extent::between(end, len)));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::{GapKind, gaps};
    use cardkeep_block::Extent;

    const MIB: u64 = 1 << 20;

    #[test]
    fn boot_areas_are_kept_and_large_gaps_keep_their_ends() {
        let partitions = [
            Extent::between(90 * MIB, 100 * MIB),
            Extent::between(101 * MIB, 200 * MIB),
            Extent::between(300 * MIB, 400 * MIB),
        ];
        let gaps = gaps(1000 * MIB, &partitions);
        let kinds: Vec<_> = gaps.iter().map(|gap| gap.kind).collect();
        assert_eq!(
            kinds,
            [
                GapKind::BootArea,
                GapKind::Between,
                GapKind::Between,
                GapKind::Tail
            ]
        );
        assert!(gaps[0].skipped.is_empty());
        assert!(gaps[1].skipped.is_empty());
        assert_eq!(gaps[2].skipped, Extent::between(201 * MIB, 299 * MIB));
        assert_eq!(gaps[3].skipped, Extent::between(401 * MIB, 999 * MIB));
        for gap in &gaps {
            let runs = gap.runs();
            assert_eq!(runs[0].extent.start(), gap.extent.start());
            assert_eq!(runs[0].extent.end(), runs[1].extent.start());
            assert_eq!(runs[1].extent.end(), runs[2].extent.start());
            assert_eq!(runs[2].extent.end(), gap.extent.end());
        }
    }
}
