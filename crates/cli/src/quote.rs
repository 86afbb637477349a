//! Quoting of text from outside: what a terminal, a page or an eye would obey or not see stands in
//! escapes, as GNU `ls -b` writes them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Tells whether a character acts on what shows it, or doesn't show: control characters, and what
/// Unicode calls format characters, line and paragraph separators and default ignorables
/// (`DerivedCoreProperties.txt` and `extracted/DerivedGeneralCategory.txt` of Unicode 16).
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xAD | 0x34F | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2
                | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
                | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF
                | 0xFFA0 | 0xFFF0..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F
                | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF
        )
}

/// Returns `text` with every character that acts or doesn't show in escapes: `\n`, and the bytes
/// of others in octal, `\033`.
pub(crate) fn quoted(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if is_unseen(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string can't fail.
                    write!(safe, "\\{byte:03o}").unwrap_or_default();
                }
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Returns `text` fit for an HTML or SVG page.
pub(crate) fn markup(text: &str) -> String {
    let mut safe = String::new();
    for c in quoted(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Returns the same JSON with what `quoted` escapes as `\u` escapes: such characters stand in strings
/// only, so the value stays.
pub(crate) fn json_text(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unseen(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // As above.
                write!(safe, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Returns a word as a shell takes it: plain, in quotes, or, where it holds what acts or is no UTF-8,
/// as `$'\033'`.
pub(crate) fn shell_word(word: &std::ffi::OsStr) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.chars().any(is_unseen) => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => {
            let mut quoted = String::from("$'");
            for &byte in word.as_encoded_bytes() {
                match byte {
                    b'\'' | b'\\' => quoted.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => quoted.push(char::from(byte)),
                    _ => write!(quoted, "\\{byte:03o}").unwrap_or_default(),
                }
            }
            quoted + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{json_text, markup, quoted, shell_word};
    use std::ffi::OsStr;

    #[test]
    fn what_acts_or_does_not_show_is_quoted() {
        let cases = [
            ("pi.img", "pi.img"),
            ("Käse ❤ 日本 'a' \\n", "Käse ❤ 日本 'a' \\n"),
            ("a\x1b[31m", "a\\033[31m"),
            ("a\nDone\r\t", "a\\nDone\\r\\t"),
            ("\x7f\u{9b}2J", "\\177\\302\\2332J"),
            ("a\u{202e}b\u{2066}", "a\\342\\200\\256b\\342\\201\\246"),
            ("\u{200b}\u{feff}", "\\342\\200\\213\\357\\273\\277"),
            ("\u{2028}", "\\342\\200\\250"),
            ("\u{e0041}", "\\363\\240\\201\\201"),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn names_from_cards_are_no_markup() {
        assert_eq!(
            markup("<b>\"a\"&'\x1b\u{202e}"),
            "&lt;b&gt;&quot;a&quot;&amp;&#39;\\033\\342\\200\\256"
        );
    }

    #[test]
    fn json_keeps_its_value_where_it_is_escaped() {
        let value = serde_json::json!({ "a": "\x1b\u{9b}\u{202e}\u{e0041}\u{7f}é" });
        let text = json_text(&value.to_string());
        assert!(text.chars().all(|c| !super::is_unseen(c)), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn words_can_be_pasted_into_a_shell() {
        assert_eq!(shell_word(OsStr::new("/dev/sdb")), "/dev/sdb");
        assert_eq!(shell_word(OsStr::new("my pi's.img")), "'my pi'\\''s.img'");
        assert_eq!(shell_word(OsStr::new("a\nb'")), "$'a\\012b\\''");
    }

    #[cfg(unix)]
    #[test]
    fn words_that_are_no_utf8_can_be_pasted_too() {
        use std::os::unix::ffi::OsStrExt;
        let word = OsStr::from_bytes(b"x\xff.img");
        assert_eq!(shell_word(word), "$'x\\377.img'");
    }
}
