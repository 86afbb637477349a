//! One card being written: wiped, filled in address order, read back, and its head last.

use std::sync::Arc;

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Monitor, Phase, ReadWriteAt, Run, State};

use crate::diagnosis::Fingerprints;
use crate::error::CopyError;
use crate::restore::delivery::{AT_ONCE, WINDOW_ALONE, deliver, pool_for};
use crate::restore::feed::{Feed, Frames};
use crate::restore::frame::{Frame, bytes_of};
use crate::restore::head::{Head, first_of, head_of, tail_of};
use crate::restore::in_order::{Crew, in_order};
use crate::restore::ledger::Entry;
use crate::restore::original::{Original, Wanted};
use crate::restore::recipient::{Recipient, RestoreOptions, WriteMode};

/// What became of one card. Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the card now holds that matters: used bytes and zeros.
    pub filled_bytes: u64,
    /// What was written of that, zeros included.
    pub written_bytes: u64,
    /// What was found on the card as it should be.
    pub found_bytes: u64,
    /// Frames that had to be written a second time.
    pub mended_frames: usize,
    /// Whether all of it was read from the card and compared.
    pub is_verified: bool,
}

/// Zeros between used bytes are written with them up to this size, in bytes, rather than on their
/// own.
const ZEROS_JOINED_MAX: u64 = 64 * 1024;

/// One card being written.
pub(crate) struct CardJob<'a> {
    pub(crate) original: &'a dyn Original,
    pub(crate) card: &'a dyn ReadWriteAt,
    pub(crate) monitor: &'a dyn Monitor,
    pub(crate) options: RestoreOptions,
    pub(crate) ledger: Vec<Entry>,
    /// By which content is recognised where it does not belong.
    pub(crate) fingerprints: Fingerprints,
    pub(crate) head: Option<Head>,
    /// Whether the head has to be written: it was wiped, or isn't what it should be.
    pub(crate) needs_head: bool,
    pub(crate) is_wiped: bool,
    pub(crate) outcome: Outcome,
}

impl<'a> CardJob<'a> {
    pub(crate) fn new(
        original: &'a dyn Original,
        recipient: &Recipient<'a>,
        options: RestoreOptions,
    ) -> Self {
        Self {
            original,
            card: recipient.card,
            monitor: recipient.monitor,
            options,
            ledger: Vec::new(),
            fingerprints: Fingerprints::new(),
            head: None,
            needs_head: false,
            is_wiped: false,
            outcome: Outcome::default(),
        }
    }

    /// Does all that is to be done with the card.
    pub(crate) fn run(mut self, feed: &Feed, place: usize) -> Result<Outcome, CopyError> {
        let result = self.fill(feed, place);
        if result.is_err() && self.is_wiped {
            // Once more: on a card whose addresses wrap, what was written further on may lie there
            // by now. That it fails is no news of a card that was given up.
            let wiped = self.card.write_zeros(head_of(self.card.len()));
            wiped.and_then(|()| self.card.flush()).unwrap_or(());
        }
        result
    }

    fn fill(&mut self, feed: &Feed, place: usize) -> Result<Outcome, CopyError> {
        let total = self.original.known_bytes();
        self.monitor.phase(Phase::Copy, total);
        if self.options.verify {
            self.monitor.phase(Phase::Verify, total);
        }
        if self.options.mode == WriteMode::All {
            self.take_all(feed, place)?;
        } else {
            self.take_compared(feed, place)?;
        }
        if total.is_some_and(|total| total != self.outcome.filled_bytes) {
            return Err(CopyError::Internal("a part of the original never came"));
        }
        if self.is_wiped {
            self.card.flush().map_err(CopyError::Destination)?;
        }
        if self.options.verify {
            self.verify()?;
        }
        self.finish_head()?;
        self.outcome.is_verified = self.options.verify;
        Ok(self.outcome)
    }

