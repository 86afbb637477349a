//! The errors of an image that is read from its beginning, as errors of a reader.

use std::io::{self, ErrorKind};

use crate::Error;
use crate::error::UnsupportedKind;

/// Returns the error of an image that is damaged where the decoder is: the decoder's wrapper adds where
/// that is.
pub(crate) fn damaged(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Returns the error of an image that may be sound.
pub(crate) fn unsupported(kind: UnsupportedKind) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, Error::unsupported(kind))
}
