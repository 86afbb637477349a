//! Decodes any image from its beginning, whoever made it.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use crate::bzip2_streams::Bzip2Streams;
use crate::error::{CorruptKind, UnsupportedKind};
use crate::gzip_members::GzipMembers;
use crate::input::{Input, InputSeen};
use crate::zip_stream::ZipStream;
use crate::{Error, Format};

/// What a decoder may take: a window of 2^27 bytes, zstd's own limit, and the 65 MiB that xz's
/// highest preset needs.
pub(crate) const MEMORY_BYTES_MAX: u64 = 128 << 20;

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
/// with their padding; of bzip2 streams; or the image in a zip archive, with zeros behind it.
///
/// Reading fails where the image is cut off, and where anything but that follows it, at the
/// offset where it begins: xz and zstd fail there too, while gzip and bzip2 warn of "trailing
/// garbage" and ignore it, and with it the rest of a file whose middle is damaged. It goes on
/// failing then. An error of kind `InvalidData` or `UnexpectedEof` is the image's own and wraps
/// an [`Error`]; others are the reader's.
///
/// In a zip archive, the image is the only member that is named like one, or else the only one of
/// a MiB or more that is not known by its name to be something else. From the beginning, the first
/// such member is taken, and a second one is an error only when it comes: where the archive can be
/// read by position, [`crate::load_zip_member`] knows better. An image that is compressed once more
/// inside the archive is refused.
///
/// At most 128 KiB are read of `reader` before the decoder takes them, so that whoever counts
/// what is read knows how far the work is; the decoder itself holds up to a compressed block
/// (128 KiB of zstd, 900 KB of bzip2, 64 KiB of xz) before it gives content.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub fn stream_within(
    format: Format,
    reader: impl Read + Send + 'static,
    memory_bytes_max: u64,
) -> Result<Box<dyn Read + Send>, Error> {
    let input = Input::new(reader, 0);
    let seen = input.seen();
    let decoder: Box<dyn Read + Send> = match format {
        Format::Raw => Box::new(input),
        Format::Zstd => Box::new(zstd_decoder(input, memory_bytes_max)?),
        Format::Gzip => Box::new(GzipMembers::new(input)),
        Format::Xz => Box::new(xz_decoder(input, memory_bytes_max)?),
        Format::Bzip2 => Box::new(Bzip2Streams::new(input)),
        Format::Zip => Box::new(ZipStream::new(input, memory_bytes_max)),
    };
    Ok(Box::new(Checked::new(decoder, seen)))
}

/// Returns a decoder of zstd frames that refuses windows of more than `memory_bytes_max`.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub(crate) fn zstd_decoder<R: BufRead>(
    input: R,
    memory_bytes_max: u64,
) -> Result<zstd::Decoder<'static, R>, Error> {
    let mut decoder = zstd::Decoder::with_buffer(input).map_err(Error::codec)?;
    // zstd knows windows of 2^10 to 2^31 bytes.
    let window_log = memory_bytes_max.max(1).ilog2().clamp(10, 31);
    decoder.window_log_max(window_log).map_err(Error::codec)?;
    Ok(decoder)
}

/// Returns a decoder of xz streams that takes no more than `memory_bytes_max`.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub(crate) fn xz_decoder<R: BufRead>(
    input: R,
    memory_bytes_max: u64,
) -> Result<XzDecoder<R>, Error> {
    let stream = Stream::new_stream_decoder(memory_bytes_max, liblzma::stream::CONCATENATED)
        .map_err(|error| Error::codec(error.into()))?;
    Ok(XzDecoder::new_stream(input, stream))
}

/// Returns the error of an image that is damaged where the decoder is: [`Checked`] adds where
/// that is.
pub(crate) fn damaged(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Returns the error of an image that may be sound.
pub(crate) fn unsupported(kind: UnsupportedKind) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, Error::unsupported(kind))
}

/// A decoder whose errors say what is wrong with the image and where.
pub(crate) struct Checked {
    decoder: Box<dyn Read + Send>,
    seen: Arc<InputSeen>,
    is_failed: bool,
}

impl Checked {
    /// Returns the content that `decoder` makes of the input that `seen` tells of.
    pub(crate) fn new(decoder: Box<dyn Read + Send>, seen: Arc<InputSeen>) -> Self {
        Self {
            decoder,
            seen,
            is_failed: false,
        }
    }

    fn image_error(&self, error: io::Error) -> io::Error {
        if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            return error;
        }
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
        let offset = self.seen.offset();
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
            if self.seen.has_failed() {
                return error;
            }
            self.image_error(error)
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
