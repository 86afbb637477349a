//! Filesystems of another size, as views: what has to change is computed in memory, and the medium
//! itself is never touched.

pub mod grow;
pub mod medium;
pub mod shrink;
