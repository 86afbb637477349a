//! What standard input is: a pipe, or a file or device that was redirected to it.
//!
//! Main type: [`StandardInput`].

use std::path::PathBuf;

use crate::file_id::FileId;

/// What standard input is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandardInput {
    /// Its identity, where it is a regular file or a device.
    pub id: Option<FileId>,
    /// Where it lies, as far as the system tells.
    pub path: Option<PathBuf>,
}

impl StandardInput {
    /// Looks at the handle of it. What can't be looked at is taken for a pipe: nothing can be read from
    /// it either.
    #[cfg(unix)]
    #[must_use]
    pub fn look(handle: &impl std::os::fd::AsFd) -> Self {
        // What can't be found out is not known to be a file: the input is a pipe then.
        let own = handle.as_fd().try_clone_to_owned().ok();
        let metadata = own.and_then(|own| std::fs::File::from(own).metadata().ok());
        let id = metadata.as_ref().and_then(FileId::from_metadata);
        // Names of pipes lead nowhere: `pipe:[4711]`.
        let path = id.and_then(|_| std::fs::canonicalize("/dev/stdin").ok());
        let is_same = |path: &PathBuf| FileId::of_path(path) == id;
        Self {
            id,
            path: path.filter(is_same),
        }
    }

    /// Returns what is taken for a pipe: the platform can't be asked.
    #[cfg(not(unix))]
    #[must_use]
    pub fn look<T>(_: &T) -> Self {
        Self::default()
    }
}
