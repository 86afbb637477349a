//! A bzip2 file read from its beginning: streams one after the other, as parallel compressors
//! make them, and what `trailing.rs` allows behind the last.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;

use crate::StreamNotes;
use crate::trailing;

/// Every stream begins with it.
const MAGIC: &[u8] = b"BZh";

/// The content of all streams.
pub(crate) struct Bzip2Streams<R> {
    /// `None` behind the last stream.
    stream: Option<BzDecoder<R>>,
    streams_count: u64,
    notes: StreamNotes,
}

impl<R: BufRead> Bzip2Streams<R> {
    pub(crate) fn new(reader: R, notes: StreamNotes) -> Self {
        Self {
            stream: Some(BzDecoder::new(reader)),
            streams_count: 0,
            notes,
        }
    }
}

impl<R: BufRead> Read for Bzip2Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(stream) = &mut self.stream {
            let len = stream.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            // The CRCs of the stream and its blocks were right, or there would have been an error.
            let Some(mut reader) = self.stream.take().map(BzDecoder::into_inner) else {
                break;
            };
            self.streams_count += 1;
            if reader.fill_buf()?.first() == MAGIC.first() {
                self.stream = Some(BzDecoder::new(reader));
                continue;
            }
            trailing::pass_over(&mut reader, (self.streams_count, MAGIC), &self.notes)?;
        }
        Ok(0)
    }
}