    /// Makes the card unbootable, before anything else is written.
    pub(crate) fn wipe(&mut self) -> Result<(), CopyError> {
        if self.is_wiped {
            return Ok(());
        }
        let len = self.card.len();
        let wipe = || {
            // ORDER: the first sectors before the rest of the head. A card that can't be written there is
            // left as it was, and not with a table above a boot loader that is half gone.
            self.card.write_zeros(first_of(len))?;
            self.card.write_zeros(head_of(len))?;
            if self.options.mode == WriteMode::All && !tail_of(len).is_empty() {
                self.card.write_zeros(tail_of(len))?;
            }
            // ORDER: durable before anything else. A card must never hold new content below an
            // old partition table.
            self.card.flush()
        };
        wipe().map_err(CopyError::Destination)?;
        self.is_wiped = true;
        self.needs_head = true;
        Ok(())
    }

    /// Writes all frames of the feed.
    fn take_all(&mut self, feed: &Feed, place: usize) -> Result<(), CopyError> {
        let card = self.card;
        let mut frames = Frames::new(feed, place);
        // ORDER: the first frame before the first write. An original that can't be decoded, or not
        // in the memory there is, must not cost what is on the card.
        let Some(first) = frames.next() else {
            return self.go_on_alone(frames);
        };
        self.wipe()?;
        let write = |(): &mut (), frame: Arc<Frame>| {
            put(card, &frame)?;
            Ok(frame)
        };
        in_order(
            std::iter::once(first).chain(&mut frames),
            Crew::of(AT_ONCE),
            write,
            |frame| {
                self.begin_frame(&frame)?;
                self.outcome.written_bytes += self.enter(&frame);
                Ok(true)
            },
        )?;
        self.go_on_alone(frames)
    }

    /// Writes what is left where the card was left behind by the feed.
    fn go_on_alone(&mut self, frames: Frames<'_>) -> Result<(), CopyError> {
        match frames.ended()? {
            Some(index) => self.alone(index, |job, feed| job.take_all(feed, 0)),
            None => Ok(()),
        }
    }

    /// Goes on from the frame `from` with a feed of its own.
    pub(crate) fn alone(
        &mut self,
        from: usize,
        take: impl FnOnce(&mut Self, &Feed) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let original = self.original;
        let feed = Feed::new(1, WINDOW_ALONE, false);
        let pool =
            pool_for(WINDOW_ALONE, 1, original).map_err(|bytes| CopyError::NoMemory { bytes })?;
        std::thread::scope(|scope| {
            scope.spawn(|| deliver(original, Wanted::From(from), &pool, &feed));
            let seat = feed.seat(0);
            let result = take(self, &feed);
            drop(seat);
            result
        })
    }

    /// What comes first with any frame.
    pub(crate) fn begin_frame(&mut self, frame: &Frame) -> Result<(), CopyError> {
        if self.monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        if frame.index == 0 {
            self.head = Some(Head::of(frame));
        }
        Ok(())
    }

    /// Enters a frame that was written into the ledger; returns how many of its bytes matter.
    pub(crate) fn enter(&mut self, frame: &Frame) -> u64 {
        self.ledger.push(Entry::of(frame));
        self.count(frame)
    }

    /// Takes down a frame of which all but `differing` bytes were found on the card, and those have
    /// ledger entries of their own; returns how many of its bytes matter.
    pub(crate) fn enter_found(&mut self, frame: &Frame, differing: u64) -> u64 {
        let bytes = self.count(frame);
        if self.options.verify {
            self.monitor
                .advance(Phase::Verify, bytes.saturating_sub(differing));
        }
        bytes
    }

    fn count(&mut self, frame: &Frame) -> u64 {
        // The head is not on the card yet.
        let start = frame.extent.start().max(head_of(self.card.len()).end());
        if let Some(content) = frame.bytes(Extent::between(start, frame.extent.end())) {
            self.fingerprints.add(start, content);
        }
        let bytes = bytes_of(&frame.runs, |state| state != State::Free);
        self.outcome.filled_bytes += bytes;
        self.monitor.advance(Phase::Copy, bytes);
        bytes
    }

