//! An open file together with the alignment that its transfers need.
//!
//! Main type: [`AlignedFile`]. It serves any offset, length and address; whatever is not aligned
//! takes a detour through a buffer that is. Bounds and permits are its users' business.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{AlignedBuffer, BUFFER_ALIGNMENT, BlockError};

use crate::transfer::{read_covering, write_all};

/// What the detour of an unaligned request may take at once, in bytes: a multiple of every sector
/// size. Metadata requests are far smaller; longer ones come aligned from the pipeline.
const BOUNCE_BYTES_MAX: usize = 1024 * 1024;

/// What is written at once, in bytes. Cards gain nothing from more, and the system holds the
/// whole request in memory.
const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A file, or a device opened as one.
#[derive(Debug)]
pub(crate) struct AlignedFile {
    file: File,
    /// The alignment in bytes that transfers need, a power of two; 1 where they need none.
    unit: usize,
    /// Held while a part of a sector is changed. Two such changes of one sector at a time would
    /// undo one another.
    patching: Mutex<()>,
}

impl AlignedFile {
    /// Returns the file whose transfers need `alignment` bytes, a power of two.
    pub(crate) const fn new(file: File, alignment: u32) -> Self {
        Self {
            file,
            unit: alignment as usize,
            patching: Mutex::new(()),
        }
    }

    /// Returns the file itself.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns the alignment in bytes that transfers need.
    pub(crate) const fn alignment(&self) -> usize {
        self.unit
    }

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// As [`read_covering`].
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let mut done = 0;
        while done < buffer.len() {
            done += self.read_part(offset + done as u64, &mut buffer[done..])?;
        }
        Ok(())
    }

    /// Writes all of `data` at `offset`. Where it begins or ends within a sector, the rest of that
    /// sector is read and written back as it was.
    ///
    /// # Errors
    /// What the system said, with the part of the request that failed; an unknown part of that
    /// may have been written.
    pub(crate) fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let mut done = 0;
        while done < data.len() {
            done += self.write_part(offset + done as u64, &data[done..])?;
        }
        Ok(())
    }

    /// Reads the next part of a request: as much as can go straight into `rest`, else what one
    /// bounce buffer holds. Returns the number of bytes served, at least 1.
    fn read_part(&self, offset: u64, rest: &mut [u8]) -> Result<usize, BlockError> {
        let is_aligned = offset.is_multiple_of(self.unit as u64) && self.accepts_address(rest);
        let straight = rest.len() - rest.len() % self.unit;
        if is_aligned && straight > 0 {
            let target = &mut rest[..straight];
            read_covering(&self.file, offset, target, straight, self.unit)?;
            return Ok(straight);
        }
        self.read_bounced(offset, rest)
    }

    fn read_bounced(&self, offset: u64, rest: &mut [u8]) -> Result<usize, BlockError> {
        let skip = (offset % self.unit as u64) as usize;
        let served = rest.len().min(BOUNCE_BYTES_MAX - skip);
        let wanted = skip + served;
        let mut bounce = AlignedBuffer::new(wanted.next_multiple_of(self.unit));
        let start = offset - skip as u64;
        read_covering(&self.file, start, &mut bounce, wanted, self.unit)?;
        rest[..served].copy_from_slice(&bounce[skip..wanted]);
        Ok(served)
    }

    /// Writes the next part of a request: as many whole units as there are, straight or by a
    /// bounce buffer; else a part of one unit. Returns the number of bytes served, at least 1.
    fn write_part(&self, offset: u64, rest: &[u8]) -> Result<usize, BlockError> {
        let whole = rest.len() - rest.len() % self.unit;
        if !offset.is_multiple_of(self.unit as u64) || whole == 0 {
            return self.patch_unit(offset, rest);
        }
        if self.accepts_address(rest) {
            let served = whole.min(WRITE_BYTES_MAX);
            write_all(&self.file, offset, &rest[..served])?;
            return Ok(served);
        }
        let served = whole.min(BOUNCE_BYTES_MAX);
        let mut bounce = AlignedBuffer::new(served);
        bounce.copy_from_slice(&rest[..served]);
        write_all(&self.file, offset, &bounce)?;
        Ok(served)
    }

    /// Changes the bytes of one unit from `offset` on, and no others.
    fn patch_unit(&self, offset: u64, rest: &[u8]) -> Result<usize, BlockError> {
        let skip = (offset % self.unit as u64) as usize;
        let served = rest.len().min(self.unit - skip);
        let start = offset - skip as u64;
        let mut whole = AlignedBuffer::new(self.unit);
        // The lock protects no data, so a panic of its last holder left nothing broken.
        let held = self.patching.lock().unwrap_or_else(PoisonError::into_inner);
        read_covering(&self.file, start, &mut whole, self.unit, self.unit)?;
        whole[skip..skip + served].copy_from_slice(&rest[..served]);
        write_all(&self.file, start, &whole)?;
        drop(held);
        Ok(served)
    }

    fn accepts_address(&self, bytes: &[u8]) -> bool {
        let unit = self.unit.min(BUFFER_ALIGNMENT);
        bytes.as_ptr().align_offset(unit) == 0
    }
}
