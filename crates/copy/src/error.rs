//! Why a copy ended early.

use std::fmt;
use std::sync::Arc;

use cardkeep_block::{BlockError, Extent};
use cardkeep_image::{Error as ImageError, FrameDigest};
use cardkeep_survey::Cut;

use crate::diagnosis::Diagnosis;

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
    /// What was written onto a card, twice, is not on it.
    BadCard(Box<BadPlace>),
    /// The head of a card did not read back as written, twice; it was wiped again.
    BadHead(Extent),
    /// The content goes on where the card ends.
    TooLong {
        /// The length of the card in bytes.
        len_max: u64,
    },
    /// What is on the content's partitions ends behind the card's end.
    TooLarge {
        /// How long a card has to be at the least, in bytes.
        needed: u64,
        /// The length of the card in bytes.
        len_max: u64,
    },
    /// The content ended before what is used of its partitions does.
    Truncated(Box<Cut>),
    /// All of the content has come, and it has another checksum than it should, in words.
    Checksum(String),
    /// There is no memory for what has to be held at once.
    NoMemory {
        /// How much that is, in bytes.
        bytes: u64,
    },
    /// What was left out as free turned out to be doubtful, in words.
    Doubt(String),
    /// What several cards are restored from failed.
    Original(Arc<CopyError>),
    /// The image's own end (manifest, index) did not read back as written.
    Index(String),
    /// The user wanted it to stop.
    Interrupted,
    /// A thread of the pipeline died: a bug in this program.
    Internal(&'static str),
}

/// A place of a card that does not keep what is written to it.
#[derive(Clone, Debug)]
pub struct BadPlace {
    /// The first bytes that are wrong.
    pub extent: Extent,
    /// The frame that they belong to.
    pub frame: Extent,
    /// The digest that the frame should have.
    pub expected: FrameDigest,
    /// The digest of what was found; `None` where it could not be read.
    pub found: Option<FrameDigest>,
    /// What that tells of the card.
    pub diagnosis: Diagnosis,
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
            Self::BadCard(place) => write!(
                f,
                "the card does not hold what was written to it at {}: expected digest {} of {}",
                place.extent, place.expected, place.frame
            )
            .and_then(|()| match place.found {
                Some(found) => write!(f, ", found {found}"),
                None => f.write_str(", which can't be read"),
            }),
            Self::BadHead(extent) => write!(
                f,
                "the card does not hold what was written to it last, at {extent}"
            ),
            Self::TooLong { len_max } => {
                write!(
                    f,
                    "the content continues past the card's end, at byte {len_max}"
                )
            }
            Self::TooLarge { needed, len_max } => write!(
                f,
                "its partitions need {needed} bytes at the least, and the card has {len_max}"
            ),
            Self::Truncated(cut) => write!(f, "the content {cut}"),
            Self::Checksum(what) => write!(f, "the SHA-256 is another one: {what}"),
            Self::NoMemory { bytes } => write!(f, "can't allocate {bytes} bytes of memory"),
            Self::Doubt(what) => write!(
                f,
                "the free space that was left out can't be trusted: {what}"
            ),
            Self::Original(error) => fmt::Display::fmt(error, f),
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
            Self::Original(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ImageError> for CopyError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}
