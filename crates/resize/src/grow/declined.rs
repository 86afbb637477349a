//! Why a filesystem is left at its size.

use std::fmt;

use cardkeep_block::BlockError;

/// Why a filesystem is not made larger. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Declined {
    /// It can't be read, is damaged, or something waits to be done first.
    Unfit(cardkeep_ext4::Error),
    /// Its partition can't be read.
    Io(BlockError),
    /// It has something that is not handled here.
    Unsupported(String),
    /// It can't be that large.
    TooLarge {
        /// The largest length in bytes that it can have.
        len_max: u64,
    },
    /// It is asked to be smaller than it is.
    Smaller {
        /// Its length in bytes.
        len: u64,
    },
}

impl Declined {
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    /// Returns what it means that a record could not be edited as wanted.
    pub(super) fn from_record(error: cardkeep_ext4::Error) -> Self {
        match error {
            cardkeep_ext4::Error::Unsupported(what) => Self::Unsupported(what.to_string()),
            other => Self::Unfit(other),
        }
    }
}

impl From<cardkeep_ext4::Error> for Declined {
    fn from(error: cardkeep_ext4::Error) -> Self {
        Self::Unfit(error)
    }
}

impl From<BlockError> for Declined {
    fn from(error: BlockError) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(_) => f.write_str("the filesystem can't be made larger as it is"),
            Self::Io(_) => f.write_str("the filesystem that is to grow can't be read"),
            Self::Unsupported(what) => {
                write!(f, "the filesystem can't be made larger: it has {what}")
            }
            Self::TooLarge { len_max } => {
                write!(f, "the filesystem can't be larger than {len_max} bytes")
            }
            Self::Smaller { len } => {
                write!(f, "the filesystem has {len} bytes and can't grow into less")
            }
        }
    }
}

impl std::error::Error for Declined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unfit(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
