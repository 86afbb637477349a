//! What can be wrong with a squashfs: damage and "not known here" never share a variant.

use std::fmt;

use cardkeep_block::BlockError;

/// Why a squashfs can't be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The medium failed.
    Io(BlockError),
    /// It uses something that this program doesn't know.
    Unsupported(Unsupported),
    /// It contradicts itself or its medium.
    Corrupt(Corrupt),
}

/// Something that this program doesn't know. `Display` says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub(crate) UnsupportedKind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnsupportedKind {
    Version { major: u16, minor: u16 },
    Compression(u16),
}

/// A failed check. `Display` says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(pub(crate) CorruptKind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CorruptKind {
    ShortRecord(usize),
    NoMagic,
    /// An impossible field of the superblock, by its name.
    Field {
        name: &'static str,
        value: u64,
    },
    /// A table that begins before the one in front of it, or behind the filesystem's end.
    TableOrder {
        name: &'static str,
        start: u64,
    },
    PastEnd {
        fs_bytes: u64,
        medium_bytes: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "can't read the squashfs",
            Self::Unsupported(_) => "the squashfs is not supported",
            Self::Corrupt(_) => "the squashfs is damaged",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Unsupported(error) => Some(error),
            Self::Corrupt(error) => Some(error),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UnsupportedKind::Version { major, minor } => write!(f, "version {major}.{minor}"),
            UnsupportedKind::Compression(id) => write!(f, "compression number {id}"),
        }
    }
}

impl std::error::Error for Unsupported {}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CorruptKind::ShortRecord(len) => write!(f, "its superblock has only {len} bytes"),
            CorruptKind::NoMagic => f.write_str("there is no superblock"),
            CorruptKind::Field { name, value } => {
                write!(f, "{value} is impossible for {name} of its superblock")
            }
            CorruptKind::TableOrder { name, start } => {
                write!(f, "{name} is out of order at byte {start}")
            }
            CorruptKind::PastEnd {
                fs_bytes,
                medium_bytes,
            } => write!(
                f,
                "it has {fs_bytes} bytes, but the medium only {medium_bytes}"
            ),
        }
    }
}

impl std::error::Error for Corrupt {}

impl From<BlockError> for Error {
    fn from(error: BlockError) -> Self {
        Self::Io(error)
    }
}

impl From<CorruptKind> for Error {
    fn from(kind: CorruptKind) -> Self {
        Self::Corrupt(Corrupt(kind))
    }
}

impl From<UnsupportedKind> for Error {
    fn from(kind: UnsupportedKind) -> Self {
        Self::Unsupported(Unsupported(kind))
    }
}
