//! What can be wrong with an erofs: damage and "not known here" never share a variant.

use std::fmt;

use cardkeep_block::BlockError;

/// Why an erofs can't be read.
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
    /// Unknown bits of `feature_incompat`.
    Incompat(u32),
    BlockBits(u8),
    DirectoryBlockBits(u8),
    /// Unknown bits of `available_compr_algs`.
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
    Checksum {
        stored: u32,
        computed: u32,
    },
    PastEnd {
        fs_bytes: u64,
        medium_bytes: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "can't read the erofs",
            Self::Unsupported(_) => "the erofs is not supported",
            Self::Corrupt(_) => "the erofs is damaged",
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
            UnsupportedKind::Incompat(bits) => write!(f, "feature_incompat {bits:#x}"),
            UnsupportedKind::BlockBits(bits) => write!(f, "blocks of 2^{bits} bytes"),
            UnsupportedKind::DirectoryBlockBits(bits) => {
                write!(
                    f,
                    "directories in blocks of another size (dirblkbits {bits})"
                )
            }
            UnsupportedKind::Compression(bits) => write!(f, "available_compr_algs {bits:#x}"),
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
            CorruptKind::Checksum { stored, computed } => write!(
                f,
                "the checksum of its superblock is {stored:08x}, not {computed:08x}"
            ),
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
