//! Why a medium is left at its size.

use std::fmt;

use cardkeep_ptable::FitError;

use crate::{grow, shrink};

/// Why the last filesystem of a medium gets no other size. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Declined {
    /// What lies last is no ext filesystem.
    NoFilesystem {
        /// The partition's number, 0 where there is no partition table.
        number: u32,
    },
    /// There is no partition, or no table that can be trusted.
    NoPartition,
    /// The filesystem can't be made smaller.
    Shrink(shrink::Declined),
    /// The filesystem can't be made larger.
    Grow(grow::Declined),
    /// The partition table does not fit.
    Table(FitError),
    /// What was wanted is less than what the medium holds.
    TooShort {
        /// What was wanted, in bytes.
        wanted: u64,
        /// The shortest length in bytes, as far as can be told.
        least: u64,
    },
}

impl From<shrink::Declined> for Declined {
    fn from(declined: shrink::Declined) -> Self {
        Self::Shrink(declined)
    }
}

impl From<grow::Declined> for Declined {
    fn from(declined: grow::Declined) -> Self {
        Self::Grow(declined)
    }
}

impl From<FitError> for Declined {
    fn from(error: FitError) -> Self {
        Self::Table(error)
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFilesystem { number: 0 } => {
                f.write_str("it has neither partitions nor an ext2, ext3 or ext4 filesystem")
            }
            Self::NoFilesystem { number } => write!(
                f,
                "partition {number}, the last one, holds no ext2, ext3 or ext4 filesystem"
            ),
            Self::NoPartition => f.write_str("it has no partition table that can be trusted"),
            Self::Shrink(declined) => declined.fmt(f),
            Self::Grow(declined) => declined.fmt(f),
            Self::Table(_) => f.write_str("its partition table can't be fitted"),
            Self::TooShort { wanted, least } => write!(
                f,
                "it needs {least} bytes at the least, and {wanted} are wanted"
            ),
        }
    }
}

impl std::error::Error for Declined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What they say stands above already.
            Self::Shrink(declined) => declined.source(),
            Self::Grow(declined) => declined.source(),
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}
