//! The original: what cards are restored from.

use std::sync::Arc;

use cardkeep_block::BufferPool;

use crate::error::CopyError;
use crate::restore::frame::Frame;

/// Which frames are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// All from this one on.
    From(usize),
    /// These, in ascending order.
    Only(&'a [usize]),
}

impl Wanted<'_> {
    /// Tells whether the frame is wanted.
    pub(crate) fn holds(&self, index: usize) -> bool {
        match self {
            Self::From(first) => index >= *first,
            Self::Only(list) => list.binary_search(&index).is_ok(),
        }
    }

    /// Returns the last frame that is wanted, where there is one.
    pub(crate) fn last(&self) -> Option<usize> {
        match self {
            Self::From(_) => None,
            Self::Only(list) => Some(list.last().copied().unwrap_or(0)),
        }
    }
}

/// Takes the next frame; answers whether more are wanted.
pub type Take<'a> = &'a mut dyn FnMut(Frame) -> Result<bool, CopyError>;

/// What cards are restored from: an image, a stream, another card.
pub trait Original: Sync {
    /// Hands over the wanted frames that hold anything but free bytes, in address order. Buffers
    /// come from `pool`; once that is closed, or `take` wants no more, it ends early.
    ///
    /// # Errors
    /// [`CopyError::Source`], [`CopyError::Image`] or [`CopyError::Mismatch`] where the original
    /// can't be read or isn't what it should be; whatever `take` answers.
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError>;

    /// Tells whether it can be delivered more than once: a file can, a pipe can't.
    fn is_repeatable(&self) -> bool;

    /// Returns how many bytes will be written and how many of them are zeros, where that is known
    /// beforehand.
    fn known_bytes(&self) -> Option<u64>;

    /// Returns how many buffers it holds at most while delivering.
    fn frames_under_way(&self) -> usize;
}
