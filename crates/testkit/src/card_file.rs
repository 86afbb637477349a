//! What a fake card keeps its bytes in: a file, of which only what was written takes room.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt, WriteAt};
use rustix::fs::{FallocateFlags, fallocate};

/// A file as a medium of fixed length.
///
/// A flush leaves the file in the system's cache: cards fail in these tests, the machine doesn't.
#[derive(Debug)]
pub struct CardFile {
    file: File,
    len: u64,
}

impl CardFile {
    /// Opens a file, which writes will change.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Returns a file of `len` zero bytes that has no name and vanishes with its last user.
    ///
    /// # Errors
    /// What the system reports.
    pub fn blank(len: u64) -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        file.set_len(len)?;
        Ok(Self { file, len })
    }

    fn checked(&self, extent: Option<Extent>) -> Result<Extent, BlockError> {
        extent
            .filter(|extent| extent.end() <= self.len)
            .ok_or_else(|| BlockError::new(BlockErrorKind::OutOfBounds, Operation::Write))
    }
}

impl ReadAt for CardFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|error| BlockError::from_io(Operation::Read, error).at(extent))
    }
}

impl WriteAt for CardFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let extent = self.checked(Extent::new(offset, data.len() as u64))?;
        let written = self.file.write_all_at(data, offset);
        written.map_err(|error| BlockError::from_io(Operation::Write, error).at(extent))
    }

    fn write_zeros(&self, extent: Extent) -> Result<(), BlockError> {
        let extent = self.checked(Some(extent))?;
        if extent.is_empty() {
            return Ok(());
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punched = fallocate(&self.file, hole, extent.start(), extent.len());
        punched.map_err(|error| BlockError::from_io(Operation::Write, error.into()).at(extent))
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::CardFile;
    use cardkeep_block::{BlockErrorKind, Extent, ReadAt, WriteAt};

    #[test]
    fn a_file_keeps_what_is_written_and_its_length() {
        let card = CardFile::blank(10_000).unwrap();
        card.write_at(4000, &[7; 6000]).unwrap();
        card.write_zeros(Extent::between(4001, 9999)).unwrap();
        let mut expected = vec![0; 10_000];
        expected[4000] = 7;
        expected[9999] = 7;
        assert_eq!(card.read_vec(0, 10_000).unwrap(), expected);
        let error = card.write_at(9999, &[1; 2]).unwrap_err();
        assert_eq!(error.kind(), BlockErrorKind::OutOfBounds);
        assert!(card.write_zeros(Extent::between(9999, 10_001)).is_err());
        assert_eq!(card.len(), 10_000);
    }
}
