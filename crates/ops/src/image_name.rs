//! Names of images: one for those that the user did not name, and what a name promises.

use std::path::{Path, PathBuf};

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
        "{} is named like an image in .{}, and holds none",
        path.display(),
        format.extension()
    );
    Err(OpError::new(OpErrorKind::Corrupt, why).hint("is it whole? fetch or make it again"))
}

#[cfg(test)]
mod tests {
    use super::{free_name, tame};

    #[test]
    fn a_host_name_cannot_leave_the_folder() {
        assert_eq!(tame("../../etc/passwd"), "etc-passwd");
        assert_eq!(tame("pi hole"), "pi-hole");
        assert_eq!(tame("/"), "card");
        let name = free_name(Some("pihole"), "2026-11-22", "img.zst");
        assert_eq!(name.to_str(), Some("pihole-2026-11-22.img.zst"));
    }
}
