//! The machine that the program runs on, as the floors above see it.
//!
//! Main type: [`Machine`], one implementation per platform.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use cardkeep_block::{BlockError, Operation};

use crate::device::Device;
use crate::eject_error::EjectError;

/// What the program asks of the machine it runs on.
pub trait Machine: Send + Sync {
    /// Returns every disk, card and stick, by name. None is left out because something about it
    /// could not be read.
    ///
    /// # Errors
    /// What the system said where there is no list at all.
    fn devices(&self) -> Result<Vec<Device>, BlockError>;

    /// Returns the device that `path` names, itself or by one of its partitions, also through
    /// symbolic links; `None` where it names none.
    ///
    /// # Errors
    /// As [`Machine::devices`], and what the system said where the path can't be looked at.
    fn device_of_path(&self, path: &Path) -> Result<Option<Device>, BlockError>;

    /// Returns the number of the partition that `path` names, from 1; `None` where it names a
    /// whole device or none.
    ///
    /// # Errors
    /// As [`Machine::device_of_path`].
    fn partition_of_path(&self, path: &Path) -> Result<Option<u32>, BlockError> {
        let real = std::fs::canonicalize(path)
            .map_err(|error| BlockError::from_io(Operation::Open, error))?;
        let device = self.device_of_path(path)?;
        let partitions = device.iter().flat_map(|device| &device.partitions);
        let mut named = partitions.filter(|part| part.path == real);
        Ok(named.next().map(|part| part.number))
    }

    /// Returns the name of a device that the file lies on, or will lie on; `None` where that
    /// can't be told. Where there may be several, [`Machine::devices_holding`] tells them all.
    ///
    /// # Errors
    /// As [`Machine::devices`].
    fn device_holding(&self, file: &Path) -> Result<Option<String>, BlockError>;

    /// Returns the names of all devices that the file lies on, or will lie on: several under an
    /// array, a volume group or a filesystem on many disks.
    ///
    /// # Errors
    /// As [`Machine::devices`].
    fn devices_holding(&self, file: &Path) -> Result<Vec<String>, BlockError> {
        Ok(self.device_holding(file)?.into_iter().collect())
    }

    /// Unmounts everything that is mounted from `device`. Never a device whose verdict says that
    /// the system lives on it.
    ///
    /// # Errors
    /// [`UnmountError`], at the first mount that stays.
    fn unmount(&self, device: &Device) -> Result<(), UnmountError>;

    /// Makes `device` ready to be taken out: unmounts what is mounted from it, waits until all is
    /// written, and tells it to let go of its medium, where it knows how. Never a device that the
    /// system or anything else in the kernel needs.
    ///
    /// # Errors
    /// [`EjectError`]; also from a machine that can't, which is what is provided.
    fn eject(&self, device: &Device) -> Result<(), EjectError> {
        Err(EjectError::new(
            &device.path,
            "that is not supported on this platform",
            "eject it with the system's own program before you take it out",
        ))
    }
}

/// A filesystem that stays mounted.
#[derive(Debug)]
pub struct UnmountError {
    /// Where it is mounted.
    pub target: PathBuf,
    /// What the user can do, in words: the command to run, or what to close.
    pub hint: String,
    reason: String,
}

impl UnmountError {
    /// Returns the error for the mount at `target`, with the reason in words and what to do.
    #[must_use]
    pub fn new(target: &Path, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            target: target.to_path_buf(),
            hint: hint.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for UnmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot unmount {}: {}",
            self.target.display(),
            self.reason
        )
    }
}

impl Error for UnmountError {}
