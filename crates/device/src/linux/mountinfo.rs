//! The mount table: `/proc/self/mountinfo`, as proc_pid_mountinfo(5) describes it.
//!
//! ```text
//! 36 35 8:2 /sub /mnt/card rw,noatime master:1 - ext4 /dev/sda2 rw,errors=continue
//! id parent dev root target options  tags...  - type source super-options
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::device::Mount;

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountEntry {
    /// The device's number, `major:minor`; major 0 for filesystems without one device.
    pub(super) number: String,
    /// What the floors above see of it.
    pub(super) mount: Mount,
    /// The options of the filesystem, unescaped, comma-separated: overlays tell their folders here.
    pub(super) super_options: String,
}

/// Returns the mount table's entries in the order of mounting, and the number of lines that could
/// not be understood.
pub(super) fn parse(table: &[u8]) -> (Vec<MountEntry>, usize) {
    let lines = table
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let mut unclear = 0;
    let entries = lines.filter_map(|line| {
        let entry = parse_line(line);
        unclear += usize::from(entry.is_none());
        entry
    });
    (entries.collect(), unclear)
}

/// Returns the entry; `None` for a line that is no such one, which the caller counts.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let number = String::from_utf8(fields.nth(2)?.to_vec()).ok()?;
    let (major, minor) = number.split_once(':')?;
    major.parse::<u32>().ok()?;
    minor.parse::<u32>().ok()?;
    let target = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let options = text(fields.next()?);
    fields.find(|field| *field == b"-")?;
    let fs_type = text(fields.next()?);
    let source = text(fields.next()?);
    let super_options = text(fields.next().unwrap_or_default());
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(MountEntry {
        number,
        mount: Mount {
            source,
            target,
            fs_type,
            read_only: is_read_only(&options) || is_read_only(&super_options),
        },
        super_options,
    })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Decodes the octal escapes of blanks and backslashes: `\040` is a space.
pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
            }
            _ => None,
        };
        decoded.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    decoded
}

/// Returns the index of the target that a path lies on: the last among the longest.
pub(super) fn deepest<'a>(targets: impl Iterator<Item = &'a Path>, path: &Path) -> Option<usize> {
    let holding = targets
        .enumerate()
        .filter(|(_, target)| path.starts_with(target));
    let deepest = holding.max_by_key(|(_, target)| target.as_os_str().len());
    deepest.map(|(index, _)| index)
}

impl MountEntry {
    /// Returns the folders that an overlay is laid from; none for other filesystems.
    pub(super) fn overlay_folders(&self) -> Vec<PathBuf> {
        if self.mount.fs_type != "overlay" {
            return Vec::new();
        }
        let options = self.super_options.split(',');
        let folders = options.filter_map(|option| {
            let (key, value) = option.split_once('=')?;
            // `lowerdir+` and `datadir+` are the kernel's names since 6.5, one option per folder.
            matches!(key, "lowerdir" | "upperdir" | "lowerdir+" | "datadir+").then_some(value)
        });
        folders
            .flat_map(|value| value.split(':'))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{deepest, parse, unescape};
    use proptest::prelude::{any, prop, proptest};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_line_is_taken_apart_by_its_separator() {
        let table =
            b"36 35 8:2 / /mnt/my\\040card rw,noatime master:1 shared:2 - ext4 /dev/sda2 ro\n";
        let (entries, unclear) = parse(table);
        assert_eq!(unclear, 0);
        assert_eq!(entries[0].number, "8:2");
        assert_eq!(entries[0].mount.target, PathBuf::from("/mnt/my card"));
        assert_eq!(entries[0].mount.fs_type, "ext4");
        assert_eq!(entries[0].mount.source, "/dev/sda2");
        assert!(entries[0].mount.read_only);
    }

    #[test]
    fn lines_that_are_none_are_counted() {
        let table = b"nonsense\n36 35 8 / / rw - ext4 a rw\n36 35 8:x / / rw - ext4 a rw\n1 1 8:1 / / rw no-separator\n";
        let (entries, unclear) = parse(table);
        assert_eq!((entries.len(), unclear), (0, 4));
    }

    #[test]
    fn escapes_are_decoded_and_others_left() {
        assert_eq!(unescape(b"a\\040b\\134c\\011"), b"a b\\c\t");
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\777\\"), b"\\777\\");
    }

    #[test]
    fn a_path_lies_on_the_last_of_the_deepest_mounts() {
        let targets = ["/", "/mnt", "/mnt", "/home"];
        let index = |path: &str| deepest(targets.iter().map(Path::new), Path::new(path));
        assert_eq!(index("/mnt/image"), Some(2));
        assert_eq!(index("/mntx"), Some(0));
        assert_eq!(deepest(std::iter::empty(), Path::new("/")), None);
    }

    #[test]
    fn overlays_tell_their_folders() {
        let table = b"27 1 0:24 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro:/a\\040b,upperdir=/media/root-rw/overlay,workdir=/w\n";
        let folders = parse(table).0[0].overlay_folders();
        assert_eq!(
            folders,
            ["/media/root-ro", "/a b", "/media/root-rw/overlay"].map(PathBuf::from)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(table in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&table);
            unescape(&table);
        }
    }
}
