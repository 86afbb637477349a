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

/// Locks an open file until it is closed; asks so many times, with so long a pause between two.
///
/// # Errors
/// [`BlockErrorKind::Busy`] where another has the lock all the while.
pub(crate) fn lock(
    file: &File,
    kind: Kind,
    (tries, pause): (u32, Duration),
) -> Result<(), BlockError> {
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
