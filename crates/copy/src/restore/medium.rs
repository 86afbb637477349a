//! An original that can be read anywhere: a card, or a raw image.

use std::sync::Arc;

use cardkeep_block::{BufferPool, Extent, ReadAt, State};

use crate::error::CopyError;
use crate::limits::READ_THROUGH_BYTES;
use crate::restore::frame::{Lent, requests};
use crate::restore::in_order::{Crew, in_flight, in_order};
use crate::restore::layout::Layout;
use crate::restore::original::{Original, Take, Wanted};
use crate::runs::RequestCost;

/// Requests in flight: the medium is busy while another frame is digested.
const READERS: usize = 2;

/// A medium whose used bytes are read as they are wanted.
pub struct MediumOriginal<'a> {
    /// The medium.
    pub medium: &'a dyn ReadAt,
    /// What of it matters.
    pub layout: Layout<'a>,
}

impl Original for MediumOriginal<'_> {
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        let frames = filled_frames(self.layout, wanted);
        let read = |(): &mut (), index: usize| {
            let runs = self.layout.runs(index);
            if !runs.iter().any(|run| run.state == State::Used) {
                return self.layout.finish(index, runs, None).map(Some);
            }
            let Some(mut content) = Lent::from_pool(pool) else {
                return Ok(None);
            };
            let frame = self.layout.extent(index);
            let cost = RequestCost {
                alignment: self.medium.alignment() as u64,
                read_through_bytes: READ_THROUGH_BYTES,
            };
            let there = Extent::between(0, self.layout.content_len.min(self.medium.len()));
            for request in requests(&runs, frame, |state| state == State::Used, cost) {
                let request = request.intersection(there);
                if request.is_empty() {
                    // It comes from patches, all of it.
                    continue;
                }
                let from = (request.start() - frame.start()) as usize;
                let part = &mut content[from..from + request.len() as usize];
                self.medium
                    .read_at(request.start(), part)
                    .map_err(CopyError::Source)?;
            }
            self.layout.finish(index, runs, Some(content)).map(Some)
        };
        in_order(frames, Crew::of(READERS), read, |frame| match frame {
            Some(frame) => take(frame),
            None => Ok(false),
        })
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn known_bytes(&self) -> Option<u64> {
        Some(known_bytes(&self.layout))
    }

    fn frames_under_way(&self) -> usize {
        in_flight(READERS)
    }
}

/// Returns the wanted frames that hold anything but free bytes.
pub(crate) fn filled_frames<'a>(
    layout: Layout<'a>,
    wanted: Wanted<'a>,
) -> impl Iterator<Item = usize> + 'a {
    let first = match wanted {
        Wanted::From(first) => first,
        Wanted::Only(list) => list.first().copied().unwrap_or(usize::MAX),
    };
    let all = std::iter::successors(layout.next_filled(first), move |&index| {
        layout.next_filled(index + 1)
    });
    let last = wanted.last().unwrap_or(usize::MAX);
    all.take_while(move |&index| index <= last)
        .filter(move |&index| wanted.holds(index))
}

/// Returns how many bytes a layout makes a card take.
pub(crate) fn known_bytes(layout: &Layout<'_>) -> u64 {
    layout.map.bytes(State::Used) + layout.map.bytes(State::Zero)
}
