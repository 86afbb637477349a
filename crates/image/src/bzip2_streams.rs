//! A bzip2 file read from its beginning: streams one after the other, as parallel compressors
//! make them.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;

use crate::stream::damaged;

/// Every stream begins with `BZh`.
const MAGIC_FIRST_BYTE: u8 = b'B';

/// The content of all streams.
pub(crate) struct Bzip2Streams<R> {
    /// `None` behind the last stream.
    stream: Option<BzDecoder<R>>,
}

impl<R: BufRead> Bzip2Streams<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            stream: Some(BzDecoder::new(reader)),
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
            match reader.fill_buf()?.first() {
                None => break,
                Some(&MAGIC_FIRST_BYTE) => self.stream = Some(BzDecoder::new(reader)),
                Some(_) => {
                    return Err(damaged("something else follows the last stream"));
                }
            }
        }
        Ok(0)
    }
}
