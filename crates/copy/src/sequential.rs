//! Media read from front to back, and streams of content cut into frames.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cardkeep_block::{BlockError, Operation, ReadAt, Slice};
use cardkeep_image::{
    Error as ImageError, Format, StreamNotes, load_zip_member, stream_layer, stream_noting,
};

use crate::error::CopyError;

/// Requests of this size keep a disk busy and are aligned for direct I/O.
const CHUNK_BYTES: usize = 1 << 20;

/// A medium as a stream.
pub(crate) struct Sequential {
    medium: Arc<dyn ReadAt>,
    /// How far it was read, in bytes: others may look on.
    position: Arc<AtomicU64>,
    chunk: Vec<u8>,
    used: usize,
}

impl Sequential {
    /// Returns the stream of all bytes of `medium`.
    pub(crate) fn new(medium: Arc<dyn ReadAt>) -> Self {
        Self {
            medium,
            position: Arc::default(),
            chunk: Vec::new(),
            used: 0,
        }
    }

    /// Returns the number that tells how much of the medium was read so far, in bytes.
    pub(crate) fn position(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.position)
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            let position = self.position.load(Ordering::Relaxed);
            let left = self.medium.len().saturating_sub(position);
            self.chunk.resize(left.min(CHUNK_BYTES as u64) as usize, 0);
            self.medium
                .read_at(position, &mut self.chunk)
                .map_err(io::Error::other)?;
            let len = self.chunk.len() as u64;
            self.position.store(position + len, Ordering::Relaxed);
            self.used = 0;
        }
        let size = buffer.len().min(self.chunk.len() - self.used);
        buffer[..size].copy_from_slice(&self.chunk[self.used..self.used + size]);
        self.used += size;
        Ok(size)
    }
}

/// Returns the content of the image in `file` as a stream, and the number that tells how much of
/// the file was read for it so far, in bytes.
///
/// # Errors
/// As [`cardkeep_image::stream`] and [`cardkeep_image::load_zip_member`].
pub fn decoded(
    file: Arc<dyn ReadAt>,
    format: Format,
) -> Result<(Box<dyn Read + Send>, Arc<AtomicU64>), ImageError> {
    decoded_noting(file, format, &StreamNotes::default())
}

/// Does the work of [`decoded`], and tells `notes` what is worth telling of the image.
///
/// # Errors
/// As [`decoded`].
pub fn decoded_noting(
    file: Arc<dyn ReadAt>,
    format: Format,
    notes: &StreamNotes,
) -> Result<(Box<dyn Read + Send>, Arc<AtomicU64>), ImageError> {
    // Which member of an archive is the image is told best by its end.
    if format == Format::Zip
        && let Some(member) = load_zip_member(&file)?
    {
        let stream = Sequential::new(Arc::new(Slice::new(file, member.compressed)));
        let position = stream.position();
        return Ok((member.stream(stream, notes)?, position));
    }
    let bytes = Sequential::new(file);
    let position = bytes.position();
    Ok((stream_noting(format, bytes, notes)?, position))
}

/// What decoding an image that was just made may take, in bytes: no more than other images.
const MEMORY_BYTES_MAX: u64 = 128 << 20;

/// Returns what the container in `file` holds as it is, whatever that looks like.
///
/// # Errors
/// As [`cardkeep_image::stream_layer`].
pub(crate) fn decoded_layer(
    file: Arc<dyn ReadAt>,
    format: Format,
) -> Result<Box<dyn Read + Send>, ImageError> {
    stream_layer(format, Sequential::new(file), MEMORY_BYTES_MAX)
}

/// Fills `frame` from a decoded image as far as that goes; returns how far.
///
/// # Errors
/// [`CopyError::Image`] where the image is damaged, [`CopyError::Source`] where it can't be read.
pub fn read_content(stream: &mut dyn Read, frame: &mut [u8]) -> Result<usize, CopyError> {
    read_frame(stream, frame).map_err(stream_error)
}

fn read_frame(stream: &mut dyn Read, frame: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < frame.len() {
        match stream.read(&mut frame[done..]) {
            Ok(0) => break,
            Ok(size) => done += size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Returns the error of a stream: what is wrong with the image, or with the medium below it,
/// travels inside.
fn stream_error(error: io::Error) -> CopyError {
    let error = match error.downcast::<ImageError>() {
        Ok(error) => return CopyError::Image(error),
        Err(error) => error,
    };
    let error = match error.downcast::<CopyError>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    CopyError::Source(match error.downcast::<BlockError>() {
        Ok(error) => error,
        Err(error) => BlockError::from_io(Operation::Read, error),
    })
}
