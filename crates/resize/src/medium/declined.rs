//! Why a medium is left at its size.

use std::fmt;

use cardkeep_block::size_text;
use cardkeep_ptable::FitError;

use crate::{grow, shrink};

/// Why no filesystem of a medium gets another size. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Declined {
    /// There is no ext filesystem.
    NoFilesystem {
        /// The number of the partition that lies last, 0 where there is no partition table.
        number: u32,
    },
    /// The only ext filesystem holds the settings of NOOBS, which never fill it.
    OnlySettings {
        /// The partition's number.
        number: u32,
    },
    /// The kernel noted errors on the filesystem, and only `e2fsck` can say what they are.
    HasErrors {
        /// The partition's number, 0 where there is no partition table.
        number: u32,
    },
    /// The partition table lists nothing.
    NoPartition,
    /// The partition table can't be trusted.
    BrokenTable(cardkeep_ptable::Error),
    /// A partition that would have to move can't: a GPT's BIOS boot partition.
    Fixed {
        /// Its number.
        number: u32,
    },
    /// What lies behind the filesystem would have to move, and the medium can only be read from its
    /// beginning on.
    Behind {
        /// The filesystem's partition.
        number: u32,
        /// What lies behind it; 0 for a record of the partition table.
        behind: u32,
    },
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
            Self::NoFilesystem { .. } => f.write_str("it holds no ext2, ext3 or ext4 filesystem"),
            Self::OnlySettings { number } => write!(
                f,
                "partition {number}, its only ext filesystem, holds settings and is never resized"
            ),
            Self::HasErrors { number: 0 } => f.write_str(
                "the kernel noted errors on its filesystem: check the card with \
                 `sudo e2fsck -f /dev/sdX` first, X being its letter",
            ),
            Self::HasErrors { number } => write!(
                f,
                "the kernel noted errors on the filesystem of partition {number}: check the card with \
                 `sudo e2fsck -f /dev/sdX{number}` first, X being its letter"
            ),
            Self::NoPartition => f.write_str("its partition table lists no partitions"),
            Self::BrokenTable(_) => f.write_str("its partition table can't be trusted"),
            Self::Fixed { number } => write!(
                f,
                "partition {number} would have to move, and the boot code in the first sector finds it by \
                 its sector number"
            ),
            Self::Behind { number, behind: 0 } => write!(
                f,
                "what lies behind partition {number} would have to move, and the image can only be \
                 read from its beginning on"
            ),
            Self::Behind { number, behind } => write!(
                f,
                "partition {behind} lies behind partition {number} and would have to move, and the \
                 image can only be read from its beginning on"
            ),
            Self::Shrink(declined) => declined.fmt(f),
            Self::Grow(declined) => declined.fmt(f),
            Self::Table(_) => f.write_str("its partition table can't be fitted"),
            Self::TooShort { wanted, least } => write!(
                f,
                "it needs at least {least} bytes ({}), and {wanted} are wanted",
                size_text(*least)
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
            Self::BrokenTable(error) => Some(error),
            _ => None,
        }
    }
}
