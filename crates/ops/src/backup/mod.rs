//! `backup`: a card in, a verified image out.
//!
//! ```text
//!   request ──plan──▶ BackupSession: the plan, as data, and what is open
//!                          │ apply
//!                          ▼
//!   card ──▶ Returning: waits for a card that vanishes ──▶ BackupSink: an image, or a stream
//! ```

mod apply;
mod failure;
mod image_sink;
mod plan;
mod request;
mod resume;
mod sink;
mod stream_sink;
mod unfinished;

pub use apply::{BackupReport, apply};
pub(crate) use plan::Looked;
pub use plan::{BackupPlan, BackupSession, plan};
pub use request::{
    BackupRequest, Estimate, Otherwise, Resume, SecondReading, Shrink, Target, Unmount,
};
pub(crate) use sink::Stored;
pub use sink::Verified;