    /// Writes the head, where there is one to be written, and reads it back.
    fn finish_head(&mut self) -> Result<(), CopyError> {
        if !self.needs_head {
            return Ok(());
        }
        self.wipe()?;
        let Some(head) = &self.head else {
            return Ok(());
        };
        let extent = head_of(self.card.len());
        let mut failure = CopyError::BadHead(extent);
        for attempt in 0..2 {
            match self.put_head(head) {
                Ok(true) => {
                    self.outcome.mended_frames += attempt;
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) => failure = error,
            }
        }
        // It must not look bootable, whether the head is wrong or nobody knows what it is.
        let wiped = self.card.write_zeros(extent);
        let wiped = wiped.and_then(|()| self.card.flush());
        match (wiped, failure) {
            (Err(error), CopyError::BadHead(_)) => Err(CopyError::Destination(error)),
            (_, failure) => Err(failure),
        }
    }

    /// Writes the head; answers whether the card holds it.
    fn put_head(&self, head: &Head) -> Result<bool, CopyError> {
        head.write(self.card).map_err(CopyError::Destination)?;
        Ok(!self.options.verify || head.check(self.card)?)
    }
}

/// Writes all of a frame that matters, except what belongs to the head.
pub(crate) fn put(card: &dyn ReadWriteAt, frame: &Frame) -> Result<(), CopyError> {
    for part in parts(&frame.runs, head_of(card.len()).end()) {
        put_part(card, frame, part)?;
    }
    Ok(())
}

/// Writes a part of a frame: its bytes, or zeros where it has none. What fails is tried once more.
pub(crate) fn put_part(card: &dyn ReadWriteAt, frame: &Frame, part: Run) -> Result<(), CopyError> {
    let put = || match frame.bytes(part.extent) {
        Some(bytes) if part.state == State::Used => card.write_at(part.extent.start(), bytes),
        _ => card.write_zeros(part.extent),
    };
    put()
        .or_else(|error| {
            if is_worth_a_try(&error) {
                put()
            } else {
                Err(error)
            }
        })
        .map_err(CopyError::Destination)
}

/// Tells whether doing it again may help.
fn is_worth_a_try(error: &BlockError) -> bool {
    error.kind() == BlockErrorKind::Io
}

/// Returns what is to be written of a frame's runs from `from` on: used bytes together with the
/// few zeros between them, and zeros on their own.
fn parts(runs: &[Run], from: u64) -> Vec<Run> {
    let mut parts: Vec<Run> = Vec::new();
    for run in runs.iter().filter(|run| run.state != State::Free) {
        let start = run.extent.start().max(from);
        if start >= run.extent.end() {
            continue;
        }
        let extent = Extent::between(start, run.extent.end());
        let is_small = run.state == State::Used || extent.len() <= ZEROS_JOINED_MAX;
        match parts.last_mut() {
            Some(last) if last.extent.end() == start && last.state == State::Used && is_small => {
                last.extent = Extent::between(last.extent.start(), extent.end());
            }
            _ => parts.push(Run::new(extent, run.state)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{ZEROS_JOINED_MAX, parts};
    use cardkeep_block::{Extent, Run, State};

    #[test]
    fn what_is_written_at_once_never_holds_a_free_byte() {
        let run = |start, end, state| Run::new(Extent::between(start, end), state);
        let zeros_end = 3000 + ZEROS_JOINED_MAX + 1;
        let runs = [
            run(0, 1000, State::Used),
            run(1000, 2000, State::Zero),
            run(2000, 2500, State::Used),
            run(2500, 2600, State::Free),
            run(2600, 3000, State::Used),
            run(3000, zeros_end, State::Zero),
            run(zeros_end, zeros_end + 1, State::Used),
        ];
        let expected = [
            run(512, 2500, State::Used),
            run(2600, 3000, State::Used),
            run(3000, zeros_end, State::Zero),
            run(zeros_end, zeros_end + 1, State::Used),
        ];
        assert_eq!(parts(&runs, 512), expected);
    }
}
