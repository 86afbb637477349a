//! From a medium to what is on it: partitions, filesystems, the allocation map, and whose card
//! it is. Reads metadata only, and only through [`ReadAt`](cardkeep_block::ReadAt).
//!
//! A survey never fails because of what the bytes say: what can't be understood is
//! [`State::Used`](cardkeep_block::State::Used), and the monitor hears of it.

mod content;
mod cut;
mod drivers;
mod first_boot;
mod folder;
mod gap;
mod identity;
mod kept;
mod locate;
mod medium;
mod passing;
mod passing_partition;
mod recognise;
mod signature;
mod stale;
mod stated_len;
mod swap;

pub use cardkeep_block::FsSummary;
pub use content::Content;
pub use cut::Cut;
pub use first_boot::grows_itself;
pub use folder::silent_places;
pub use gap::{Gap, GapKind};
pub use identity::{Identity, holds_system};
pub use locate::{Place, locate};
pub use medium::{Partition, Scope, Survey, TableState, survey};
pub use passing::PassingSurvey;
pub use recognise::{RECOGNISE_BYTES, Recognised, recognise};
pub use stale::clear_stale_signatures;
