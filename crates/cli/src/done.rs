//! How a command ended that did its work, and what it has to show for it.

use cardkeep_ops::Trouble;

/// How a command ended that did what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All is well.
    Well,
    /// Something differs that was compared.
    Mismatch,
    /// Done, but there was trouble on the way.
    Troubled,
}

impl Done {
    /// Returns how a command ended that did its work, by the trouble there was.
    pub(crate) fn with(troubles: &[Trouble]) -> Self {
        if troubles.is_empty() {
            Self::Well
        } else {
            Self::Troubled
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Mismatch => 6,
            Self::Troubled => 9,
        }
    }
}

/// What a command has to show for its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// What it prints is all it does.
    Everything,
    /// What it prints is about what it did.
    Report,
}
