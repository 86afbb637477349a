//! Who runs the program, and what that user may do.

use std::fs::File;
use std::io;
use std::path::Path;

/// Tells whether the program runs with all rights.
#[must_use]
pub fn effective_user_is_root() -> bool {
    #[cfg(unix)]
    {
        rustix::process::geteuid().is_root()
    }
    #[cfg(not(unix))]
    {
        false
    }
}

/// Returns what the user can do about a device that may not be opened, in words.
#[must_use]
pub fn permission_hint(path: &Path) -> String {
    let sudo = "run it again with sudo";
    match group_that_may_read(path) {
        Some(group) => format!(
            "{sudo}, or join the group that may read {}: sudo usermod -aG {group} \"$USER\", then log in again",
            path.display()
        ),
        None => sudo.to_owned(),
    }
}

/// Returns the name of the group that may read the file, unless it is root's own.
#[cfg(unix)]
fn group_that_may_read(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    // A hint for people: what can't be found out is left out of it.
    let metadata = path.metadata().ok()?;
    if metadata.mode() & 0o040 == 0 || metadata.gid() == 0 {
        return None;
    }
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    group_name(&groups, metadata.gid()).map(str::to_owned)
}

#[cfg(not(unix))]
fn group_that_may_read(_: &Path) -> Option<String> {
    None
}

/// Finds a group's name in the text of /etc/group: `name:password:number:members`, group(5).
#[cfg(unix)]
fn group_name(groups: &str, number: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

/// Tells whether files of this user are ours: those of the user who runs the program, or called
/// sudo.
#[cfg(unix)]
pub(crate) fn is_own(user: u32) -> bool {
    // Without sudo there is no such user.
    let caller = || std::env::var("SUDO_UID").ok()?.parse().ok();
    user == rustix::process::geteuid().as_raw()
        || effective_user_is_root() && caller() == Some(user)
}

/// Gives a file that root created under sudo to the user who called sudo: an image in one's own
/// folder that one can't delete is a nuisance.
#[cfg(unix)]
pub(crate) fn give_to_sudo_user(file: &File) -> io::Result<()> {
    // Without sudo there is nobody to give it to.
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    match (number("SUDO_UID"), number("SUDO_GID")) {
        (Some(user), Some(group)) if effective_user_is_root() => {
            match std::os::unix::fs::fchown(file, Some(user), Some(group)) {
                // FAT and network shares know no owners.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                result => result,
            }
        }
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) fn give_to_sudo_user(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::group_name;

    #[test]
    fn groups_are_found_by_number() {
        let groups = "root:x:0:\ndisk:x:6:pi,ann\nbroken\nplugdev:x:46:";
        assert_eq!(group_name(groups, 6), Some("disk"));
        assert_eq!(group_name(groups, 46), Some("plugdev"));
        assert_eq!(group_name(groups, 7), None);
    }
}
