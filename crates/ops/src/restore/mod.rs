//! `restore` and `clone`: an image, a stream or a card onto one or more cards.

mod apply;
mod cut_fit;
mod expansion;
mod fit;
mod origin;
mod parts;
mod plan;
mod prescan;
mod stale;
mod target;
mod telling;

pub use apply::{RestoreReport, TargetDone, TargetReport, apply};
pub use expansion::Expand;
pub use fit::Fit;
pub(crate) use fit::Fitting;
pub(crate) use origin::Reading;
pub use origin::{Origin, OriginKind};
pub use plan::{RestoreFrom, RestorePlan, RestoreRequest, plan};
pub(crate) use prescan::{Prescan, prescan};
pub use target::TargetPlan;
