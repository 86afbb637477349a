//! Why a destination image could not be created, reopened or finished.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use cardkeep_block::BlockError;

/// What is wrong with a destination image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartialFileErrorKind {
    /// A file with the final name exists and may not be replaced.
    Exists,
    /// An earlier run left an unfinished file.
    PartialExists,
    /// Another run is writing that file at this moment.
    InUse,
    /// The name belongs to a folder, a device or the like.
    NotAFile,
    /// The file has a second name, or is another user's in a folder of everybody's.
    Planted,
    /// The system refused; the source says what it said.
    Medium,
}

impl PartialFileErrorKind {
    pub(crate) fn at(self, path: &Path) -> PartialFileError {
        PartialFileError {
            kind: self,
            path: path.to_path_buf(),
            source: None,
        }
    }
}

/// A destination image that could not be created, reopened or finished.
#[derive(Debug)]
pub struct PartialFileError {
    /// What is wrong.
    pub kind: PartialFileErrorKind,
    /// The path it is wrong with.
    pub path: PathBuf,
    source: Option<BlockError>,
}

impl PartialFileError {
    pub(crate) fn medium(path: &Path, error: BlockError) -> Self {
        Self {
            kind: PartialFileErrorKind::Medium,
            path: path.to_path_buf(),
            source: Some(error),
        }
    }

    /// Returns what the ground floor reported, where the kind is [`PartialFileErrorKind::Medium`].
    #[must_use]
    pub const fn medium_error(&self) -> Option<&BlockError> {
        self.source.as_ref()
    }

    /// Returns what the user can do about it, in words, where there is something.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self.kind {
            PartialFileErrorKind::Exists => {
                Some("choose another name, or allow the existing file to be replaced")
            }
            PartialFileErrorKind::PartialExists => {
                Some("resume the interrupted backup, or discard what it left and start again")
            }
            PartialFileErrorKind::InUse => Some("wait until the other run has ended"),
            PartialFileErrorKind::NotAFile => {
                Some("give the name of a file, not of a folder or device")
            }
            PartialFileErrorKind::Planted => {
                Some("remove it if you don't need it, or choose a folder of your own")
            }
            PartialFileErrorKind::Medium => None,
        }
    }
}

impl fmt::Display for PartialFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            PartialFileErrorKind::Exists => write!(f, "{path} already exists"),
            PartialFileErrorKind::PartialExists => {
                write!(f, "{path} is left from an interrupted backup")
            }
            PartialFileErrorKind::InUse => write!(f, "{path} is being written by another run"),
            PartialFileErrorKind::NotAFile => write!(f, "{path} is not a regular file"),
            PartialFileErrorKind::Planted => {
                write!(f, "{path} has another name too, or another owner")
            }
            PartialFileErrorKind::Medium => write!(f, "cannot write the image {path}"),
        }
    }
}

impl Error for PartialFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
