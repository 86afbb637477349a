//! Opening a device by one's own right, or, where that is not enough, by asking the system for it.
//!
//! Main type: [`Opened`]. Who asks takes what is handed out for what it is and no more: it is held
//! against what was asked for before anybody reads or writes by it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use cardkeep_block::{BlockError, Monitor, Operation};

use crate::platform::{opening, writing};
use crate::purpose::Purpose;
use crate::transfer::system_error;
use crate::user::effective_user_is_root;

/// By whose right a device was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// The right of the account that runs the program.
    Own,
    /// The right of a system service, which handed the open device over.
    Asked,
}

/// A device that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    /// Whether it is read and written past the page cache.
    pub(crate) is_direct: bool,
    pub(crate) right: Right,
}

/// Opens a device; where the account may not, asks the system to.
pub(crate) fn open_asking(
    path: &Path,
    purpose: Purpose,
    monitor: &dyn Monitor,
) -> Result<Opened, BlockError> {
    let opened = |(file, is_direct), right| Opened {
        file,
        is_direct,
        right,
    };
    let own = match purpose {
        Purpose::Read => opening::open_device(path, false),
        Purpose::Write => writing::open_device(path),
    };
    let denied = match own {
        Ok(own) => return Ok(opened(own, Right::Own)),
        Err(error) => error,
    };
    // Nobody has more rights than root: what is denied to it is denied by a container.
    if denied.kind() == ErrorKind::PermissionDenied
        && !effective_user_is_root()
        && let Some(asked) = opening::ask_to_open(path, purpose, monitor)
    {
        return Ok(opened(asked?, Right::Asked));
    }
    Err(system_error(Operation::Open, denied))
}
