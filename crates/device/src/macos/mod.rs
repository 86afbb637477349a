//! macOS: disks, mounts, unmounting and ejecting by `diskutil`, reading and writing by the raw devices `/dev/rdiskN`.

#[cfg(target_os = "macos")]
mod calls;
pub(crate) mod diskutil;
#[cfg(target_os = "macos")]
pub(crate) mod opening;
#[cfg(target_os = "macos")]
pub(crate) mod writing;

#[cfg(target_os = "macos")]
pub use calls::MacOs;
