//! The head of a card: its first MiB, wiped first and written last.

use cardkeep_block::{AlignedBuffer, BlockError, Extent, ReadWriteAt, Run, State};

use crate::error::CopyError;
use crate::restore::frame::Frame;

/// What makes a card look bootable lies in its first MiB: the partition table at the least.
pub const HEAD_BYTES: u64 = 1 << 20;

/// The largest sector known.
const FIRST_BYTES: u64 = 4096;

/// Returns the head of a card of `len` bytes.
pub(crate) const fn head_of(len: u64) -> Extent {
    Extent::between(0, if len < HEAD_BYTES { len } else { HEAD_BYTES })
}

/// Returns the first sectors of a card of `len` bytes, with the table, of whatever size they are.
pub(crate) const fn first_of(len: u64) -> Extent {
    Extent::between(0, if len < FIRST_BYTES { len } else { FIRST_BYTES })
}

/// Returns the tail of a card of `len` bytes: where backups of partition tables lie.
pub(crate) const fn tail_of(len: u64) -> Extent {
    let head = head_of(len);
    let start = len.saturating_sub(HEAD_BYTES);
    Extent::between(
        if start < head.end() {
            head.end()
        } else {
            start
        },
        len,
    )
}

/// What the head of a card is to hold.
pub(crate) struct Head {
    runs: Vec<Run>,
    content: AlignedBuffer,
}

impl Head {
    /// Returns the head out of the frame that holds it.
    pub(crate) fn of(frame: &Frame) -> Self {
        let extent = head_of(frame.extent.end());
        let mut content = AlignedBuffer::new(extent.len() as usize);
        if let Some(bytes) = frame.bytes(extent) {
            content.copy_from_slice(bytes);
        }
        let inside = |run: &Run| Run::new(run.extent.intersection(extent), run.state);
        let runs = frame.runs.iter().map(inside);
        Self {
            runs: runs.filter(|run| !run.extent.is_empty()).collect(),
            content,
        }
    }

    /// Tells whether `found`, read from the card's beginning on, is what the head is to hold. What
    /// is free of it is changed.
    pub(crate) fn is(&self, found: &mut [u8]) -> bool {
        let found = &mut found[..self.content.len()];
        for run in self.runs.iter().filter(|run| run.state == State::Free) {
            let (from, to) = (run.extent.start() as usize, run.extent.end() as usize);
            found[from..to].copy_from_slice(&self.content[from..to]);
        }
        found == &self.content[..]
    }

    /// Puts the head's bytes in the place of those of `content`, which begins where the card does.
    pub(crate) fn lay_over(&self, content: &mut [u8]) {
        content[..self.content.len()].copy_from_slice(&self.content);
    }

    /// Writes the head onto a card on which it was wiped, the very first sector last: without it
    /// nothing else of the head counts.
    pub(crate) fn write(&self, card: &dyn ReadWriteAt) -> Result<(), BlockError> {
        let first = (card.alignment() as u64)
            .max(512)
            .min(self.content.len() as u64);
        self.write_part(card, Extent::between(first, u64::MAX))?;
        card.flush()?;
        self.write_part(card, Extent::between(0, first))?;
        card.flush()
    }

    fn write_part(&self, card: &dyn ReadWriteAt, part: Extent) -> Result<(), BlockError> {
        for run in self.runs.iter().filter(|run| run.state == State::Used) {
            let extent = run.extent.intersection(part);
            if !extent.is_empty() {
                let (from, to) = (extent.start() as usize, extent.end() as usize);
                card.write_at(extent.start(), &self.content[from..to])?;
            }
        }
        Ok(())
    }

    /// Reads the head back and compares.
    pub(crate) fn check(&self, card: &dyn ReadWriteAt) -> Result<bool, CopyError> {
        let mut found = AlignedBuffer::new(self.content.len());
        card.read_at(0, &mut found)
            .map_err(CopyError::Destination)?;
        Ok(self.is(&mut found))
    }
}
