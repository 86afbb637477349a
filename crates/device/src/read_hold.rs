//! Holding a card still while it is read: no restore can begin to write it meanwhile.
//!
//! Main type: [`ReadHold`]. Any number of readers may hold one card.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use cardkeep_block::{BlockError, Operation};

use crate::flock::{Kind, lock};
use crate::transfer::system_error;

/// How often, and how far apart, the lock is asked for: others who look at a card that was just put in
/// hold it for moments.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A card, or a file in its place, that nobody who asks for the lock writes, until this is dropped
/// (systemd, "Locking Block Device Access").
#[derive(Debug)]
pub struct ReadHold {
    _file: File,
}

impl ReadHold {
    /// Holds what `path` names, which must be a device or a regular file.
    ///
    /// # Errors
    /// What the system said; [`cardkeep_block::BlockErrorKind::Busy`] where somebody writes it.
    pub fn new(path: &Path) -> Result<Self, BlockError> {
        let file = File::open(path).map_err(|error| system_error(Operation::Open, error))?;
        lock(&file, Kind::Shared, (LOCK_TRIES, LOCK_PAUSE))?;
        Ok(Self { _file: file })
    }
}
