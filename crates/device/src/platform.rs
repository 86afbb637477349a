//! The platform that the program is built for: how it opens, reads and writes devices and files.

#[cfg(target_os = "macos")]
pub(crate) use crate::macos::{opening, writing};
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(crate) use crate::unsupported::{opening, writing};

#[cfg(target_os = "linux")]
pub(crate) use crate::linux::{opening, writing};
