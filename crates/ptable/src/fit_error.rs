//! Why a partition table can't be fitted to a medium of another size.

use std::fmt;

use crate::{Corrupt, Error};

/// Why a table does not fit a medium.
#[derive(Debug)]
#[non_exhaustive]
pub enum FitError {
    /// The table can't be read again from its medium.
    Load(Error),
    /// The medium holds another table than the one given.
    NotItsTable,
    /// No partition or extended partition has this number.
    NoSuchPartition {
        /// The number asked for.
        number: u32,
    },
    /// The new length is none, or no multiple of the sector size.
    NotWholeSectors {
        /// The partition to be resized.
        number: u32,
        /// The length asked for, in bytes.
        len: u64,
    },
    /// The new length is more than the entry of a partition can count.
    TooLong {
        /// The partition to be resized.
        number: u32,
        /// The length asked for, in bytes.
        len: u64,
    },
    /// A partition ends behind what the medium can hold.
    DoesNotFit {
        /// The first such partition by number.
        number: u32,
        /// How many bytes it lies too far.
        by_bytes: u64,
    },
    /// An extended partition would end before its last logical one.
    ContainerTooShort {
        /// The extended partition.
        number: u32,
        /// How many bytes are missing.
        by_bytes: u64,
    },
    /// All partitions would fit, but the table itself does not.
    TableDoesNotFit {
        /// How many bytes are missing.
        by_bytes: u64,
    },
    /// The entry of a partition, or of the record in front of a logical one, can't say where it
    /// would move to.
    Moved {
        /// The partition; 0 where it is the whole table.
        number: u32,
    },
    /// The new lengths contradict each other or the table.
    Conflict(Corrupt),
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("the partition table cannot be read again"),
            Self::NotItsTable => f.write_str("the partition table has changed meanwhile"),
            Self::NoSuchPartition { number } => write!(f, "there is no partition {number}"),
            Self::NotWholeSectors { number, len } => write!(
                f,
                "partition {number} cannot have {len} bytes: these are no whole sectors"
            ),
            Self::TooLong { number, len } => write!(
                f,
                "partition {number} cannot have {len} bytes: its table cannot count as many"
            ),
            Self::DoesNotFit { number, by_bytes } => {
                write!(f, "partition {number} ends {by_bytes} bytes too far")
            }
            Self::ContainerTooShort { number, by_bytes } => write!(
                f,
                "extended partition {number} would be {by_bytes} bytes too short for its logical \
                 partitions"
            ),
            Self::TableDoesNotFit { by_bytes } => write!(
                f,
                "the medium is {by_bytes} bytes too short for the partition table"
            ),
            Self::Moved { number: 0 } => {
                f.write_str("its partitions cannot be moved as far as that")
            }
            Self::Moved { number } => {
                write!(
                    f,
                    "the table cannot say where partition {number} would move to"
                )
            }
            Self::Conflict(_) => f.write_str("the partitions cannot have these lengths"),
        }
    }
}

impl std::error::Error for FitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(error) => Some(error),
            Self::Conflict(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}
