//! Which bytes of the original matter, and what is changed on the way.

use cardkeep_block::{AllocationMap, Extent, Patches, Run, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest, zero_digest};

use crate::error::CopyError;
use crate::restore::frame::{Frame, Lent, clear_unused};

/// Frames are cut to multiples of this, in bytes: sectors of any card.
const CUT_BYTES: u64 = 4096;

/// Which bytes of the original matter, and what is changed on the way to the cards.
#[derive(Clone, Copy)]
pub struct Layout<'a> {
    /// What of the card's address space is used, zero and free. Its length is that of the card or
    /// less; all that is patched must be used.
    pub map: &'a AllocationMap,
    /// How long the original is, in bytes. What is used behind its end comes from patches.
    pub content_len: u64,
    /// What takes the place of the original's bytes.
    pub patches: &'a Patches,
    /// The digests that frames must have, before they are patched, where they are known: by index.
    /// Frames at a cut end have none.
    pub digests: &'a [Option<FrameDigest>],
}

impl Layout<'_> {
    /// Returns the number of frames.
    pub(crate) fn count(&self) -> usize {
        self.map.len().div_ceil(FRAME_BYTES as u64) as usize
    }

    /// Returns a frame's place; the last one may be shorter. One that comes from patches alone is
    /// cut to what matters of it: a block of a filesystem's metadata is not to cost what a frame does.
    pub(crate) fn extent(&self, index: usize) -> Extent {
        let whole = frame_extent(index, self.map.len());
        let has_digest = self.digests.get(index).copied().flatten().is_some();
        if index == 0 || has_digest || whole.start() < self.content_len {
            return whole;
        }
        let runs = self.map.runs_in(whole);
        let mut filled = runs.filter(|run| run.state != State::Free);
        let Some(first) = filled.next() else {
            return whole;
        };
        let end = filled.last().unwrap_or(first).extent.end();
        let start = first.extent.start() / CUT_BYTES * CUT_BYTES;
        let end = end.div_ceil(CUT_BYTES).saturating_mul(CUT_BYTES);
        Extent::between(start, end).intersection(whole)
    }

    /// Returns a frame's runs, which tile it.
    pub(crate) fn runs(&self, index: usize) -> Vec<Run> {
        self.map.runs_in(self.extent(index)).collect()
    }

    /// Returns the first frame from `from` on that is not wholly free.
    pub(crate) fn next_filled(&self, from: usize) -> Option<usize> {
        let start = frame_extent(from, self.map.len()).start();
        if from >= self.count() {
            return None;
        }
        let rest = Extent::between(start, self.map.len());
        let first = self
            .map
            .runs_in(rest)
            .find(|run| run.state != State::Free)?;
        Some((first.extent.start() / FRAME_BYTES as u64) as usize)
    }

    /// Makes a frame of content that was read; `None` stands for a frame without used bytes.
    pub(crate) fn finish(
        &self,
        index: usize,
        runs: Vec<Run>,
        content: Option<Lent>,
    ) -> Result<Frame, CopyError> {
        let extent = self.extent(index);
        let Some(mut content) = content else {
            return Ok(Frame {
                index,
                extent,
                runs,
                digest: zero_digest(extent.len()),
                content: None,
            });
        };
        let len = extent.len() as usize;
        let there = Extent::between(extent.start(), self.content_len.max(extent.start()));
        let there = there.intersection(extent).len() as usize;
        content[there..len].fill(0);
        clear_unused(&runs, extent.start(), &mut content[..len]);
        let expected = self.digests.get(index).copied().flatten();
        let mut known = None;
        if let Some(expected) = expected {
            let found = FrameDigest::of(&content[..len]);
            if expected != found {
                return Err(CopyError::Mismatch {
                    extent,
                    expected,
                    found: Some(found),
                });
            }
            known = Some(found);
        }
        if self.patches.touch(extent) {
            self.patches.apply(extent.start(), &mut content[..len]);
            known = None;
        }
        let digest = known.unwrap_or_else(|| FrameDigest::of(&content[..len]));
        Ok(Frame {
            index,
            extent,
            runs,
            digest,
            content: Some(content),
        })
    }
}

/// Returns the place of a frame on a medium of `len` bytes.
pub(crate) fn frame_extent(index: usize, len: u64) -> Extent {
    let start = (index as u64).saturating_mul(FRAME_BYTES as u64).min(len);
    let end = start.saturating_add(FRAME_BYTES as u64).min(len);
    Extent::between(start, end)
}

#[cfg(test)]
mod tests {
    use super::Layout;
    use crate::restore::frame::Lent;
    use cardkeep_block::{AllocationMap, BufferPool, Extent, Patch, Patches, Run, State};
    use cardkeep_image::{FRAME_BYTES, FrameDigest};
    use std::sync::Arc;

    const FRAME: u64 = FRAME_BYTES as u64;

    #[test]
    fn a_block_of_a_filesystem_that_grows_costs_no_whole_frame() {
        let block = Extent::between(3 * FRAME + 9 * 1024, 3 * FRAME + 10 * 1024);
        let used = [
            Run::new(Extent::between(0, FRAME + 512), State::Used),
            Run::new(block, State::Used),
        ];
        let patches = Patches::new(vec![Patch::new(block.start(), vec![7; 1024])]);
        let layout = Layout {
            map: &AllocationMap::all(5 * FRAME, State::Free).raised(&used),
            content_len: 2 * FRAME,
            patches: &patches,
            digests: &[],
        };
        // What comes from the original is a frame as ever.
        for index in [0, 1] {
            let start = index as u64 * FRAME;
            let whole = Extent::between(start, start + FRAME);
            assert_eq!(layout.extent(index), whole);
        }
        assert_eq!(layout.next_filled(2), Some(3));
        let cut = Extent::between(3 * FRAME + 8 * 1024, 3 * FRAME + 12 * 1024);
        assert_eq!(layout.extent(3), cut);
        let pool = Arc::new(BufferPool::new(1, FRAME_BYTES));
        let mut content = Lent::from_pool(&pool).unwrap();
        content.fill(0xA5);
        let frame = layout.finish(3, layout.runs(3), Some(content)).unwrap();
        let mut expected = vec![0; 4096];
        expected[1024..2048].fill(7);
        assert_eq!(frame.content(), Some(&expected[..]));
        assert_eq!(frame.digest, FrameDigest::of(&expected));
        assert_eq!(frame.used_bytes(), 1024);
    }
}
