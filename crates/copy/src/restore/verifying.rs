//! Reading a card back: everything that was written, past every cache, against its digest.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{AlignedBuffer, BlockError, Phase, ReadWriteAt, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest};

use crate::error::CopyError;
use crate::restore::card::CardJob;
use crate::restore::delivery::AT_ONCE;
use crate::restore::delta::read_filled;
use crate::restore::frame::bytes_of;
use crate::restore::head::Head;
use crate::restore::ledger::Entry;

impl CardJob<'_> {
    /// Reads back what was written; what is wrong is written and read once more.
    pub(crate) fn verify(&mut self) -> Result<(), CopyError> {
        let bad = self.read_back(true)?;
        if bad.is_empty() {
            return Ok(());
        }
        self.mend(&bad)?;
        // A card whose addresses wrap can be made right in any one place, at the cost of another:
        // once something had to be mended, only the whole card proves anything.
        match *self.read_back(false)? {
            [] => Ok(()),
            [first, ..] => Err(self.explained(first)),
        }
    }

    /// Returns the frames that are not on the card as they should be, in ascending order. Only the
    /// first time counts as progress.
    fn read_back(&self, is_first: bool) -> Result<Vec<usize>, CopyError> {
        let next = AtomicUsize::new(0);
        let bad = Mutex::new(Vec::new());
        let buffers: Option<Vec<AlignedBuffer>> = (0..AT_ONCE)
            .map(|_| AlignedBuffer::try_new(FRAME_BYTES))
            .collect();
        let buffers = buffers.ok_or(CopyError::NoMemory {
            bytes: (AT_ONCE * FRAME_BYTES) as u64,
        })?;
        let check = |mut content: AlignedBuffer| {
            loop {
                let Some(entry) = self.ledger.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                if self.monitor.is_cancelled() {
                    return;
                }
                let found = digest_on(self.card, entry, self.head.as_ref(), &mut content);
                // What can't be read is bad, too: mending it tells why.
                if !found.is_ok_and(|found| found == entry.digest) {
                    let mut bad = bad.lock().unwrap_or_else(PoisonError::into_inner);
                    bad.push(entry.index);
                }
                if is_first {
                    let bytes = bytes_of(&entry.runs(), |state| state != State::Free);
                    self.monitor.advance(Phase::Verify, bytes);
                }
            }
        };
        std::thread::scope(|scope| {
            for buffer in buffers {
                scope.spawn(|| check(buffer));
            }
        });
        if self.monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        let mut bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
        bad.sort_unstable();
        // Several parts of one frame may be bad.
        bad.dedup();
        Ok(bad)
    }
}

/// Returns the digest of what the card holds in a frame's place. The head is not there yet: its
/// bytes are taken for right.
pub(crate) fn digest_on(
    card: &dyn ReadWriteAt,
    entry: &Entry,
    head: Option<&Head>,
    content: &mut [u8],
) -> Result<FrameDigest, BlockError> {
    let content = &mut content[..entry.extent.len() as usize];
    read_filled(card, &entry.runs(), entry.extent, content)?;
    if entry.extent.start() == 0
        && let Some(head) = head
    {
        head.lay_over(content);
    }
    Ok(FrameDigest::of(content))
}
