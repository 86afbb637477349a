//! The world that cardkeep runs in: cards and disks, who uses them, and how to open them.
//!
//! The only crate that knows `/dev`, `/sys` and `diskutil`, and the only one with `unsafe`. It
//! reads everything below an injectable root, so that recorded machines are tests.

mod device;
mod filesystem;
mod interrupt;
#[cfg(target_os = "linux")]
mod linux;
mod machine;
mod partial_file;
mod partial_file_error;
mod peak_memory;
mod source;
mod transfer;
mod user;
mod verdict;

#[cfg(target_os = "linux")]
use linux::opening as platform;

pub use device::{Access, Device, DevicePartition, Mount, Transport, Use};
pub use filesystem::{FsKind, filesystem_of, free_space, max_file_bytes};
pub use interrupt::install_interrupt_handler;
#[cfg(target_os = "linux")]
pub use linux::Linux;
pub use machine::{Machine, UnmountError};
pub use partial_file::{Overwrite, PartialFile};
pub use partial_file_error::{PartialFileError, PartialFileErrorKind};
pub use peak_memory::peak_memory_bytes;
pub use source::{NotAMedium, Source};
pub use user::{effective_user_is_root, permission_hint};
pub use verdict::{Guard, Verdict, verdict};

/// Returns the machine that the program runs on.
#[must_use]
pub fn machine() -> Box<dyn Machine> {
    #[cfg(target_os = "linux")]
    {
        Box::new(Linux::new())
    }
}
