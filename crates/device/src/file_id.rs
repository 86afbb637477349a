//! What makes a file or a device the same one under every name.
//!
//! Main type: [`FileId`]. Paths lie: links, second names, other mount namespaces and renames make one
//! path lead to several things, and several paths to one.

use std::fs::Metadata;
use std::path::Path;

use crate::platform::writing;

/// The identity of a regular file or of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileId {
    /// A regular file: the numbers of its filesystem and of its inode (stat(2), `st_dev`, `st_ino`).
    File {
        /// The filesystem's number.
        filesystem: u64,
        /// The inode's number.
        inode: u64,
    },
    /// A device: the number of its special file (`st_rdev`).
    Device {
        /// Major and minor number, as the system packs them.
        number: u64,
    },
}

impl FileId {
    /// Returns the identity of what was looked at; `None` where it is neither a regular file nor a
    /// device, or where the platform tells no such numbers.
    #[must_use]
    pub fn from_metadata(metadata: &Metadata) -> Option<Self> {
        if metadata.is_file() {
            let (filesystem, inode) = writing::file_identity(metadata)?;
            return Some(Self::File { filesystem, inode });
        }
        let number = writing::number_of(metadata)?;
        Some(Self::Device { number })
    }

    /// Returns the identity of what a path leads to; `None` where it leads nowhere, too.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        // What can't be looked at leads nowhere that is known.
        Self::from_metadata(&path.metadata().ok()?)
    }
}

/// Tells whether two paths lead to one file or device: by its numbers where there are such, else by
/// its path without links.
#[must_use]
pub fn are_same_file(one: &Path, other: &Path) -> bool {
    let (Ok(first), Ok(second)) = (one.metadata(), other.metadata()) else {
        return false;
    };
    match (
        FileId::from_metadata(&first),
        FileId::from_metadata(&second),
    ) {
        (Some(first), Some(second)) => first == second,
        // Both are there, and two whose paths can't be told apart count as one: that refuses more.
        _ => std::fs::canonicalize(one).ok() == std::fs::canonicalize(other).ok(),
    }
}
