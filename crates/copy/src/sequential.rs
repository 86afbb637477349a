//! Media read from front to back, and streams of content cut into frames.

use std::io::{self, Read};
use std::sync::Arc;

use cardkeep_block::ReadAt;

/// Requests of this size keep a disk busy and are aligned for direct I/O.
const CHUNK_BYTES: usize = 1 << 20;

/// A medium as a stream.
pub(crate) struct Sequential {
    medium: Arc<dyn ReadAt>,
    position: u64,
    chunk: Vec<u8>,
    used: usize,
}

impl Sequential {
    pub(crate) fn new(medium: Arc<dyn ReadAt>) -> Self {
        Self {
            medium,
            position: 0,
            chunk: Vec::new(),
            used: 0,
        }
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            let left = self.medium.len().saturating_sub(self.position);
            self.chunk.resize(left.min(CHUNK_BYTES as u64) as usize, 0);
            self.medium
                .read_at(self.position, &mut self.chunk)
                .map_err(io::Error::other)?;
            self.position += self.chunk.len() as u64;
            self.used = 0;
        }
        let size = buffer.len().min(self.chunk.len() - self.used);
        buffer[..size].copy_from_slice(&self.chunk[self.used..self.used + size]);
        self.used += size;
        Ok(size)
    }
}

/// Fills `frame` from `stream` as far as it goes; returns how far.
pub(crate) fn read_frame(stream: &mut dyn Read, frame: &mut [u8]) -> io::Result<usize> {
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
