//! What came of putting a card back.

use crate::bench::measure::Measured;

/// What one run cost, and what it could not have been done under.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) measured: Measured,
    /// Bytes that are not as they should be afterwards.
    pub(super) wrong_bytes: u64,
    /// The time that the card alone takes; `None` without limit.
    pub(super) budget_seconds: Option<f64>,
}

impl Outcome {
    /// Returns the time as a multiple of the budget.
    pub(super) fn of_budget(&self) -> Option<f64> {
        let budget = self.budget_seconds?;
        Some(self.measured.wall_seconds / budget)
    }
}
