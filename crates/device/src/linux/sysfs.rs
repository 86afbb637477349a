//! Attributes of sysfs: one value per file, as text.

use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

/// No attribute is longer than a page (sysfs, "Attributes"); what claims to be is cut.
const ATTRIBUTE_BYTES_MAX: usize = 4096;

/// Returns an attribute's text without the blanks around it; `None` where there is none or it is
/// empty. Bytes that are no text, or that a terminal would obey, become `?`: hardware says what
/// it likes.
pub(super) fn text(folder: &Path, name: &str) -> Option<String> {
    // Not every device has every attribute.
    clean(&std::fs::read(folder.join(name)).ok()?)
}

/// Returns bytes from hardware as one line of printable text, `None` where nothing is left.
pub(super) fn clean(bytes: &[u8]) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(ATTRIBUTE_BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let printable = |c: char| match c {
        '\u{fffd}' => '?',
        c if c.is_control() => '?',
        // Marks that turn the direction of text around could make one device look like another.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c => c,
    };
    (!text.is_empty()).then(|| text.chars().map(printable).collect())
}

/// Returns an attribute's number; where it is there but is no number, or can't be read, a note
/// says so.
pub(super) fn number<T: FromStr>(folder: &Path, name: &str, notes: &mut Vec<String>) -> Option<T> {
    let bytes = match std::fs::read(folder.join(name)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("its {name} could not be read: {error}"));
            return None;
        }
    };
    let text = clean(&bytes).unwrap_or_default();
    let number = text.parse().ok();
    if number.is_none() {
        notes.push(format!("its {name} is not a number: {text:?}"));
    }
    number
}

/// Returns the names in a folder, sorted; none where it can't be read.
pub(super) fn names(folder: &Path) -> Vec<String> {
    // A folder that is not there and one without entries mean the same here.
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn what_hardware_says_cannot_drive_a_terminal() {
        let cleaned = clean(b"  SD\x1b[2J Card\xff \n").unwrap();
        assert_eq!(cleaned, "SD?[2J Card?");
        assert_eq!(clean("a\u{202e}b".as_bytes()).unwrap(), "a?b");
        assert_eq!(clean(b" \n\0"), None);
    }
}
