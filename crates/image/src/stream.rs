//! Decodes any image from its beginning, whoever made it.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use crate::error::{CorruptKind, UnsupportedKind};
use crate::input::InputSeen;
use crate::layers::{LayerOptions, Layers, layer};
use crate::{Error, Format, StreamNotes};

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

/// Does the work of [`stream`], and tells `notes` what is worth telling of the image.
///
/// # Errors
/// As [`stream_within`].
pub fn stream_noting(
    format: Format,
    reader: impl Read + Send + 'static,
    notes: &StreamNotes,
) -> Result<Box<dyn Read + Send>, Error> {
    let options = LayerOptions {
        memory_bytes_max: MEMORY_BYTES_MAX,
        notes: notes.clone(),
    };
    layers(format, reader, &options)
}

/// Returns the content of an image that `reader` gives from its beginning: any number of zstd
/// frames, skippable ones among them; of gzip members; of xz streams with their padding; of bzip2
/// streams; or the image in a zip or tar archive. What is a container again is unpacked, too.
///
/// Reading fails where the image is cut off, and where anything else follows it, at the
/// offset where it begins: xz and zstd fail there too, while gzip and bzip2 warn of "trailing
/// garbage" and ignore it, and with it the rest of a file whose middle is damaged. Behind those
/// two, zeros may follow, and up to 64 KiB behind a single piece. It goes on
/// failing then. An error of kind `InvalidData` or `UnexpectedEof` is the image's own and wraps
/// an [`Error`]; others are the reader's.
///
/// In an archive, the image is the only member that is named like one, or else the only one of
/// a MiB or more that is not known by its name to be something else. From the beginning, the first
/// such member is taken, and a second one is an error only when it comes: where a zip archive can
/// be read by position, [`crate::load_zip_member`] knows better.
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
    let options = LayerOptions {
        memory_bytes_max,
        notes: StreamNotes::default(),
    };
    layers(format, reader, &options)
}

/// Returns what the container that `reader` gives holds, as it is: for an image that was just
/// made, of a card that may hold anything. Otherwise as [`stream_within`].
///
/// # Errors
/// As [`stream_within`].
pub fn stream_layer(
    format: Format,
    reader: impl Read + Send + 'static,
    memory_bytes_max: u64,
) -> Result<Box<dyn Read + Send>, Error> {
    let options = LayerOptions {
        memory_bytes_max,
        notes: StreamNotes::default(),
    };
    layer(format, reader, &options)
}

fn layers(
    format: Format,
    reader: impl Read + Send + 'static,
    options: &LayerOptions,
) -> Result<Box<dyn Read + Send>, Error> {
    let container = layer(format, reader, options)?;
    if format == Format::Raw {
        return Ok(container);
    }
    Ok(Box::new(Layers::of(format, container, options)))
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

/// Returns what a decoder's error says that an image needs which may be sound.
fn unsupported_kind(error: &(dyn std::error::Error + 'static)) -> Option<UnsupportedKind> {
    if error.downcast_ref() == Some(&liblzma::stream::Error::MemLimit) {
        return Some(UnsupportedKind::Memory);
    }
    // The names that libzstd gives ZSTD_error_frameParameter_windowTooLarge and
    // ZSTD_error_dictionary_wrong.
    match error.to_string() {
        message if message.contains("too much memory") => Some(UnsupportedKind::Window),
        message if message.contains("Dictionary mismatch") => Some(UnsupportedKind::Dictionary),
        _ => None,
    }
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
        if let Some(kind) = error.get_ref().and_then(|inner| unsupported_kind(inner)) {
            return unsupported(kind);
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
