//! The copy pipelines: from a source and its allocation map to an image, verified on the way, and
//! from an image to cards ([`restore`]).
//!
//! ```text
//!   readers ──frames──▶ workers ──pieces──▶ writer ──written──▶ verifier
//!   read what is used   digest, compress     in address order    reads back past the cache,
//!   in address order                                             decodes, compares digests
//! ```
//!
//! Reading never waits for compressing as long as buffers are left, and memory is bounded by the
//! number of frames that may be under way at once ([`Limits`]). The card is read once, in address
//! order; what was read through between two used extents never reaches the image.

mod against;
mod check;
mod destination;
mod diagnosis;
mod error;
mod frames;
mod job;
mod limits;
mod outcome;
mod piece;
mod pipeline;
mod prefix;
mod probe;
mod reader;
mod rescue;
mod restore;
mod runs;
mod sequential;
mod sink;
mod verifier;
mod worker;
mod writer;

pub use against::{Difference, compare};
pub use check::{Check, Checked, check_content, check_frames};
pub use destination::{Destination, Output};
pub use diagnosis::{Diagnosis, Fingerprints, diagnose};
pub use error::{BadPlace, CopyError};
pub use frames::FrameList;
pub use job::{Job, ManifestOf, Verify};
pub use limits::{Limits, READ_THROUGH_BYTES};
pub use outcome::Outcome;
pub use pipeline::copy;
pub use prefix::Prefix;
pub use probe::{Capacity, Lie, LieKind, Probed, probe, probe_places};
pub use rescue::{
    Attendant, FailingSource, FileShelf, Health, Holes, Rescue, RescueReport, Rescuing,
    RetryPolicy, Shelf, SlowRead, Stretch, Unattended, copy_rescuing, untried,
};
pub use restore::{
    Ending, Frame, HEAD_BYTES, IndexedOriginal, Knowledge, Layout, MediumOriginal, OpenStream,
    Original, Recipient, RestoreOptions, RestoreOutcome, StreamOriginal, Take, Wanted, WriteMode,
    restore,
};
pub use sequential::{decoded, decoded_noting, read_content};
