//! What tests need and products do not: media that fail on demand, real block devices made of
//! files, mounts, a comparison of file trees, and tools of the system as outside oracles.
//!
//! `FaultDisk`, a block device that fails, is behind the feature `fault-disk`; `FakeUdisks`, a
//! system service that opens devices for others, behind `fake-udisks`.
//!
//! Only tests may depend on this crate. What needs root says so through [`skip`], aloud, and
//! leaves a line in a list, which the test program `left_out` of `xtask` prints at the end of the
//! run, so that everybody sees how much was left out.

mod answer;
#[cfg(target_os = "linux")]
mod card_file;
mod churn;
#[cfg(all(target_os = "linux", feature = "fake-udisks"))]
mod fake_udisks;
mod fault;
#[cfg(all(target_os = "linux", feature = "fault-disk"))]
mod fault_disk;
mod faulty;
#[cfg(all(target_os = "linux", feature = "fault-disk"))]
mod fuse;
mod gate;
#[cfg(target_os = "linux")]
mod guest;
mod loop_device;
mod mount;
mod recorder;
mod skip;
mod tool;
mod treatment;
mod tree;
mod volatile;

pub use answer::Answer;
#[cfg(target_os = "linux")]
pub use card_file::CardFile;
pub use churn::{Churn, Random};
#[cfg(all(target_os = "linux", feature = "fake-udisks"))]
pub use fake_udisks::{FakeUdisks, Handing};
pub use fault::{Fault, RequestKind, Times, Unflushed};
#[cfg(all(target_os = "linux", feature = "fault-disk"))]
pub use fault_disk::FaultDisk;
pub use faulty::{FaultyMedium, Request};
pub use gate::Gate;
#[cfg(target_os = "linux")]
pub use guest::{Guest, Insertion, Job, Machine};
pub use loop_device::{Loop, SectorSize, Throttle};
pub use mount::Mount;
pub use recorder::{Recorder, Stop};
pub use skip::{
    is_big_matrix, skip, skip_unless_fuse, skip_unless_root, skip_unless_tools, skipped,
};
pub use tool::{Tool, tool};
pub use tree::{Likeness, Tree};
