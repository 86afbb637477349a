//! Folders in which anybody may make files, such as `/tmp`: what lies there under our names may be a trap.

use std::fs::Metadata;
use std::path::Path;

/// Tells whether a file that was found under one of our names may be somebody's trap: it has a second
/// name, under which a file elsewhere would be overwritten; or it is another user's, in a folder where
/// anybody may make files, so that its owner would read the card.
#[cfg(unix)]
pub(crate) fn is_planted(metadata: &Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    /// The sticky bit, and leave for anybody to write: chmod(2).
    const SHARED: u32 = 0o1002;
    if metadata.nlink() > 1 {
        return true;
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    // What can't be looked at can't be trusted.
    let Ok(folder) = parent.unwrap_or(Path::new(".")).metadata() else {
        return true;
    };
    let is_shared = folder.mode() & SHARED == SHARED;
    // The kernel's own rule: Documentation/admin-guide/sysctl/fs.rst, "protected_regular".
    is_shared && metadata.uid() != folder.uid() && !crate::user::is_own(metadata.uid())
}

#[cfg(not(unix))]
pub(crate) fn is_planted(_: &Metadata, _: &Path) -> bool {
    false
}
