//! What tests need and products do not: media that fail on demand, real block devices made of
//! files, mounts, a comparison of file trees, and tools of the system as outside oracles.
//!
//! Only tests may depend on this crate. What needs root says so through [`skip`], aloud, and
//! leaves a line in the file named by `CARDKEEP_SKIPS`, so that CI can tell how much was left out.

mod churn;
mod fault;
mod faulty;
mod loop_device;
mod mount;
mod skip;
mod tool;
mod treatment;
mod tree;
mod volatile;

pub use churn::{Churn, Random};
pub use fault::{Fault, RequestKind, Times, Unflushed};
pub use faulty::{FaultyMedium, Request};
pub use loop_device::Loop;
pub use mount::Mount;
pub use skip::{is_big_matrix, skip, skip_unless_root, skip_unless_tools};
pub use tool::{Tool, tool};
pub use tree::{Likeness, Tree};
