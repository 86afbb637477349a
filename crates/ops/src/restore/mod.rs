//! `restore` and `clone`: an image, a stream or a card onto one or more cards.

mod apply;
mod fit;
mod origin;
mod plan;
mod prescan;
mod target;
mod telling;

pub use apply::{RestoreReport, TargetDone, TargetReport, apply};
pub use fit::Fit;
pub use origin::{Origin, OriginKind};
pub use plan::{RestoreFrom, RestorePlan, RestoreRequest, plan};
pub use target::TargetPlan;
