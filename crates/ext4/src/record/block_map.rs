//! A list of 32-bit block numbers, 0 meaning none: the 15 in an inode, or a block of them.

use cardkeep_block::le_u32;

use super::{check_len, put_u32};
use crate::error::Error;

/// Bytes of one number.
const ENTRY_BYTES: usize = 4;

/// A list of block numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMap<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> BlockMap<B> {
    /// Returns the list in `bytes`; what is left of them behind the last whole number is no part
    /// of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for bytes that hold no number at all.
    pub fn new(bytes: B) -> Result<Self, Error> {
        check_len("block map", bytes.as_ref(), ENTRY_BYTES)?;
        Ok(Self { bytes })
    }

    /// Returns how many numbers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.as_ref().len() / ENTRY_BYTES
    }

    /// Returns the number at `index`, 0 meaning none.
    ///
    /// # Panics
    /// Where `index` is not below [`BlockMap::count`].
    #[must_use]
    pub fn get(&self, index: usize) -> u32 {
        le_u32(&self.bytes.as_ref()[index * ENTRY_BYTES..], 0)
    }

    /// Returns all numbers, 0 meaning none.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.count()).map(|index| self.get(index))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn into_bytes(self) -> B {
        self.bytes
    }
}

impl<B: AsMut<[u8]>> BlockMap<B> {
    /// Sets the number at `index`.
    ///
    /// # Panics
    /// Where `index` is not below [`BlockMap::count`].
    pub fn set(&mut self, index: usize, block: u32) {
        put_u32(self.bytes.as_mut(), index * ENTRY_BYTES, block);
    }
}
