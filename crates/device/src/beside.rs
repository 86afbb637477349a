//! Names of the files that lie beside an image: its name and an ending.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The longest name of a file in bytes on the filesystems that images lie on: `NAME_MAX`, limits.h(0p).
const NAME_BYTES_MAX: usize = 255;
/// What marks a name that was cut, and the digits of the hash of the whole of it.
const MARK_BYTES: usize = 1 + 16;

/// Returns the path of the file beside `path` whose name ends in `ending`: `card.img.partial`. A name
/// that would be too long is cut, and a hash of the whole name keeps it apart from others that were
/// cut; it is the same one each time, so that a later run finds it.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    if name.len() + ending.len() <= NAME_BYTES_MAX {
        let mut whole = OsString::from(path);
        whole.push(ending);
        return PathBuf::from(whole);
    }
    let room = NAME_BYTES_MAX - MARK_BYTES - ending.len();
    let mut cut = cut(name, room);
    cut.push(format!("~{:016x}{ending}", hash(name)));
    path.with_file_name(cut)
}

/// Returns as many whole characters of a name as fit.
fn cut(name: &OsStr, bytes_max: usize) -> OsString {
    let mut kept = String::new();
    for letter in name.to_string_lossy().chars() {
        if kept.len() + letter.len_utf8() > bytes_max {
            break;
        }
        kept.push(letter);
    }
    OsString::from(kept)
}

/// Returns the 64-bit FNV-1a hash (draft-eastlake-fnv, section 2): the same in every version of this
/// program, as a later one has to find what an earlier one left.
fn hash(name: &OsStr) -> u64 {
    name.as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::beside;
    use std::path::Path;

    #[test]
    fn names_that_would_be_too_long_are_cut_and_kept_apart() {
        let short = beside(Path::new("a/card.img"), ".partial");
        assert_eq!(short, Path::new("a/card.img.partial"));
        for letter in ["x", "ü", "字"] {
            let name = |last: &str| format!("{}{last}", letter.repeat(250 / letter.len()));
            let (one, other) = (name("1.img"), name("2.img"));
            let names =
                [one, other].map(|name| beside(Path::new(&format!("a/{name}")), ".partial"));
            assert_ne!(names[0], names[1]);
            for name in names {
                assert_eq!(name.parent(), Some(Path::new("a")));
                let name = name.file_name().unwrap().to_str().unwrap();
                assert!(name.len() <= 255 && name.ends_with(".partial"), "{name}");
            }
        }
    }
}
