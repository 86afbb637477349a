//! Decodes any image from its beginning, whoever made it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use liblzma::stream::Stream;

use crate::error::{CorruptKind, UnsupportedKind};
use crate::gzip_members::GzipMembers;
use crate::{Error, Format};

/// What a decoder may take: a window of 2^27 bytes, zstd's own limit, and the 65 MiB that xz's
/// highest preset needs.
pub(crate) const MEMORY_BYTES_MAX: u64 = 128 << 20;
const INPUT_BUFFER_BYTES: usize = 128 * 1024;

/// Returns the content of an image that `reader` gives from its beginning, in at most 128 MiB of
/// memory; see [`stream_within`].
///
/// # Errors
/// As [`stream_within`].
pub fn stream(
    format: Format,
    reader: impl Read + Send + 'static,
) -> Result<Box<dyn Read + Send>, Error> {
    stream_within(format, reader, MEMORY_BYTES_MAX)
}

/// Returns the content of an image that `reader` gives from its beginning: any number of zstd
/// frames, skippable ones among them; of gzip members, with zeros behind the last; of xz streams
/// with their padding.
///
/// Reading fails where the image is cut off or something else follows it, and goes on failing
/// then. An error of kind `InvalidData` or `UnexpectedEof` is the image's own and wraps an
/// [`Error`]; others are the reader's.
///
/// # Errors
/// [`Error::Unsupported`] where the format is one that is only detected; [`Error::Io`] where
/// memory is short.
pub fn stream_within(
    format: Format,
    reader: impl Read + Send + 'static,
    memory_bytes_max: u64,
) -> Result<Box<dyn Read + Send>, Error> {
    let seen = Arc::new(InputSeen::default());
    let input = Input {
        reader,
        seen: Arc::clone(&seen),
    };
    let input = BufReader::with_capacity(INPUT_BUFFER_BYTES, input);
    let decoder: Box<dyn Read + Send> = match format {
        Format::Raw => Box::new(input),
        Format::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(Error::codec)?;
            // zstd knows windows of 2^10 to 2^31 bytes.
            let window_log = memory_bytes_max.max(1).ilog2().clamp(10, 31);
            decoder.window_log_max(window_log).map_err(Error::codec)?;
            Box::new(decoder)
        }
        Format::Gzip => Box::new(GzipMembers::new(input)),
        Format::Xz => {
            let stream =
                Stream::new_stream_decoder(memory_bytes_max, liblzma::stream::CONCATENATED)
                    .map_err(|error| Error::codec(error.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Format::Bzip2 | Format::Zip => {
            let kind = UnsupportedKind::Reading(format.extension());
            return Err(Error::unsupported(kind));
        }
    };
    Ok(Box::new(Checked {
        decoder,
        seen,
        is_failed: false,
    }))
}

/// What has been seen of the input so far.
#[derive(Debug, Default)]
struct InputSeen {
    bytes: AtomicU64,
    has_failed: AtomicBool,
}

/// The input, watched: a decoder's error must not be blamed on the image where the reader failed.
struct Input<R> {
    reader: R,
    seen: Arc<InputSeen>,
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = self.reader.read(buffer);
            match &result {
                Ok(len) => {
                    self.seen.bytes.fetch_add(*len as u64, Ordering::Relaxed);
                }
                // Not every decoder could go on from it.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => self.seen.has_failed.store(true, Ordering::Relaxed),
            }
            return result;
        }
    }
}

/// A decoder whose errors say what is wrong with the image and where.
struct Checked {
    decoder: Box<dyn Read + Send>,
    seen: Arc<InputSeen>,
    is_failed: bool,
}

impl Checked {
    fn image_error(&self, error: &io::Error) -> io::Error {
        let wants_memory = error.get_ref().is_some_and(|inner| {
            inner.downcast_ref() == Some(&liblzma::stream::Error::MemLimit)
                // The name that libzstd gives ZSTD_error_frameParameter_windowTooLarge.
                || inner.to_string().contains("too much memory")
        });
        if wants_memory {
            let error = Error::unsupported(UnsupportedKind::Memory);
            return io::Error::new(ErrorKind::InvalidData, error);
        }
        let (kind, what) = match error.kind() {
            ErrorKind::UnexpectedEof => (ErrorKind::UnexpectedEof, "it is cut off".to_owned()),
            _ => (ErrorKind::InvalidData, error.to_string()),
        };
        let offset = self.seen.bytes.load(Ordering::Relaxed);
        io::Error::new(kind, Error::corrupt(CorruptKind::Stream(what)).at(offset))
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_failed {
            return Err(io::Error::other("the image can't be read any further"));
        }
        self.decoder.read(buffer).map_err(|error| {
            self.is_failed = true;
            if self.seen.has_failed.load(Ordering::Relaxed) {
                return error;
            }
            self.image_error(&error)
        })
    }
}

/// Tells whether nothing but zeros is left of `reader`, reading it to its end if so.
///
/// # Errors
/// As the reader.
pub(crate) fn only_zeros_left(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        let len = bytes.len();
        reader.consume(len);
    }
}
