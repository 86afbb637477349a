//! Filesystems of another size, as views: what has to change is computed in memory, and the medium
//! itself is never touched.

mod declined;
pub mod grow;
mod inconsistent;
pub mod medium;
pub mod shrink;
mod unsupported;

pub use declined::Declined;
pub use inconsistent::Inconsistent;
pub use unsupported::Unsupported;
