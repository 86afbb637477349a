//! What was written onto a card, so that it can be read back: frames, or parts of them.

use cardkeep_block::{Extent, Run, State};
use cardkeep_image::{FrameDigest, zero_digest};

use crate::restore::frame::Frame;

const STATE_BITS: u32 = 2;

/// What one frame of a card must hold, or the part of it that was written.
pub(crate) struct Entry {
    /// The frame's number.
    pub(crate) index: usize,
    pub(crate) extent: Extent,
    pub(crate) digest: FrameDigest,
    /// Its runs, packed: where each begins within it, and its state. A frame is far shorter than
    /// 2^30 bytes.
    packed: Box<[u32]>,
}

impl Entry {
    pub(crate) fn of(frame: &Frame) -> Self {
        let pack = |run: &Run| {
            let start = (run.extent.start() - frame.extent.start()) as u32;
            start << STATE_BITS | run.state as u32
        };
        Self {
            index: frame.index,
            extent: frame.extent,
            digest: frame.digest,
            packed: frame.runs.iter().map(pack).collect(),
        }
    }

    /// Returns the entry of a part of a frame that was written as a whole.
    pub(crate) fn of_part(frame: &Frame, part: Run) -> Self {
        let digest = match frame.bytes(part.extent) {
            Some(bytes) => FrameDigest::of(bytes),
            None => zero_digest(part.extent.len()),
        };
        Self {
            index: frame.index,
            extent: part.extent,
            digest,
            packed: Box::new([State::Used as u32]),
        }
    }

    /// Returns its runs, which tile it.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let start_of = |word: u32| self.extent.start() + u64::from(word >> STATE_BITS);
        let ends = self.packed.iter().skip(1).map(|&word| start_of(word));
        let ends = ends.chain(std::iter::once(self.extent.end()));
        let runs = self.packed.iter().zip(ends).map(|(&word, end)| {
            let state = match word & 3 {
                0 => State::Free,
                1 => State::Zero,
                _ => State::Used,
            };
            Run::new(Extent::between(start_of(word), end), state)
        });
        runs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;
    use crate::restore::frame::Frame;
    use cardkeep_block::{Extent, Run, State};
    use cardkeep_image::zero_digest;

    #[test]
    fn runs_survive_packing() {
        let run = |start, end, state| Run::new(Extent::between(start, end), state);
        let runs = vec![
            run(4096, 4608, State::Used),
            run(4608, 5000, State::Free),
            run(5000, 8000, State::Zero),
        ];
        let frame = Frame {
            index: 1,
            extent: Extent::between(4096, 8000),
            runs: runs.clone(),
            digest: zero_digest(3904),
            content: None,
        };
        assert_eq!(Entry::of(&frame).runs(), runs);
    }
}
