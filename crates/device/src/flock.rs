//! The lock on an open device or file by which programs keep out of one another's way.

use std::fs::{File, TryLockError};
use std::time::Duration;

use cardkeep_block::{BlockError, BlockErrorKind, Operation};

/// Who else may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody.
    Exclusive,
    /// Others who ask for it shared.
    Shared,
}

/// How long a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How many times.
    pub(crate) tries: u32,
    /// How long to wait between two.
    pub(crate) pause: Duration,
}

impl Patience {
    /// For a device: udev, and others who look at a card that was just put in, hold it for moments.
    pub(crate) const DEVICE: Self = Self {
        tries: 30,
        pause: Duration::from_millis(100),
    };
    /// Asks once.
    pub(crate) const NONE: Self = Self {
        tries: 1,
        pause: Duration::ZERO,
    };
}

/// Locks an open file until it is closed.
///
/// # Errors
/// [`BlockErrorKind::Busy`] where another has the lock all the while.
pub(crate) fn lock(file: &File, kind: Kind, patience: Patience) -> Result<(), BlockError> {
    let Patience { tries, pause } = patience;
    for attempt in 1..=tries {
        let result = match kind {
            Kind::Exclusive => file.try_lock(),
            Kind::Shared => file.try_lock_shared(),
        };
        match result {
            Err(TryLockError::WouldBlock) if attempt < tries => std::thread::sleep(pause),
            Err(TryLockError::WouldBlock) => break,
            // A filesystem without locks (some network shares) is no reason to refuse.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    let error = BlockError::new(BlockErrorKind::Busy, Operation::Open);
    Err(error.caused_by("another program has locked it"))
}
