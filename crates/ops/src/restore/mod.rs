//! `restore` and `clone`: an image, a stream or a card onto one or more cards.

mod apply;
mod cut_fit;
mod expansion;
mod fit;
mod plan;
mod stale;
mod target;
mod telling;

pub use apply::{RestoreReport, TargetDone, TargetReport, apply};
pub use expansion::Expand;
pub use fit::Fit;
pub(crate) use fit::Fitting;
pub use plan::{RestoreFrom, RestorePlan, RestoreRequest, plan};
pub use target::TargetPlan;
