//! Why a copy ended early.

use std::fmt;

use cardkeep_block::{BlockError, Extent};
use cardkeep_image::{Error as ImageError, FrameDigest};

/// Why a copy or a comparison ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum CopyError {
    /// The source failed.
    Source(BlockError),
    /// The destination failed.
    Destination(BlockError),
    /// Making or reading the container failed.
    Image(ImageError),
    /// What was read back is not what was written.
    Mismatch {
        /// The part of the medium's address space.
        extent: Extent,
        /// The digest that it should have.
        expected: FrameDigest,
        /// The digest that was found; `None` where it could not even be decoded.
        found: Option<FrameDigest>,
    },
    /// The image's own end (manifest, index) did not read back as written.
    Index(String),
    /// The user wanted it to stop.
    Interrupted,
    /// A thread of the pipeline died: a bug in this program.
    Internal(&'static str),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(_) => f.write_str("the source failed"),
            Self::Destination(_) => f.write_str("the destination failed"),
            Self::Image(_) => f.write_str("the image could not be made or read"),
            Self::Mismatch {
                extent,
                expected,
                found: Some(found),
            } => write!(
                f,
                "what was read back differs at {extent}: expected digest {expected}, found {found}"
            ),
            Self::Mismatch {
                extent,
                expected,
                found: None,
            } => write!(
                f,
                "what was read back can't be decoded at {extent}: expected digest {expected}"
            ),
            Self::Index(what) => write!(f, "the end of the image did not read back: {what}"),
            Self::Interrupted => f.write_str("stopped by the user"),
            Self::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}

impl std::error::Error for CopyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) | Self::Destination(error) => Some(error),
            Self::Image(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ImageError> for CopyError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}
