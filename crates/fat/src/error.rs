//! Why a filesystem can't be read.

use std::fmt;

use cardkeep_block::BlockError;

/// Why a filesystem, or a part of it, could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The medium can't be read.
    Io(BlockError),
    /// The filesystem may be sound, but this program can't tell.
    Unsupported(Unsupported),
    /// The filesystem contradicts itself or its medium.
    Corrupt(Corrupt),
    /// The monitor asked to stop.
    Cancelled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "cannot read the FAT filesystem",
            Self::Unsupported(_) => "the FAT filesystem is not supported",
            Self::Corrupt(_) => "the FAT filesystem is corrupt",
            Self::Cancelled => "reading the FAT filesystem was cancelled",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Unsupported(error) => Some(error),
            Self::Corrupt(error) => Some(error),
            Self::Cancelled => None,
        }
    }
}

/// What this program can't do. `Display` says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub(crate) UnsupportedKind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnsupportedKind {
    Version(u16),
    MediumLen(u64),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UnsupportedKind::Version(version) => {
                write!(f, "FAT32 version {}.{}", version >> 8, version & 0xff)
            }
            UnsupportedKind::MediumLen(len) => write!(f, "a medium of {len} bytes"),
        }
    }
}

impl std::error::Error for Unsupported {}

/// A contradiction in the filesystem. `Display` says what and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(pub(crate) CorruptKind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CorruptKind {
    NotFat,
    /// The root directory's entries do not fill whole sectors.
    RootEntries(u16),
    /// FATs and root directory leave no room for a cluster.
    NoClusters,
    ClusterCount(u64),
    RootCluster(u32),
    PastEnd {
        fs_bytes: u64,
        medium_bytes: u64,
    },
    /// A chain goes on to a number that is no cluster of a file.
    BrokenChain {
        next: u32,
    },
    /// A file's chain ends before its size is reached.
    ShortChain {
        clusters: u64,
        bytes: u64,
    },
}

impl From<CorruptKind> for Error {
    fn from(kind: CorruptKind) -> Self {
        Self::Corrupt(Corrupt(kind))
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CorruptKind::NotFat => f.write_str("sector 0 is not a FAT boot sector"),
            CorruptKind::RootEntries(count) => write!(
                f,
                "a root directory of {count} entries does not fill whole sectors"
            ),
            CorruptKind::NoClusters => f.write_str("there is no room for any cluster"),
            CorruptKind::ClusterCount(count) => {
                write!(f, "{count} clusters are more than the FAT can number")
            }
            CorruptKind::RootCluster(cluster) => {
                write!(
                    f,
                    "the root directory starts at cluster {cluster}, which is none"
                )
            }
            CorruptKind::PastEnd {
                fs_bytes,
                medium_bytes,
            } => write!(
                f,
                "it has {fs_bytes} bytes but the medium only {medium_bytes}"
            ),
            CorruptKind::BrokenChain { next } => {
                write!(
                    f,
                    "a chain continues to cluster {next}, which does not exist"
                )
            }
            CorruptKind::ShortChain { clusters, bytes } => {
                write!(f, "a file of {bytes} bytes has only {clusters} clusters")
            }
        }
    }
}

impl std::error::Error for Corrupt {}
