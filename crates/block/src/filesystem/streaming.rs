//! The allocation map of a filesystem that passes by once, in address order.

use std::fmt::Debug;

use super::error::DriverError;
use super::summary::FsSummary;
use crate::extent::Extent;
use crate::map::Run;
use crate::medium::ReadAt;

/// What has to come by for an allocation map to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Streaming {
    /// Nothing more than the head: the filesystem can be opened by it.
    Head,
    /// So many bytes from the beginning on: the filesystem can be opened by them.
    Bytes(u64),
    /// So many bytes from the beginning on; then the places that the [`StreamingMap`] names.
    Steps(u64),
    /// It can't be learnt in passing, and all of it is used.
    Never,
}

/// A place whose bytes a [`StreamingMap`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// In bytes of the filesystem.
    pub extent: Extent,
    /// What the map calls it. Of places that end alike, the lower number comes first.
    pub number: u64,
}

/// An allocation map that is learnt step by step. Whatever passes before it is proven free is used.
pub trait StreamingMap: Debug + Send + Sync {
    /// Returns what there is to say about the filesystem.
    fn summary(&self) -> FsSummary;

    /// Returns what it waits for at first, where `passed` bytes of the filesystem have come by.
    fn first_steps(&self, passed: u64) -> Vec<Step>;

    /// Learns from a step's bytes, which can be read from `medium` now, and returns what it waits
    /// for next.
    ///
    /// # Errors
    /// Where what was called free before may not be: nothing is free from here on.
    fn learn(&mut self, number: u64, medium: &dyn ReadAt) -> Result<Vec<Step>, DriverError>;

    /// Hears that the bytes of a step have passed unkept, or don't fit memory.
    fn miss(&mut self, number: u64);

    /// Returns the states of the bytes in `window` of the filesystem's medium, which they tile. What
    /// was learnt may be read from `medium` again.
    fn runs(&self, medium: &dyn ReadAt, window: Extent) -> Vec<Run>;
}
