//! Why a device could not be made ready to be taken out.
//!
//! Main type: [`EjectError`].

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// A device that should not be taken out yet.
#[derive(Debug)]
pub struct EjectError {
    /// The device's path.
    pub path: PathBuf,
    /// What the user can do, in words.
    pub hint: String,
    reason: String,
}

impl EjectError {
    /// Returns the error for the device at `path`, with the reason in words and what to do.
    #[must_use]
    pub fn new(path: &Path, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            path: path.to_path_buf(),
            hint: hint.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for EjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot eject {}: {}", self.path.display(), self.reason)
    }
}

impl Error for EjectError {}
