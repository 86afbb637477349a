//! Why the system did not open a device that the account itself may not open.

use std::error::Error;
use std::fmt;

/// Why a device was not opened that the system was asked for: the cause of a
/// [`cardkeep_block::BlockErrorKind::Permission`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotPermitted {
    /// The permission was asked for and not given.
    Declined,
    /// A person would have to agree, and nothing runs that could ask.
    NoAgent,
    /// The system's rules forbid it to this account, and no consent changes that.
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
            Self::Declined => write!(f, "UDisks2 refused: the permission was not given"),
            Self::NoAgent => write!(
                f,
                "UDisks2 needs a person's consent, but no polkit agent runs in this session to \
                 ask for it"
            ),
            Self::Forbidden => write!(f, "UDisks2 refused: your account isn't authorised"),
            Self::NoAnswer { seconds } => {
                write!(f, "UDisks2 did not answer for {seconds} s")
            }
            Self::Stopped => write!(f, "stopped while waiting for UDisks2"),
            Self::AnotherDevice => write!(f, "UDisks2 returned another device"),
            Self::AnotherMode => write!(
                f,
                "UDisks2 opened the device in another mode than requested"
            ),
        }
    }
}

impl Error for NotPermitted {}
