//! The error of reading and writing media.

use std::error::Error;
use std::fmt;

use crate::Extent;

/// What went wrong on a medium, as far as the program's next step depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockErrorKind {
    /// The medium or the system reported a failed transfer.
    Io,
    /// The request reaches past the medium's end.
    OutOfBounds,
    /// The medium ended before the request was served.
    ShortRead,
    /// No room is left at the destination.
    NoSpace,
    /// The medium can't be written.
    ReadOnly,
    /// Somebody else holds the medium.
    Busy,
    /// The medium was removed.
    Gone,
    /// The user may not do this.
    Permission,
    /// Nobody approved of writing there: the program's own fault, stopped before anything happened.
    OutsidePermit,
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a medium.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making written data durable.
    Flush,
}

/// A failed operation on a medium: what kind, where, and what the system said.
#[derive(Debug)]
pub struct BlockError {
    kind: BlockErrorKind,
    operation: Operation,
    extent: Option<Extent>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BlockError {
    /// Returns an error of `kind` while doing `operation`.
    #[must_use]
    pub fn new(kind: BlockErrorKind, operation: Operation) -> Self {
        Self {
            kind,
            operation,
            extent: None,
            source: None,
        }
    }

    /// Returns the error that stands for a system's error: the kind is derived from it.
    #[must_use]
    pub fn from_io(operation: Operation, error: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match error.kind() {
            K::PermissionDenied => BlockErrorKind::Permission,
            K::UnexpectedEof => BlockErrorKind::ShortRead,
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => BlockErrorKind::NoSpace,
            K::ReadOnlyFilesystem => BlockErrorKind::ReadOnly,
            K::ResourceBusy => BlockErrorKind::Busy,
            K::NotFound => BlockErrorKind::Gone,
            // ENODEV, ENXIO, ENOMEDIUM: same numbers on Linux; 19 and 6 on macOS too.
            _ => match error.raw_os_error() {
                Some(6 | 19) => BlockErrorKind::Gone,
                Some(123) if cfg!(target_os = "linux") => BlockErrorKind::Gone,
                _ => BlockErrorKind::Io,
            },
        };
        Self {
            kind,
            operation,
            extent: None,
            source: Some(Box::new(error)),
        }
    }

    /// Adds the extent that was asked for.
    #[must_use]
    pub fn at(mut self, extent: Extent) -> Self {
        self.extent = Some(extent);
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> BlockErrorKind {
        self.kind
    }

    /// Returns what was being done.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// Returns the extent that was asked for, where one was.
    #[must_use]
    pub const fn extent(&self) -> Option<Extent> {
        self.extent
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.operation {
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Flush => "flush",
        };
        let why = match self.kind {
            BlockErrorKind::Io => "the transfer failed",
            BlockErrorKind::OutOfBounds => "it lies past the end of the medium",
            BlockErrorKind::ShortRead => "the medium ended early",
            BlockErrorKind::NoSpace => "no space is left",
            BlockErrorKind::ReadOnly => "the medium is read-only",
            BlockErrorKind::Busy => "it is in use",
            BlockErrorKind::Gone => "the medium is gone",
            BlockErrorKind::Permission => "permission denied",
            BlockErrorKind::OutsidePermit => "the approved plan does not write there",
        };
        match self.extent {
            Some(extent) => write!(f, "cannot {verb} {extent}: {why}"),
            None => write!(f, "cannot {verb}: {why}"),
        }
    }
}

impl Error for BlockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
