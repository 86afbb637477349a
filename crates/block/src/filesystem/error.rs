//! Why a driver can't read a filesystem.

use std::error::Error;

/// Why a filesystem can't be read: an error of its driver's crate.
pub type DriverError = Box<dyn Error + Send + Sync>;
