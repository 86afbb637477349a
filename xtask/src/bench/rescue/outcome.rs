//! What came of reading a failing card.

use crate::bench::measure::Measured;

/// What one run cost and brought.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) measured: Measured,
    /// Used bytes that are as on the sound card.
    pub(super) good_bytes: u64,
    /// What map and store take on the disk besides the image.
    pub(super) beside_bytes: u64,
}
