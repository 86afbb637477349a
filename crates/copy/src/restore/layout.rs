//! Which bytes of the original matter, and what is changed on the way.

use cardkeep_block::{AllocationMap, Extent, Patches, Run, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest, zero_digest};

use crate::error::CopyError;
use crate::restore::frame::{Frame, Lent, clear_unused};

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

    /// Returns a frame's place; the last one may be shorter.
    pub(crate) fn extent(&self, index: usize) -> Extent {
        frame_extent(index, self.map.len())
    }

    /// Returns a frame's runs, which tile it.
    pub(crate) fn runs(&self, index: usize) -> Vec<Run> {
        self.map.runs_in(self.extent(index)).collect()
    }

    /// Returns the first frame from `from` on that is not wholly free.
    pub(crate) fn next_filled(&self, from: usize) -> Option<usize> {
        let start = self.extent(from).start();
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
            return Ok(Frame::new(
                (index, extent),
                runs,
                zero_digest(extent.len()),
                None,
            ));
        };
        let len = extent.len() as usize;
        let there = Extent::between(extent.start(), self.content_len.max(extent.start()));
        let there = there.intersection(extent).len() as usize;
        content[there..len].fill(0);
        clear_unused(&runs, extent.start(), &mut content[..len]);
        let mut digest = FrameDigest::of(&content[..len]);
        if let Some(expected) = self.digests.get(index).copied().flatten()
            && expected != digest
        {
            return Err(CopyError::Mismatch {
                extent,
                expected,
                found: Some(digest),
            });
        }
        if self.patches.touch(extent) {
            self.patches.apply(extent.start(), &mut content[..len]);
            digest = FrameDigest::of(&content[..len]);
        }
        Ok(Frame::new((index, extent), runs, digest, Some(content)))
    }
}

/// Returns the place of a frame on a medium of `len` bytes.
pub(crate) fn frame_extent(index: usize, len: u64) -> Extent {
    let start = (index as u64).saturating_mul(FRAME_BYTES as u64).min(len);
    let end = start.saturating_add(FRAME_BYTES as u64).min(len);
    Extent::between(start, end)
}
