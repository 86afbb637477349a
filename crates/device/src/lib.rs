//! The world that cardkeep runs in: cards and disks, who uses them, and how to open them.
//!
//! The only crate that knows `/dev`, `/sys` and `diskutil`, and the only one with `unsafe`. It
//! reads everything below an injectable root, so that recorded machines are tests.

mod aligned_file;
mod as_named;
mod beside;
mod device;
mod device_sink;
mod eject_error;
mod file_id;
mod file_target;
mod filesystem;
mod flock;
mod image_files;
mod interrupt;
#[cfg(target_os = "linux")]
mod linux;
mod machine;
#[cfg(any(target_os = "macos", test))]
mod macos;
mod map_note;
mod not_permitted;
mod partial_file;
mod partial_file_error;
mod peak_memory;
mod permission;
mod platform;
mod purpose;
mod refusal;
mod renaming;
mod shared_folder;
mod source;
mod standard_input;
mod text_file;
mod transfer;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod unsupported;
mod user;
mod verdict;
mod watch;
mod write_permit;

pub use beside::beside;
pub use device::{Access, Device, DevicePartition, Mount, Transport, Use};
pub use device_sink::DeviceSink;
pub use eject_error::EjectError;
pub use file_id::{FileId, are_same_file};
pub use file_target::FileTarget;
pub use filesystem::{FsKind, filesystem_of, free_space, max_file_bytes, stored_bytes};
pub use image_files::{
    BeginError, Event, FilesState, Found, ImageFiles, LeftOver, Losses, Making, NotNow, Origin,
    Step, StoreKind, Transition, next_state,
};
pub use interrupt::Signals;
#[cfg(target_os = "linux")]
pub use linux::Linux;
pub use machine::{Machine, UnmountError};
#[cfg(target_os = "macos")]
pub use macos::MacOs;
pub use map_note::{MapNote, MapOf};
pub use not_permitted::NotPermitted;
pub use partial_file::{Overwrite, PartialFile};
pub use partial_file_error::{PartialFileError, PartialFileErrorKind};
pub use peak_memory::peak_memory_bytes;

pub use refusal::Refusal;
pub use source::{NotAMedium, Source};
pub use standard_input::StandardInput;
pub use text_file::TextFile;
pub use user::{effective_user_is_root, permission_hint};
pub use verdict::{Guard, Verdict, verdict};
pub use watch::{Change, Watch};
pub use write_permit::WritePermit;

/// Returns the machine that the program runs on.
#[must_use]
pub fn machine() -> Box<dyn Machine> {
    #[cfg(target_os = "linux")]
    {
        Box::new(Linux::new())
    }
    #[cfg(target_os = "macos")]
    {
        Box::new(MacOs)
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        Box::new(unsupported::UnknownMachine)
    }
}
