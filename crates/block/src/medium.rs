//! What can be read and written by position.

use std::sync::Arc;

use crate::{AlignedBuffer, BlockError, BlockErrorKind, Extent, Operation};

/// The longest medium that is taken, in bytes: 281 TB, twice what an SDUC card can have (SD specification
/// 7.0). What claims to be longer lies, and would keep a program that reads it busy for days.
pub const MEDIUM_BYTES_MAX: u64 = 1 << 48;

/// A medium that can be read at any position.
///
/// Any offset and length within [`ReadAt::len`] is served; requests aligned to
/// [`ReadAt::alignment`] in offset, length and address are served fastest.
#[expect(
    clippy::len_without_is_empty,
    reason = "an empty medium is as good as any other"
)]
pub trait ReadAt: Send + Sync {
    /// Returns the medium's length in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`BlockErrorKind::OutOfBounds`] where the request reaches past the end, else what the
    /// medium reported. The content of `buffer` is unspecified then.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError>;

    /// Returns the alignment in bytes, a power of two, that saves the medium a detour.
    fn alignment(&self) -> usize {
        1
    }

    /// Checks that a request of `len` bytes at `offset` lies on the medium, and returns its extent.
    ///
    /// # Errors
    /// [`BlockErrorKind::OutOfBounds`] where it does not.
    fn bounded(&self, offset: u64, len: usize) -> Result<Extent, BlockError> {
        let error = BlockError::new(BlockErrorKind::OutOfBounds, Operation::Read);
        match Extent::new(offset, len as u64) {
            Some(extent) if extent.end() <= self.len() => Ok(extent),
            Some(extent) => Err(error.at(extent)),
            None => Err(error.at(Extent::between(offset, u64::MAX))),
        }
    }

    /// Returns the `len` bytes at `offset`. `len` must be bounded by the caller, not by the medium.
    ///
    /// # Errors
    /// As [`ReadAt::read_at`]; out of bounds is found before anything is allocated.
    fn read_vec(&self, offset: u64, len: usize) -> Result<Vec<u8>, BlockError> {
        self.bounded(offset, len)?;
        let mut buffer = vec![0; len];
        self.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }
}

/// A medium that can be written at any position.
pub trait WriteAt: Send + Sync {
    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// What the medium reported; an unknown part may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError>;

    /// Makes all bytes of `extent` zero, in the fastest way that is sure to leave zeros.
    ///
    /// # Errors
    /// As [`WriteAt::write_at`].
    fn write_zeros(&self, extent: Extent) -> Result<(), BlockError> {
        let zeros = AlignedBuffer::new(extent.len().min(ZEROS_BYTES_MAX) as usize);
        let mut offset = extent.start();
        while offset < extent.end() {
            let size = (extent.end() - offset).min(ZEROS_BYTES_MAX);
            self.write_at(offset, &zeros[..size as usize])?;
            offset += size;
        }
        Ok(())
    }

    /// Returns once all that was written is durable.
    ///
    /// # Errors
    /// What the medium reported; what was written before is in doubt then.
    fn flush(&self) -> Result<(), BlockError>;
}

/// What is written at once of zeros, in bytes: a large request by any card's measure.
const ZEROS_BYTES_MAX: u64 = 1 << 20;

/// A medium that can be both read and written: a card that is restored.
///
/// What it reads after [`WriteAt::flush`] comes from the medium itself, as far as the system
/// allows, not from a cache.
pub trait ReadWriteAt: ReadAt + WriteAt {}

impl<M: ReadAt + WriteAt + ?Sized> ReadWriteAt for M {}

macro_rules! forward_read_at {
    ($($type:ty),+) => {$(
        impl<M: ReadAt + ?Sized> ReadAt for $type {
            fn len(&self) -> u64 {
                (**self).len()
            }
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
                (**self).read_at(offset, buffer)
            }
            fn alignment(&self) -> usize {
                (**self).alignment()
            }
        }
    )+};
}

forward_read_at!(&M, Box<M>, Arc<M>);

macro_rules! forward_write_at {
    ($($type:ty),+) => {$(
        impl<M: WriteAt + ?Sized> WriteAt for $type {
            fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
                (**self).write_at(offset, data)
            }
            fn write_zeros(&self, extent: Extent) -> Result<(), BlockError> {
                (**self).write_zeros(extent)
            }
            fn flush(&self) -> Result<(), BlockError> {
                (**self).flush()
            }
        }
    )+};
}

forward_write_at!(&M, Box<M>, Arc<M>);
