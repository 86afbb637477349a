//! Writing only what differs: reading is several times faster than writing, and wears no card.
//!
//! ```text
//!   feed ──frame──▶ this thread: compare, write what differs
//!     └──frame──▶ looking thread: reads what the card holds there, one frame ahead
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cardkeep_block::{AlignedBuffer, BlockError, Extent, ReadWriteAt, Run, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::CopyError;
use crate::limits::READ_THROUGH_BYTES;
use crate::restore::card::{CardJob, WriteMode};
use crate::restore::feed::{Fed, Feed};
use crate::restore::frame::{Frame, bytes_of, requests};
use crate::restore::head::head_of;

/// Differences are found in steps of this size, in bytes: the block of most filesystems.
const STEP_BYTES: u64 = 4096;
/// Equal bytes between two differences are written along up to this size: cards write as much
/// anyway.
const EQUAL_JOINED_MAX: u64 = 16 * 1024;
/// After so many frames in a row of which hardly anything was there, a resumed restore takes the
/// rest of the card for unwritten.
const UNWRITTEN_FRAMES: u32 = 8;

/// A frame, and what the card holds in its place; `None` where nobody looked or it can't be read.
struct Looked {
    frame: Arc<Frame>,
    found: Option<AlignedBuffer>,
}

impl CardJob<'_> {
    /// Takes all frames of the feed, and writes what the card does not hold already.
    pub(crate) fn take_compared(&mut self, feed: &Feed, place: usize) -> Result<(), CopyError> {
        let card = self.card;
        let is_looking = AtomicBool::new(true);
        let (sender, looked) = bounded::<Looked>(0);
        let (spent, buffers) = bounded::<AlignedBuffer>(2);
        let left = std::thread::scope(|scope| {
            let looking = &is_looking;
            let looker =
                scope.spawn(move || look(card, (feed, place), looking, (&sender, &buffers)));
            let compared = self.compare_all(&looked, &spent, &is_looking);
            drop((looked, spent));
            // Where this thread gave up, the other one must not wait for frames.
            if compared.is_err() {
                feed.leave(place);
            }
            let looked = looker
                .join()
                .unwrap_or(Err(CopyError::Internal("a looking thread died")));
            compared.and(looked)
        })?;
        match left {
            Some(index) => self.alone(index, |job, feed| job.take_compared(feed, 0)),
            None => Ok(()),
        }
    }

    fn compare_all(
        &mut self,
        looked: &Receiver<Looked>,
        spent: &Sender<AlignedBuffer>,
        is_looking: &AtomicBool,
    ) -> Result<(), CopyError> {
        let mut unwritten = 0;
        for Looked { frame, found } in looked {
            self.begin_frame(&frame)?;
            let Some(mut found) = found else {
                self.wipe()?;
                self.put(&frame)?;
                self.outcome.written_bytes += self.enter(&frame, false);
                continue;
            };
            let len = frame.extent.len() as usize;
            let differing = self.write_differing(&frame, &mut found[..len])?;
            let bytes = self.enter(&frame, differing == 0);
            self.outcome.written_bytes += differing;
            self.outcome.found_bytes += bytes - differing.min(bytes);
            unwritten = if differing * 4 > bytes * 3 {
                unwritten + 1
            } else {
                0
            };
            if self.options.mode == WriteMode::Resumed && unwritten >= UNWRITTEN_FRAMES {
                is_looking.store(false, Ordering::Relaxed);
            }
            // The looking thread may be gone already: then nobody needs the buffer.
            spent.try_send(found).unwrap_or(());
        }
        Ok(())
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
            self.put_part(frame, part)?;
        }
        Ok(bytes_of(&differing, |_| true))
    }
}

/// Reads what the card holds of each frame. Returns the frame from which on the feed has left it
/// behind.
fn look(
    card: &dyn ReadWriteAt,
    (feed, place): (&Feed, usize),
    is_looking: &AtomicBool,
    (looked, buffers): (&Sender<Looked>, &Receiver<AlignedBuffer>),
) -> Result<Option<usize>, CopyError> {
    loop {
        let frame = match feed.next(place)? {
            Fed::Frame(frame) => frame,
            Fed::End => return Ok(None),
            Fed::LeftBehind(index) => return Ok(Some(index)),
        };
        let found = if is_looking.load(Ordering::Relaxed) {
            let spent = buffers.try_recv();
            let mut buffer = spent.unwrap_or_else(|_| AlignedBuffer::new(FRAME_BYTES));
            // What can't be read is written anew: many cards mend a sector that way.
            read_filled(card, &frame.runs, frame.extent, &mut buffer)
                .is_ok()
                .then_some(buffer)
        } else {
            None
        };
        if looked.send(Looked { frame, found }).is_err() {
            return Ok(None);
        }
    }
}

/// Reads of a frame's place on the card what matters there; what is free is zero.
pub(crate) fn read_filled(
    card: &dyn ReadWriteAt,
    runs: &[Run],
    frame: Extent,
    content: &mut [u8],
) -> Result<(), BlockError> {
    let cost = (card.alignment() as u64, READ_THROUGH_BYTES);
    for request in requests(runs, frame, |state| state != State::Free, cost) {
        let from = (request.start() - frame.start()) as usize;
        let part = &mut content[from..from + request.len() as usize];
        card.read_at(request.start(), part)?;
    }
    clear_free(runs, frame.start(), content);
    Ok(())
}

fn clear_free(runs: &[Run], start: u64, content: &mut [u8]) {
    for run in runs.iter().filter(|run| run.state == State::Free) {
        let from = (run.extent.start() - start) as usize;
        content[from..from + run.extent.len() as usize].fill(0);
    }
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
