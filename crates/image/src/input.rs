//! The compressed bytes on their way to a decoder: buffered, counted, and watched for failures
//! that are not the image's fault.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is read ahead of a decoder at the most. Callers measure progress by what is read of
/// their reader, so that more would let it run ahead of the content.
const INPUT_BUFFER_BYTES: usize = 128 * 1024;

/// What has been seen of the input so far.
#[derive(Debug, Default)]
pub(crate) struct InputSeen {
    taken_bytes: AtomicU64,
    has_failed: AtomicBool,
}

impl InputSeen {
    /// Returns the offset in the image of the next byte that the decoder takes.
    pub(crate) fn offset(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// Tells whether the reader failed: a decoder's error is not the image's then.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

/// The input of a decoder.
pub(crate) struct Input<R> {
    reader: BufReader<Watched<R>>,
    seen: Arc<InputSeen>,
}

impl<R: Read> Input<R> {
    /// Returns the input that `reader` gives, which begins at `start` of the image.
    pub(crate) fn new(reader: R, start: u64) -> Self {
        let seen = Arc::new(InputSeen {
            taken_bytes: AtomicU64::new(start),
            has_failed: AtomicBool::new(false),
        });
        let watched = Watched {
            reader,
            seen: Arc::clone(&seen),
        };
        Self {
            reader: BufReader::with_capacity(INPUT_BUFFER_BYTES, watched),
            seen,
        }
    }

    /// Returns what the input tells while a decoder owns it.
    pub(crate) fn seen(&self) -> Arc<InputSeen> {
        Arc::clone(&self.seen)
    }

    fn count(&self, bytes: usize) {
        self.seen
            .taken_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        self.count(len);
        Ok(len)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
        self.count(amount);
    }
}

struct Watched<R> {
    reader: R,
    seen: Arc<InputSeen>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = self.reader.read(buffer);
            match &result {
                Ok(_) => {}
                // Not every decoder could go on from it.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => self.seen.has_failed.store(true, Ordering::Relaxed),
            }
            return result;
        }
    }
}
