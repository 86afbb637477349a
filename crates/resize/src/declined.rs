//! Why a filesystem, or a medium with filesystems, is left at its size.

use std::fmt;

use cardkeep_block::{BlockError, size_text};
use cardkeep_ptable::FitError;

use crate::inconsistent::{Inconsistent, InconsistentKind, MediumChanged};
use crate::unsupported::{Unsupported, UnsupportedKind};

/// Why nothing gets another size. Nothing was changed; it can be copied as it is.
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
    /// The medium can't be read.
    Io(BlockError),
    /// The filesystem can't be read, is damaged, or something waits to be done first.
    Filesystem(cardkeep_ext4::Error),
    /// The filesystem has something that is not handled here.
    Unsupported(Unsupported),
    /// The filesystem contradicts itself, or was not unmounted.
    Inconsistent(Inconsistent),
    /// The filesystem can't have as few blocks as are wanted, or not as many.
    Impossible {
        /// What was wanted, in blocks.
        wanted: u64,
        /// The fewest blocks that it fits, as far as can be told.
        least: u64,
        /// The blocks that it has.
        most: u64,
    },
    /// The filesystem can't be that large.
    TooLarge {
        /// The largest length in bytes that it can have.
        len_max: u64,
    },
    /// The filesystem is to grow into less than it has.
    Smaller {
        /// Its length in bytes.
        len: u64,
    },
    /// The caller asked to stop.
    Cancelled,
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

impl Declined {
    /// Returns what an error means that was met in a file, a record or a block: it belongs to the
    /// filesystem's content, which reading alone does not look at.
    pub(crate) fn from_content(error: cardkeep_ext4::Error) -> Self {
        match error {
            cardkeep_ext4::Error::Io(error) => Self::Io(error),
            cardkeep_ext4::Error::Unsupported(what) => UnsupportedKind::Reading(what).into(),
            cardkeep_ext4::Error::Corrupt(what) => InconsistentKind::Reading(what).into(),
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

impl From<UnsupportedKind> for Declined {
    fn from(kind: UnsupportedKind) -> Self {
        Self::Unsupported(kind.into())
    }
}

impl From<InconsistentKind> for Declined {
    fn from(kind: InconsistentKind) -> Self {
        Self::Inconsistent(kind.into())
    }
}

impl From<MediumChanged> for Declined {
    fn from(_: MediumChanged) -> Self {
        InconsistentKind::Changed.into()
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
                "what lies behind partition {number} would have to move, and the image can only \
                 be read in order"
            ),
            Self::Behind { number, behind } => write!(
                f,
                "partition {behind} lies behind partition {number} and would have to move, and \
                 the image can only be read in order"
            ),
            Self::Io(_) => f.write_str("the filesystem can't be read"),
            Self::Filesystem(_) => f.write_str("the filesystem can't be resized as it is"),
            Self::Unsupported(what) => write!(f, "the filesystem can't be resized: it has {what}"),
            Self::Inconsistent(what) => write!(f, "the filesystem contradicts itself: {what}"),
            Self::Impossible {
                wanted,
                least,
                most,
            } => write!(
                f,
                "the filesystem can't have {wanted} blocks, only {least} to {most}"
            ),
            Self::TooLarge { len_max } => {
                write!(f, "the filesystem can't be larger than {len_max} bytes")
            }
            Self::Smaller { len } => {
                write!(f, "the filesystem has {len} bytes and can't grow into less")
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::Table(_) => f.write_str("its partition table can't be fitted"),
            Self::TooShort { wanted, least } => write!(
                f,
                "it needs at least {least} bytes ({}), but {wanted} are wanted",
                size_text(*least)
            ),
        }
    }
}

impl std::error::Error for Declined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Filesystem(error) => Some(error),
            Self::Table(error) => Some(error),
            Self::BrokenTable(error) => Some(error),
            _ => None,
        }
    }
}
