//! What came of making a small image.

use super::judge::Judgement;
use crate::bench::measure::Measured;

/// What one run cost, and what it made.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) measured: Measured,
    pub(super) judgement: Judgement,
}
