//! A frame on its way from the original to the cards.

use std::sync::Arc;

use cardkeep_block::{AlignedBuffer, BufferPool, Extent, Run, State};
use cardkeep_image::FrameDigest;

use crate::runs::{RequestCost, clear, requests_for};

/// A buffer that goes back to its pool when nobody needs it any more.
pub(crate) struct Lent {
    buffer: Option<AlignedBuffer>,
    pool: Arc<BufferPool>,
}

impl Lent {
    /// Takes a buffer from `pool`, waiting for one; `None` once the pool is closed.
    pub(crate) fn from_pool(pool: &Arc<BufferPool>) -> Option<Self> {
        Some(Self {
            buffer: Some(pool.take()?),
            pool: Arc::clone(pool),
        })
    }
}

impl std::ops::Deref for Lent {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl std::ops::DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give_back(buffer);
        }
    }
}

/// A frame's content and what of it matters.
pub struct Frame {
    /// Its number, from 0.
    pub index: usize,
    /// Its place on the card.
    pub extent: Extent,
    /// What of it is used, zero and free: runs that tile the extent.
    pub runs: Vec<Run>,
    /// The digest of its content, in which all that is not used is zero.
    pub digest: FrameDigest,
    pub(crate) content: Option<Lent>,
}

impl Frame {
    /// Returns the frame's bytes; `None` where none of them is used.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        let content = self.content.as_ref()?;
        content.get(..self.extent.len() as usize)
    }

    /// Returns the bytes of `part`, which lies within the frame; `None` where none is used.
    #[must_use]
    pub fn bytes(&self, part: Extent) -> Option<&[u8]> {
        let from = part.start().checked_sub(self.extent.start())? as usize;
        self.content()?.get(from..from + part.len() as usize)
    }

    /// Returns how many of its bytes are used.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        bytes_of(&self.runs, |state| state == State::Used)
    }
}

/// Returns how many bytes of `runs` are in a state that `matches`.
pub(crate) fn bytes_of(runs: &[Run], matches: impl Fn(State) -> bool) -> u64 {
    let matching = runs.iter().filter(|run| matches(run.state));
    matching.map(|run| run.extent.len()).sum()
}

/// Fills with zeros what is not used of the content at `start`.
pub(crate) fn clear_unused(runs: &[Run], start: u64, content: &mut [u8]) {
    let unused = runs.iter().filter(|run| run.state != State::Used);
    clear(unused.copied(), start, content);
}

/// Returns the requests that read what `wanted` picks of the runs of a frame or a part of one, as
/// [`requests_for`] does, and nothing that lies before it.
pub(crate) fn requests(
    runs: &[Run],
    frame: Extent,
    wanted: impl Fn(State) -> bool,
    cost: RequestCost,
) -> impl Iterator<Item = Extent> {
    let parts = runs.iter().filter(|run| wanted(run.state));
    let requests = requests_for(parts.map(|run| run.extent), frame, cost);
    requests
        .into_iter()
        .map(move |request| request.intersection(frame))
}
