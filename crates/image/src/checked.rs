//! A decoder that is watched, so that its errors say what is wrong with the image and where.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use crate::Error;
use crate::error::{CorruptKind, UnsupportedKind};
use crate::input::InputSeen;
use crate::stream_error::unsupported;

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
