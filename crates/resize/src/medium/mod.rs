//! Whole media whose last filesystem has another size: partition table, filesystem and the
//! medium's end fit each other.
//!
//! ```text
//!   medium    | table | p1 .... | p2 ...................... |   end |
//!   smaller   | table'| p1 .... | p2, smaller .. | end'
//!   larger    | table'| p1 .... | p2 ......................, larger ........ | end' |
//! ```
//!
//! What is smaller is a view ([`Smaller::view`]); what is larger is the medium with patches
//! ([`Larger::patches`]). Only the partition that lies last can change: no other one has room
//! behind it or leaves room that counts.

mod declined;
mod larger;
mod last;
mod smaller;
mod view;

pub use declined::Declined;
pub use larger::{Larger, larger};
pub use smaller::{Length, Smaller, smaller};
pub use view::ResizedMedium;
