//! Whole media one of whose filesystems has another size: partition table, filesystem, what lies
//! behind it, and the medium's end fit each other.
//!
//! ```text
//!   medium    | table | p1 .... | p2 ...................... | p3 |   end |
//!   smaller   | table'| p1 .... | p2, smaller .. | p3 | end'
//!   larger    | table'| p1 .... | p2 ......................, larger ........ | p3 | end' |
//! ```
//!
//! What is smaller is a view ([`Smaller::view`]); what is larger is the medium with patches
//! ([`Larger::patches`]), or a view where something has to move ([`Larger::content`]). The filesystem
//! is the one with the system on it, or else the largest one.

mod candidate;
mod larger;
mod moved;
mod smaller;
mod view;

pub use candidate::Access;
pub use larger::{Growth, Larger, larger};
pub use moved::Moved;
pub use smaller::{Length, Shrunk, Smaller, smaller};
pub use view::ResizedMedium;
