//! What read back wrong: written once more, checked once more, and explained if it stays wrong.

use cardkeep_block::{AlignedBuffer, Extent, Trouble};
use cardkeep_image::{FRAME_BYTES, FrameDigest};

use crate::diagnosis::{Diagnosis, diagnose};
use crate::error::{BadPlace, CopyError};
use crate::restore::card::{CardJob, put};
use crate::restore::delivery::{WINDOW_ALONE, pool_for};
use crate::restore::delta::read_filled;
use crate::restore::frame::Frame;
use crate::restore::ledger::Entry;
use crate::restore::original::Wanted;
use crate::restore::verifying::digest_on;

/// Differences are told in steps of this size, in bytes: a card's smallest unit.
const STEP_BYTES: usize = 512;

impl CardJob<'_> {
    /// Writes the frames with these indexes once more.
    pub(crate) fn mend(&mut self, bad: &[usize]) -> Result<(), CopyError> {
        if !self.original.is_repeatable() {
            return Err(self.told_without_original(bad));
        }
        let pool = pool_for(WINDOW_ALONE, 1, self.original)
            .map_err(|bytes| CopyError::NoMemory { bytes })?;
        let original = self.original;
        original.deliver(Wanted::Only(bad), &pool, &mut |frame| {
            self.mend_frame(&frame)?;
            Ok(true)
        })
    }

    fn mend_frame(&mut self, frame: &Frame) -> Result<(), CopyError> {
        if self.monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        // Where addresses wrap, mending one place would only spoil another. A place that can't be read
        // is written and read again below, where its error counts.
        if let Ok(Some(place)) = self.bad_place(frame)
            && let Diagnosis::Elsewhere { .. } = place.diagnosis
        {
            return Err(CopyError::BadCard(Box::new(place)));
        }
        put(self.card, frame)?;
        self.card.flush().map_err(CopyError::Destination)?;
        if let Some(place) = self.bad_place(frame)? {
            return Err(CopyError::BadCard(Box::new(place)));
        }
        self.outcome.mended_frames += 1;
        let message = "it read back wrong; after a rewrite it is right";
        self.monitor.trouble(Trouble::new(message).at(frame.extent));
        Ok(())
    }

    /// Returns what is wrong with a frame on the card, where anything is.
    fn bad_place(&self, frame: &Frame) -> Result<Option<BadPlace>, CopyError> {
        let mut found = AlignedBuffer::new(FRAME_BYTES);
        let found = &mut found[..frame.extent.len() as usize];
        read_filled(self.card, &frame.runs, frame.extent, found).map_err(CopyError::Destination)?;
        if let Some(head) = self.head.as_ref().filter(|_| frame.index == 0) {
            head.lay_over(found);
        }
        Ok(first_difference(frame, found).map(|extent| BadPlace {
            extent,
            frame: frame.extent,
            expected: frame.digest,
            found: Some(FrameDigest::of(found)),
            diagnosis: self.diagnosis(frame, found),
        }))
    }

    fn diagnosis(&self, frame: &Frame, found: &[u8]) -> Diagnosis {
        match frame.content() {
            Some(wanted) => diagnose(wanted, found, frame.extent, &self.fingerprints),
            None => diagnose(
                &vec![0; found.len()],
                found,
                frame.extent,
                &self.fingerprints,
            ),
        }
    }

    /// Says what is wrong with a frame after others were mended. It was right by then, either from
    /// the beginning or when it was mended itself.
    pub(crate) fn explained(&mut self, index: usize) -> CopyError {
        let pool = match pool_for(WINDOW_ALONE, 1, self.original) {
            Ok(pool) => pool,
            Err(bytes) => return CopyError::NoMemory { bytes },
        };
        let explain = |frame: &Frame| match self.bad_place(frame)? {
            Some(place) => {
                let diagnosis = match place.diagnosis {
                    Diagnosis::Other | Diagnosis::Zeros => Diagnosis::Spoiled,
                    own => own,
                };
                Err(CopyError::BadCard(Box::new(BadPlace {
                    diagnosis,
                    ..place
                })))
            }
            None => Ok(true),
        };
        let original = self.original;
        let wanted = Wanted::Only(&[index]);
        match original.deliver(wanted, &pool, &mut |frame| explain(&frame)) {
            Err(error) => error,
            // It comes and goes.
            Ok(()) => self.told_without_original(&[index]),
        }
    }

    /// Tells of the first bad frame, where the original is gone.
    fn told_without_original(&self, bad: &[usize]) -> CopyError {
        let is_bad = |entry: &&Entry| Some(&entry.index) == bad.first();
        let Some(entry) = self.ledger.iter().find(is_bad) else {
            return CopyError::Internal("a frame that is in no ledger is bad");
        };
        let mut content = AlignedBuffer::new(FRAME_BYTES);
        // A place that can't be read is told as one without a digest.
        let found = digest_on(self.card, entry, self.head.as_ref(), &mut content).ok();
        let content = &content[..entry.extent.len() as usize];
        let shift = self.fingerprints.find(content, entry.extent);
        CopyError::BadCard(Box::new(BadPlace {
            extent: entry.extent,
            frame: entry.extent,
            expected: entry.digest,
            found,
            diagnosis: match shift {
                Some(shift) => Diagnosis::Elsewhere { shift },
                None if found.is_some() && content.iter().all(|&byte| byte == 0) => {
                    Diagnosis::Zeros
                }
                None => Diagnosis::Other,
            },
        }))
    }
}

/// Returns the first part of a frame whose bytes are not those that were found.
fn first_difference(frame: &Frame, found: &[u8]) -> Option<Extent> {
    let zeros = [0; STEP_BYTES];
    let differs = |index: usize, step: &[u8]| {
        let at = index * STEP_BYTES;
        let wanted = frame.content().map(|content| &content[at..at + step.len()]);
        step != wanted.unwrap_or(&zeros[..step.len()])
    };
    let mut steps = found.chunks(STEP_BYTES).enumerate();
    let first = steps.position(|(index, step)| differs(index, step))?;
    let after = steps
        .take_while(|(index, step)| differs(*index, step))
        .count();
    let start = frame.extent.start() + (first * STEP_BYTES) as u64;
    let end = start + ((1 + after) * STEP_BYTES) as u64;
    Some(Extent::between(start, end.min(frame.extent.end())))
}
