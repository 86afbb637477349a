//! Where an image goes.

use std::io::Write;

use cardkeep_block::{BlockError, Extent, ReadAt, WriteAt};
use cardkeep_device::PartialFile;

/// A destination that can be read back: a file, not a stream.
pub trait Destination: WriteAt {
    /// Asks the system to begin writing `extent` to the disk, without waiting.
    ///
    /// # Errors
    /// What the system reported.
    fn start_writeback(&self, extent: Extent) -> Result<(), BlockError>;

    /// Makes durable what was written so far, and returns a reader that sees the disk's content
    /// rather than the cache's, as far as the system allows.
    ///
    /// # Errors
    /// What the system reported.
    fn settled(&self) -> Result<Box<dyn ReadAt>, BlockError>;

    /// Gives the destination its final length; what was not written reads as zeros.
    ///
    /// # Errors
    /// What the system reported.
    fn set_len(&self, len: u64) -> Result<(), BlockError>;
}

impl Destination for PartialFile {
    fn start_writeback(&self, extent: Extent) -> Result<(), BlockError> {
        Self::start_writeback(self, extent)
    }

    fn settled(&self) -> Result<Box<dyn ReadAt>, BlockError> {
        Ok(Box::new(self.reader()?))
    }

    fn set_len(&self, len: u64) -> Result<(), BlockError> {
        Self::set_len(self, len)
    }
}

/// The end of the pipeline.
pub enum Output<'a> {
    /// Something that can be read back.
    Stored(&'a dyn Destination),
    /// Something that takes bytes and gives none back: a pipe.
    Stream(&'a mut (dyn Write + Send)),
}
