//! Writing only what differs: reading is several times faster than writing, and wears no card.
//!
//! ```text
//!   feed ──frames──▶ looking threads ──frame and what the card holds──▶ this thread: compare,
//!                    a frame or two ahead                               write what differs
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cardkeep_block::{BlockError, BufferPool, Extent, ReadWriteAt, Run, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest};

use crate::error::CopyError;
use crate::limits::READ_THROUGH_BYTES;
use crate::restore::card::{CardJob, put, put_part};
use crate::restore::delivery::AT_ONCE;
use crate::restore::feed::{Feed, Frames};
use crate::restore::frame::{Frame, Lent, bytes_of, requests};
use crate::restore::head::head_of;
use crate::restore::in_order::{Crew, in_flight, in_order};
use crate::restore::ledger::Entry;
use crate::restore::recipient::WriteMode;
use crate::runs::{RequestCost, clear};

/// Differences are found in steps of this size, in bytes: the block of most filesystems.
const STEP_BYTES: u64 = 4096;
/// Equal bytes between two differences are written along up to this size. On the lab card 16 KiB made
/// a third more to be written of a day's changes.
const EQUAL_JOINED_MAX: u64 = 4096;
/// After so many frames in a row of which hardly anything was there, a resumed restore takes the
/// rest of the card for unwritten.
const UNWRITTEN_FRAMES: u32 = 8;

/// A frame, and what the card holds in its place; `None` where nobody looked or it can't be read.
struct Looked {
    frame: Arc<Frame>,
    found: Option<Lent>,
}

impl CardJob<'_> {
    /// Takes all frames of the feed, and writes what the card does not hold already.
    pub(crate) fn take_compared(&mut self, feed: &Feed, place: usize) -> Result<(), CopyError> {
        let card = self.card;
        let is_looking = AtomicBool::new(true);
        // ORDER: all buffers before the first write.
        let (count, frame_bytes) = (in_flight(AT_ONCE), FRAME_BYTES);
        let pool = BufferPool::try_full(count, frame_bytes).ok_or(CopyError::NoMemory {
            bytes: (count * frame_bytes) as u64,
        })?;
        let pool = Arc::new(pool);
        let mut unwritten = 0;
        let mut frames = Frames::new(feed, place);
        let look = |(): &mut (), frame| Ok(look(card, frame, &pool, &is_looking));
        in_order(&mut frames, Crew::of(AT_ONCE), look, |looked| {
            let is_new = self.compare(looked)?;
            unwritten = if is_new { unwritten + 1 } else { 0 };
            if self.options.mode == WriteMode::Resumed && unwritten >= UNWRITTEN_FRAMES {
                is_looking.store(false, Ordering::Relaxed);
            }
            Ok(true)
        })?;
        match frames.ended()? {
            Some(index) => self.alone(index, |job, feed| job.take_compared(feed, 0)),
            None => Ok(()),
        }
    }

    /// Writes what differs of a frame; tells whether hardly anything of it was there.
    fn compare(&mut self, looked: Looked) -> Result<bool, CopyError> {
        let Looked { frame, found } = looked;
        self.begin_frame(&frame)?;
        let Some(mut found) = found else {
            self.wipe()?;
            put(self.card, &frame)?;
            self.outcome.written_bytes += self.enter(&frame);
            return Ok(true);
        };
        let len = frame.extent.len() as usize;
        let differing = self.write_differing(&frame, &mut found[..len])?;
        let bytes = self.enter_found(&frame, differing);
        self.outcome.written_bytes += differing;
        self.outcome.found_bytes += bytes - differing.min(bytes);
        Ok(differing * 4 > bytes * 3)
    }

    /// Writes what of a frame is not what was `found`; returns how many bytes that were.
    fn write_differing(&mut self, frame: &Frame, found: &mut [u8]) -> Result<u64, CopyError> {
        clear_free(&frame.runs, frame.extent.start(), found);
        if FrameDigest::of(found) == frame.digest {
            return Ok(0);
        }
        let head = head_of(self.card.len());
        if frame.index == 0
            && let Some(own) = &self.head
            && !own.is(found)
        {
            self.needs_head = true;
        }
        let differing = differing(frame, found, head.end());
        if differing.is_empty() {
            return Ok(0);
        }
        self.wipe()?;
        for &part in &differing {
            put_part(self.card, frame, part)?;
            // The rest of the frame was seen to be right: only this is to be read back.
            self.ledger.push(Entry::of_part(frame, part));
        }
        Ok(bytes_of(&differing, |_| true))
    }
}

/// Reads what the card holds in a frame's place, unless nobody looks any more.
fn look(
    card: &dyn ReadWriteAt,
    frame: Arc<Frame>,
    pool: &Arc<BufferPool>,
    is_looking: &AtomicBool,
) -> Looked {
    let is_looking = is_looking.load(Ordering::Relaxed);
    let buffer = if is_looking {
        Lent::from_pool(pool)
    } else {
        None
    };
    let found = buffer.and_then(|mut buffer| {
        // What can't be read is written anew: many cards mend a sector that way.
        read_filled(card, &frame.runs, frame.extent, &mut buffer)
            .is_ok()
            .then_some(buffer)
    });
    Looked { frame, found }
}

/// Reads of a frame's place on the card what matters there; what is free is zero.
pub(crate) fn read_filled(
    card: &dyn ReadWriteAt,
    runs: &[Run],
    frame: Extent,
    content: &mut [u8],
) -> Result<(), BlockError> {
    let cost = RequestCost {
        alignment: card.alignment() as u64,
        read_through_bytes: READ_THROUGH_BYTES,
    };
    for request in requests(runs, frame, |state| state != State::Free, cost) {
        let from = (request.start() - frame.start()) as usize;
        let part = &mut content[from..from + request.len() as usize];
        card.read_at(request.start(), part)?;
    }
    clear_free(runs, frame.start(), content);
    Ok(())
}

fn clear_free(runs: &[Run], start: u64, content: &mut [u8]) {
    let free = runs.iter().filter(|run| run.state == State::Free);
    clear(free.copied(), start, content);
}

/// Returns the parts of a frame from `from` on in which its bytes are not those that were found.
fn differing(frame: &Frame, found: &[u8], from: u64) -> Vec<Run> {
    let zeros = [0; STEP_BYTES as usize];
    let mut parts: Vec<Run> = Vec::new();
    for run in frame.runs.iter().filter(|run| run.state != State::Free) {
        let mut start = run.extent.start().max(from);
        while start < run.extent.end() {
            let next = (start / STEP_BYTES + 1) * STEP_BYTES;
            let step = Extent::between(start, next.min(run.extent.end()));
            let at = (step.start() - frame.extent.start()) as usize;
            let size = step.len() as usize;
            let wanted = frame.bytes(step).unwrap_or(&zeros[..size]);
            if wanted != &found[at..at + size] {
                push_joined(&mut parts, Run::new(step, run.state), run.extent.start());
            }
            start = step.end();
        }
    }
    parts
}

/// Adds a differing step; joins it with the one before where both belong to the run that begins at
/// `run_start` and little lies between.
fn push_joined(parts: &mut Vec<Run>, step: Run, run_start: u64) {
    match parts.last_mut() {
        Some(last)
            if last.extent.start() >= run_start
                && step.extent.start() - last.extent.end() <= EQUAL_JOINED_MAX =>
        {
            last.extent = Extent::between(last.extent.start(), step.extent.end());
        }
        _ => parts.push(step),
    }
}
