//! What cardkeep does for its users, one file per verb. Work is planned as data that can be
//! shown, then exactly that is done.
//!
//! Nothing here prints or asks: progress and trouble go to a
//! [`Monitor`], and what only the user can decide is an [`OpError`] that
//! says what to do.

mod backup;
mod card;
mod checksum;
mod completeness;
mod content_check;
mod counterpart;
mod error;
mod fingerprint;
mod image_manifest;
mod image_name;
mod info;
mod input;
mod list;
mod lost;
mod outputs;
mod pipe_sum;
mod precheck;
pub mod report;
mod resizing_text;
pub mod restore;
mod returning;
mod sample;
mod second_reading;
mod shrink;
mod speed;
mod verify;

// What the types of this crate are made of, so that a door needs no other crate.
pub use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, Monitor, Operation, Phase, Run, State,
    Trouble, causes, path_text, size_text,
};
pub use cardkeep_copy::{
    Check, Checked, Destination, Health, Holes, RetryPolicy, Stretch, Verify, WriteMode,
};
pub use cardkeep_device::{
    Device, Machine, Overwrite, PartialFile, Signals, StandardInput, TextFile, Verdict,
    effective_user_is_root, machine, stored_bytes, verdict,
};
pub use cardkeep_image::Format;
pub use cardkeep_survey::{GapKind, Partition, Place, Scope, Survey};

pub use backup::{
    BackupPlan, BackupReport, BackupRequest, BackupSession, Estimate, Otherwise, Resume,
    SecondReading, Shrink, Target, Unmount, Verified, apply, plan,
};
pub use card::{Candidate, Choice, cards, choose};
pub use cardkeep_resize::medium::{Length, Moved, Shrunk};
pub use completeness::Truncated;
pub use error::{Hint, OpError, OpErrorKind};
pub use info::{InfoReport, info};
pub use input::{ContentRule, Input, InputKind, SurveyedInput};
pub use list::{Listed, list};
pub use resizing_text::{hibernation_text, moved_text, name_of};
pub use sample::{SAMPLE_BYTES, write_sample};
pub use shrink::plan_shrink;
pub use speed::measure;
pub use verify::{Against, VerifyReport, VerifyRequest, verify};
