//! A bound on work: how many blocks may still be read to answer one question.
//!
//! Trees and directories of a damaged filesystem may refer to themselves and to each other. A
//! sound one reads each of its blocks once or twice; who reads more is going in circles.

use crate::error::{CorruptKind, Error};

/// What may still be read.
#[derive(Debug)]
pub(crate) struct Effort {
    blocks_left: u64,
}

impl Effort {
    /// Returns the effort of `count` blocks.
    pub(crate) const fn of_blocks(count: u64) -> Self {
        Self { blocks_left: count }
    }

    /// Counts one more block.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it was one too many.
    pub(crate) fn spend(&mut self) -> Result<(), Error> {
        self.blocks_left = self
            .blocks_left
            .checked_sub(1)
            .ok_or(CorruptKind::Circles)?;
        Ok(())
    }

    /// Tells whether nothing more may be read.
    pub(crate) const fn is_spent(&self) -> bool {
        self.blocks_left == 0
    }
}
