//! Why a partition table can't be used.

use std::fmt;

use cardkeep_block::BlockError;

use crate::PartitionTable;
use crate::fault::Fault;

/// Why no partition table could be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The medium can't be read.
    Io(BlockError),
    /// The table may be sound, but this program can't tell.
    Unsupported(Unsupported),
    /// The table contradicts itself or its medium.
    Corrupt(Corrupt),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "cannot read the partition table",
            Self::Unsupported(_) => "the partition table is not supported",
            Self::Corrupt(_) => "the partition table is corrupt",
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

/// What this program can't do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    sector_bytes: u32,
}

impl Unsupported {
    pub(crate) const fn sector_size(sector_bytes: u32) -> Self {
        Self { sector_bytes }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sectors of {} bytes (known: powers of two, 512 to 4096)",
            self.sector_bytes
        )
    }
}

impl std::error::Error for Unsupported {}

/// The contradictions found in a table, with what could be read of it.
#[derive(Debug)]
pub struct Corrupt {
    first: Fault,
    others: Vec<Fault>,
    readable: Option<Box<PartitionTable>>,
}

impl Corrupt {
    /// Makes it of the faults found, if there are any.
    pub(crate) fn of(faults: Vec<Fault>, readable: Option<PartitionTable>) -> Option<Self> {
        let mut faults = faults.into_iter();
        Some(Self {
            first: faults.next()?,
            others: faults.collect(),
            readable: readable.map(Box::new),
        })
    }

    /// Returns what could be read, for showing only: the partitions are as their entries say,
    /// may overlap and may reach past the medium's end.
    #[must_use]
    pub fn readable(&self) -> Option<&PartitionTable> {
        self.readable.as_deref()
    }

    /// Returns the table where all that is wrong with it is that partitions reach past the medium's
    /// end: the medium, or the image of it, is shorter than the one that the table was made for. The
    /// partitions lie where their entries say, so some end, or even begin, past that end.
    #[must_use]
    pub fn cut(&self) -> Option<&PartitionTable> {
        let is_past_end =
            |fault: &Fault| matches!(fault, Fault::PastEnd { .. } | Fault::ChainPastEnd { .. });
        self.faults().all(is_past_end).then_some(())?;
        self.readable()
    }

    /// Tells whether the table names partitions that nobody can read the records of: those lie past
    /// the medium's end.
    #[must_use]
    pub fn lacks_partitions(&self) -> bool {
        self.faults()
            .any(|fault| matches!(fault, Fault::ChainPastEnd { .. }))
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Returns every contradiction found, in words for the user.
    pub fn messages(&self) -> impl Iterator<Item = String> + '_ {
        self.faults().map(ToString::to_string)
    }

    #[cfg(test)]
    pub(crate) fn fault(&self) -> &Fault {
        &self.first
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match self.others.len() {
            0 => Ok(()),
            count => write!(f, " (and {count} more)"),
        }
    }
}

impl std::error::Error for Corrupt {}
