//! Giving a file its final name without taking it from another.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Renames a file unless the new name is taken.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] where it is, else what the system said.
#[cfg(unix)]
pub(crate) fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every filesystem knows the flag: rename(2), "EINVAL".
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_by_link(from, to),
        result => Ok(result?),
    }
}

/// Renames a file unless the new name is taken.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] where it is, else what the system said.
#[cfg(not(unix))]
pub(crate) fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    rename_by_link(from, to)
}

/// Renames by a second name, which never replaces anything, and taking the first away.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // Neither flag nor links: what is left is to look first.
        Err(_) if to.symlink_metadata().is_ok() => Err(ErrorKind::AlreadyExists.into()),
        // If that fails, too, its error is the one to tell.
        Err(_) => std::fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::{rename_by_link, rename_no_replace};
    use std::io::ErrorKind;

    #[test]
    fn a_taken_name_stays_with_its_owner_either_way() {
        for rename in [rename_no_replace, rename_by_link] {
            let folder = tempfile::tempdir().unwrap();
            let (from, to) = (folder.path().join("from"), folder.path().join("to"));
            std::fs::write(&from, "mine").unwrap();
            std::fs::write(&to, "theirs").unwrap();
            let error = rename(&from, &to).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert_eq!(std::fs::read(&to).unwrap(), b"theirs");
            std::fs::remove_file(&to).unwrap();
            rename(&from, &to).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), b"mine");
            assert!(!from.exists());
        }
    }
}
