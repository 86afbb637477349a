//! Who gets the content, and how it is to be written.

use cardkeep_block::{Monitor, ReadWriteAt};

/// One card that gets the content.
pub struct Recipient<'a> {
    /// The card. What it reads must come from the medium, not from a cache.
    pub card: &'a dyn ReadWriteAt,
    /// Who hears how far it is.
    pub monitor: &'a dyn Monitor,
}

/// How cards are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What is written of what the card should hold.
    pub mode: WriteMode,
    /// Whether all of it is read back before the card is made bootable.
    pub verify: bool,
}

/// What is written of what a card should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// All of it.
    All,
    /// What the card does not hold already.
    Differing,
    /// What the card does not hold already, until it is clear that nothing more is there: for a
    /// restore that was interrupted.
    Resumed,
}
