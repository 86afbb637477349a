//! What can be wrong with an ext filesystem: damage and "not known here" never share a variant.

use std::fmt;

use cardkeep_block::BlockError;

/// Why a filesystem can't be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The medium failed.
    Io(BlockError),
    /// It uses something that this program doesn't know.
    Unsupported(Unsupported),
    /// It contradicts itself.
    Corrupt(Corrupt),
}

/// Something that this program doesn't know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub(crate) String);

/// A failed check, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(pub(crate) String);

impl Error {
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(Unsupported(what.into()))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(Corrupt(what.into()))
    }
}

impl From<BlockError> for Error {
    fn from(error: BlockError) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the ext filesystem can't be read"),
            Self::Unsupported(what) => write!(f, "the ext filesystem has {what}"),
            Self::Corrupt(what) => write!(f, "the ext filesystem is damaged: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
