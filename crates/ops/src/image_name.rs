//! Names of images: one for those that the user did not name, and what a name promises.

use std::path::{Path, PathBuf};

use cardkeep_block::path_text;
use cardkeep_image::Format;

use crate::error::{OpError, OpErrorKind};

/// Returns `<hostname>-<date>.img.zst` in the current folder, with a number where that is taken.
pub(crate) fn free_name(hostname: Option<&str>, date: &str, extension: &str) -> PathBuf {
    let host = hostname.map_or_else(|| "card".to_owned(), tame);
    let name = |suffix: &str| PathBuf::from(format!("{host}-{date}{suffix}.{extension}"));
    let mut candidate = name("");
    for number in 2..1000 {
        if !candidate.exists() {
            break;
        }
        candidate = name(&format!("-{number}"));
    }
    candidate
}

/// Host names come from the card: only letters, digits, `-` and `_` reach a file name.
fn tame(hostname: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let tamed: String = hostname.chars().take(40).map(keep).collect();
    match tamed.trim_matches('-') {
        "" => "card".to_owned(),
        tamed => tamed.to_owned(),
    }
}

/// Refuses a file that holds no container although its name says so: it is no raw image either.
pub(crate) fn check_named_raw(path: &Path) -> Result<(), OpError> {
    let Some(format) = Format::from_name(path).filter(|format| *format != Format::Raw) else {
        return Ok(());
    };
    let why = format!(
        "{} is named like an image in .{}, but does not hold one",
        path_text(path),
        format.extension()
    );
    Err(OpError::new(OpErrorKind::Corrupt, why)
        .hint("check that it is complete; download or make it again"))
}

/// Refuses to make an image of a format that its name contradicts: programs that read it, this one
/// among them, take the name for a promise.
pub(crate) fn check_format_named(path: &Path, format: Format) -> Result<(), OpError> {
    let named = Format::from_name(path);
    if named.is_none_or(|named| named == format) {
        return Ok(());
    }
    let message = format!(
        "{} is not a name for an image in the format {}",
        path_text(path),
        format.extension()
    );
    let hint = format!(
        "end its name in .{}, or leave out --format",
        format.extension()
    );
    Err(OpError::new(OpErrorKind::Usage, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::{check_format_named, free_name, tame};
    use cardkeep_image::Format;
    use std::path::Path;

    #[test]
    fn a_name_and_a_format_must_agree_where_the_name_says_anything() {
        for (name, format, agrees) in [
            ("pi.img.zst", Format::Raw, false),
            ("pi.img", Format::Zstd, false),
            ("pi.img.gz", Format::Xz, false),
            ("pi.zip", Format::Raw, false),
            ("pi.img.zst", Format::Zstd, true),
            ("pi.img", Format::Raw, true),
            ("pi.backup", Format::Raw, true),
            ("pi", Format::Zstd, true),
        ] {
            let found = check_format_named(Path::new(name), format).is_ok();
            assert_eq!(found, agrees, "{name} {format:?}");
        }
    }

    #[test]
    fn a_host_name_cannot_leave_the_folder() {
        assert_eq!(tame("../../etc/passwd"), "etc-passwd");
        assert_eq!(tame("pi hole"), "pi-hole");
        assert_eq!(tame("/"), "card");
        let name = free_name(Some("pihole"), "2026-11-22", "img.zst");
        assert_eq!(name.to_str(), Some("pihole-2026-11-22.img.zst"));
    }
}
