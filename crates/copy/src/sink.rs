//! Appending to the output, and writing frames of a raw image to their places.

use cardkeep_block::{BlockError, Extent, Operation};

use crate::destination::Output;
use crate::error::CopyError;
use crate::frames::FrameList;

/// The system is asked to write in steps of this size, so that the last flush is short.
const WRITEBACK_BYTES: u64 = 8 << 20;
/// A stream of zeros is written in pieces of this size.
const ZEROS: &[u8] = &[0; 64 * 1024];

/// Writes to the output in order, and counts.
pub(crate) struct Sink<'a, 'o> {
    output: &'a mut Output<'o>,
    position: u64,
    written_bytes: u64,
    writeback_from: u64,
}

impl<'a, 'o> Sink<'a, 'o> {
    /// Returns the sink that goes on at `position`.
    pub(crate) const fn new(output: &'a mut Output<'o>, position: u64) -> Self {
        Self {
            output,
            position,
            written_bytes: position,
            writeback_from: position,
        }
    }

    /// Returns where the next byte goes.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Returns how many bytes were written; holes don't count.
    pub(crate) const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Appends bytes.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), CopyError> {
        match self.output {
            Output::Stored(file) => file
                .write_at(self.position, data)
                .map_err(CopyError::Destination)?,
            Output::Stream(stream) => {
                stream.write_all(data).map_err(stream_error)?;
            }
        }
        self.written_bytes += data.len() as u64;
        self.position += data.len() as u64;
        self.write_back()
    }

    /// Appends `len` zero bytes; as a hole where the output knows holes.
    pub(crate) fn skip(&mut self, len: u64) -> Result<(), CopyError> {
        match self.output {
            Output::Stored(_) => {
                self.position += len;
                Ok(())
            }
            Output::Stream(_) => {
                let mut left = len;
                while left > 0 {
                    let part = left.min(ZEROS.len() as u64);
                    self.append(&ZEROS[..part as usize])?;
                    left -= part;
                }
                Ok(())
            }
        }
    }

    /// Appends a frame of a raw image: its used extents, and holes between them.
    pub(crate) fn append_raw(
        &mut self,
        frames: &FrameList<'_>,
        index: usize,
        content: &[u8],
    ) -> Result<(), CopyError> {
        let frame = frames.extent(index);
        for used in frames.used(index) {
            self.skip(used.start() - self.position)?;
            let start = (used.start() - frame.start()) as usize;
            self.append(&content[start..start + used.len() as usize])?;
        }
        self.skip(frame.end() - self.position)
    }

    /// Sets the final length of a stored output, flushes a stream.
    pub(crate) fn finish(&mut self) -> Result<(), CopyError> {
        match self.output {
            Output::Stored(file) => file.set_len(self.position).map_err(CopyError::Destination),
            Output::Stream(stream) => stream.flush().map_err(stream_error),
        }
    }

    fn write_back(&mut self) -> Result<(), CopyError> {
        let extent = Extent::between(self.writeback_from, self.position);
        if extent.len() < WRITEBACK_BYTES {
            return Ok(());
        }
        self.writeback_from = self.position;
        match self.output {
            Output::Stored(file) => file.start_writeback(extent).map_err(CopyError::Destination),
            Output::Stream(_) => Ok(()),
        }
    }
}

fn stream_error(error: std::io::Error) -> CopyError {
    CopyError::Destination(BlockError::from_io(Operation::Write, error))
}
