//! What a driver says of one kind of filesystem: how it is found, and what an opened one knows.
//!
//! ```text
//!   Driver      probe, stated length, open, what is known while it passes by
//!     └─► Filesystem    summary, allocation map, owners of extents, files
//!     └─► StreamingMap  the allocation map, learnt step by step from a stream
//! ```
//!
//! A driver that knows no more than how long its filesystem is has `probe` and `open`, and its
//! filesystem `medium` and `summary`; the defaults do the rest, and call nothing free.

mod behind;
mod driver;
mod error;
mod opened;
mod streaming;
mod summary;

pub use driver::{Driver, Resizer};
pub use error::DriverError;
pub use opened::{Files, Filesystem, Owner};
pub use streaming::{Step, Streaming, StreamingMap};
pub use summary::{Behind, FsSummary};
