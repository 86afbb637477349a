//! Whose card it is: operating system and host name, from inside its filesystems.

use cardkeep_block::{Driver, Files, Filesystem, ReadAt};

use crate::drivers;

/// os-release(5) and hostname(5) files are short; longer ones are not those.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// What is shown of a name that a card gives itself.
const NAME_CHARS_MAX: usize = 64;

/// What a card says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The operating system with its version: `Raspberry Pi OS 12 bookworm`.
    pub os: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
}

impl Identity {
    /// Reads it from a root filesystem; fields that are not there stay empty.
    pub(crate) fn of_root(root: &dyn Files) -> Self {
        // A file that can't be read is one that tells nothing; the map decides what is lost.
        let text = |path: &str| {
            let bytes = root.read_file(path, FILE_BYTES_MAX).ok().flatten()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"));
        let is_raspberry_pi_os = text("/etc/rpi-issue").is_some();
        Self {
            os: release.and_then(|release| os_name(&release, is_raspberry_pi_os)),
            hostname: text("/etc/hostname").and_then(|text| {
                text.lines()
                    .map(str::trim)
                    .find(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(shown)
            }),
        }
    }

    /// Tells whether nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.os.is_none() && self.hostname.is_none()
    }
}

/// Returns what system a filesystem holds the root of, as far as it says so.
pub(crate) fn identity_of(driver: &dyn Driver, fs: &dyn Filesystem) -> Identity {
    if !driver.holds_systems() {
        return Identity::default();
    }
    // The names inside are a courtesy: where they can't be read, the map still stands.
    let files = fs.files();
    files.map_or_else(Identity::default, |root| Identity::of_root(&*root))
}

/// Tells whether the filesystem on `partition` is an operating system's root: whether it says
/// which one, in os-release(5). A host name would not do: Home Assistant keeps `/etc/hostname` in a
/// partition of its own. `false` also where that can't be read.
#[must_use]
pub fn holds_system(partition: &dyn ReadAt) -> bool {
    let driver = drivers::at_beginning(partition).or_else(|| drivers::by_remains(partition));
    driver.is_some_and(|driver| {
        let fs = driver.open(partition);
        fs.is_ok_and(|fs| identity_of(driver, &*fs).os.is_some())
    })
}

/// Returns the system's name out of the text of an os-release file. Raspberry Pi OS calls itself
/// Debian there; its own mark is /etc/rpi-issue.
fn os_name(release: &str, is_raspberry_pi_os: bool) -> Option<String> {
    let field = |name: &str| {
        release.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?.trim();
            let value = value.trim_matches(|quote| quote == '"' || quote == '\'');
            Some(value.to_owned()).filter(|value| !value.is_empty())
        })
    };
    let name = if is_raspberry_pi_os {
        Some("Raspberry Pi OS".to_owned())
    } else {
        field("NAME")
    };
    let name = name.or_else(|| field("ID"))?;
    let name = name.strip_suffix(" GNU/Linux").unwrap_or(&name);
    let parts = [
        Some(name.to_owned()),
        field("VERSION_ID"),
        field("VERSION_CODENAME"),
    ];
    Some(shown(
        &parts.into_iter().flatten().collect::<Vec<_>>().join(" "),
    ))
}

/// Returns `text` fit for a terminal: no control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(NAME_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{os_name, shown};

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";

    #[test]
    fn raspberry_pi_os_is_told_from_debian() {
        assert_eq!(
            os_name(BOOKWORM, true).unwrap(),
            "Raspberry Pi OS 12 bookworm"
        );
        assert_eq!(os_name(BOOKWORM, false).unwrap(), "Debian 12 bookworm");
        assert_eq!(
            os_name("NAME=LibreELEC\nVERSION_ID='11.0'", false).unwrap(),
            "LibreELEC 11.0"
        );
        assert_eq!(os_name("", false), None);
    }

    #[test]
    fn names_cannot_reach_the_terminal_with_control_characters() {
        assert_eq!(shown("pi\x1b[2Jhole\n"), "pi[2Jhole");
        assert_eq!(shown(&"x".repeat(1000)).len(), 64);
    }
}
