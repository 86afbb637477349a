//! How work below the doors tells of its progress and troubles, and learns that it should stop.

use crate::Extent;

/// A step of the work that takes time worth showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading partition tables and filesystem metadata.
    Survey,
    /// Finding out whether a card is as large as it says.
    Probe,
    /// Reading the source and writing the destination.
    Copy,
    /// Reading back what was written and comparing digests.
    Verify,
    /// Reading what is left of a failing source, the easy parts first.
    Rescue,
    /// Waiting until somebody permits that a device is opened. It has no bytes.
    Permission,
}

/// Something that went wrong without ending the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened and what was done about it, in words for the user.
    pub message: String,
    /// Where on the medium, where it has a place.
    pub extent: Option<Extent>,
}

impl Trouble {
    /// Returns a trouble without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            extent: None,
        }
    }

    /// Adds the place on the medium.
    #[must_use]
    pub fn at(mut self, extent: Extent) -> Self {
        self.extent = Some(extent);
        self
    }
}

/// Receives progress, counts and non-fatal trouble. Calls come from several threads and must
/// return at once.
pub trait Monitor: Send + Sync {
    /// A phase begins that will advance by `total_bytes` in all, where that is known.
    fn phase(&self, phase: Phase, total_bytes: Option<u64>);
    /// `bytes` more of `phase` are done.
    fn advance(&self, phase: Phase, bytes: u64);
    /// Something went wrong; the work goes on.
    fn trouble(&self, trouble: Trouble);
    /// Tells whether the user wants the work to stop. Asked often.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// The monitor of those who don't care.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn phase(&self, _: Phase, _: Option<u64>) {}
    fn advance(&self, _: Phase, _: u64) {}
    fn trouble(&self, _: Trouble) {}
}
