//! Why a filesystem is not made smaller. Nothing has been touched then, and it can be backed up as
//! it is.

use std::fmt;

use cardkeep_block::BlockError;

/// Why a filesystem is not made smaller.
#[derive(Debug)]
#[non_exhaustive]
pub enum Declined {
    /// The medium failed.
    Io(BlockError),
    /// The filesystem could not be loaded or mapped.
    Filesystem(cardkeep_ext4::Error),
    /// It uses something that is not handled here.
    Unsupported(String),
    /// It contradicts itself, or was not unmounted.
    Inconsistent(String),
    /// What was wanted is less than what it holds, or more than it has.
    Impossible {
        /// What was wanted, in blocks.
        wanted: u64,
        /// The fewest blocks that it fits, as far as can be told.
        least: u64,
        /// The blocks that it has.
        most: u64,
    },
    /// Who asked does not want it any more.
    Cancelled,
}

impl Declined {
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    pub(crate) fn inconsistent(what: impl Into<String>) -> Self {
        Self::Inconsistent(what.into())
    }

    /// Returns what an error means that was met in a file, a record or a block.
    pub(crate) fn from_content(error: cardkeep_ext4::Error) -> Self {
        match error {
            cardkeep_ext4::Error::Io(error) => Self::Io(error),
            cardkeep_ext4::Error::Unsupported(what) => Self::Unsupported(what.to_string()),
            cardkeep_ext4::Error::Corrupt(what) => Self::Inconsistent(what.to_string()),
            other => Self::Filesystem(other),
        }
    }
}

impl From<BlockError> for Declined {
    fn from(error: BlockError) -> Self {
        Self::Io(error)
    }
}

impl From<cardkeep_ext4::Error> for Declined {
    fn from(error: cardkeep_ext4::Error) -> Self {
        Self::Filesystem(error)
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the filesystem can't be read"),
            Self::Filesystem(_) => f.write_str("the filesystem can't be made smaller"),
            Self::Unsupported(what) => {
                write!(f, "the filesystem can't be made smaller: it has {what}")
            }
            Self::Inconsistent(what) => write!(f, "the filesystem contradicts itself: {what}"),
            Self::Impossible {
                wanted,
                least,
                most,
            } => write!(
                f,
                "the filesystem can't have {wanted} blocks, only {least} to {most}"
            ),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Declined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Filesystem(error) => Some(error),
            _ => None,
        }
    }
}
