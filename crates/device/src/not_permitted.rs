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
