//! Opening a device by one's own right, or, where that is not enough, by asking the system for it.
//!
//! Main type: [`Opened`]. Who asks takes what is handed out for what it is and no more: it is held
//! against what was asked for before anybody reads or writes by it.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use cardkeep_block::{BlockError, Monitor, Operation};

use crate::transfer::system_error;
use crate::user::effective_user_is_root;
use crate::{platform, platform_writing};

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading; others may hold it meanwhile.
    Read,
    /// Writing and reading; nobody else may hold it.
    Write,
}

/// By whose right a device was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// That of the account which runs the program.
    Own,
    /// That of a system service, which handed the open device over.
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
        Purpose::Read => platform::open_device(path, false),
        Purpose::Write => platform_writing::open_device(path),
    };
    let denied = match own {
        Ok(own) => return Ok(opened(own, Right::Own)),
        Err(error) => error,
    };
    // Nobody has more rights than root: what is denied to it is denied by a container.
    if denied.kind() == ErrorKind::PermissionDenied
        && !effective_user_is_root()
        && let Some(asked) = platform::ask_to_open(path, purpose, monitor)
    {
        return Ok(opened(asked?, Right::Asked));
    }
    Err(system_error(Operation::Open, denied))
}

/// Why a device was not opened that the system was asked for: the cause of a
/// [`cardkeep_block::BlockErrorKind::Permission`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotPermitted {
    /// The permission was asked for and not given.
    Declined,
    /// A person would have to agree, and nothing runs that could ask.
    NoAgent,
    /// The system's rules forbid it to this account, whoever agrees.
    Forbidden,
    /// No answer came in time.
    NoAnswer {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The user stopped the program meanwhile.
    Stopped,
    /// What was handed out is not the device that was asked for. It was closed unread.
    AnotherDevice,
    /// What was handed out is open in another way than was asked for. It was closed unread.
    AnotherMode,
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined => write!(f, "udisks was asked, and the permission was not given"),
            Self::NoAgent => write!(
                f,
                "udisks was asked, and wants a person to agree, but no polkit agent runs in this \
                 session to ask one"
            ),
            Self::Forbidden => write!(f, "udisks was asked, and may not do it for this account"),
            Self::NoAnswer { seconds } => {
                write!(f, "udisks was asked, and did not answer for {seconds} s")
            }
            Self::Stopped => write!(f, "it was stopped while udisks was asked"),
            Self::AnotherDevice => write!(f, "udisks was asked, and handed out another device"),
            Self::AnotherMode => write!(
                f,
                "udisks was asked, and handed the device out in another way than was asked for"
            ),
        }
    }
}

impl Error for NotPermitted {}
