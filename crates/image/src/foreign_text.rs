//! Text where an image should be: error pages of web servers, greetings of login shells in front
//! of an image, notes.
//!
//! No medium begins with a line of text: boot code, superblocks and zeros do not look like one.

use crate::Format;
use crate::foreign_kind::ForeignKind;

const FETCH: &str = "the download went wrong: open the file in an editor to see why, check the \
                     address, and download the image again";
const HTML: ForeignKind = ForeignKind::new("a web page", FETCH);
const XML: ForeignKind = ForeignKind::new("an XML file", FETCH);
const JSON: ForeignKind = ForeignKind::new("a JSON file", FETCH);
const POINTER: ForeignKind = ForeignKind::new(
    "a pointer of git-lfs to the file",
    "fetch the file it points to: `git lfs pull`",
);
const SCRIPT: ForeignKind = ForeignKind::new("a script", "choose the disk image");
const ENCRYPTED: ForeignKind =
    ForeignKind::new("an encrypted or signed message", "decrypt it first");
const VMDK_DESCRIPTOR: ForeignKind = ForeignKind::new(
    "the description of a VMDK image of a virtual disk",
    "convert it first: `qemu-img convert -O raw FILE disk.img`",
);
const TEXT: ForeignKind = ForeignKind::new("a text", FETCH);
const GREETING: ForeignKind = ForeignKind::new(
    "an image with text in front of it",
    "a greeting of the login shell came first: keep the shell quiet, or copy the file and restore \
     the copy",
);

/// What a text begins with, in lower case.
const BEGINNINGS: &[(&str, ForeignKind)] = &[
    ("<!doctype html", HTML),
    ("<html", HTML),
    ("<head", HTML),
    ("<?xml", XML),
    ("<!doctype", XML),
    ("{", JSON),
    ("[{", JSON),
    ("#!", SCRIPT),
    ("# disk descriptorfile", VMDK_DESCRIPTOR),
    ("version https://git-lfs", POINTER),
    ("-----begin ", ENCRYPTED),
];

/// The longest first line that is looked at, in bytes.
const LINE_BYTES_MAX: usize = 1024;
/// Shorter first lines may be bytes of anything.
const LINE_BYTES_MIN: usize = 4;

/// Returns what kind of text `first_bytes` are; `None` where they are none.
pub(crate) fn detect(first_bytes: &[u8]) -> Option<ForeignKind> {
    let text = first_bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(first_bytes)
        .trim_ascii_start();
    let line = first_line(text)?;
    let start: String = line.chars().take(40).collect();
    let start = start.to_ascii_lowercase();
    let known = BEGINNINGS.iter().find(|(own, _)| start.starts_with(own));
    if let Some((_, kind)) = known {
        return Some(*kind);
    }
    match has_image_behind(text) {
        true => Some(GREETING),
        false => Some(TEXT),
    }
}

/// Returns the first line, where it is text.
fn first_line(text: &[u8]) -> Option<&str> {
    let end = text.iter().position(|&byte| byte == b'\n');
    // Without a line's end, all that there is must be text.
    let line = match end {
        Some(end) => &text[..end],
        None => &text[..text.len().min(LINE_BYTES_MAX)],
    };
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let line = match std::str::from_utf8(line) {
        Ok(line) => line,
        // A character may be cut at the bound.
        Err(error) if end.is_none() && error.error_len().is_none() => {
            std::str::from_utf8(&line[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    // Greetings have colours.
    let is_shown = |letter: char| !letter.is_control() || "\t\r\u{1b}".contains(letter);
    (line.trim().len() >= LINE_BYTES_MIN && line.chars().all(is_shown)).then_some(line)
}

/// Tells whether something that is not text follows some lines of text.
fn has_image_behind(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        if !is_text(&rest[..end]) {
            return true;
        }
        rest = &rest[end + 1..];
        if Format::detect(rest) != Format::Raw {
            return true;
        }
    }
    !is_text(rest)
}

/// Tells whether a line has no byte that texts don't have, whatever their encoding.
fn is_text(line: &[u8]) -> bool {
    line.iter()
        .all(|&byte| byte >= b' ' && byte != 0x7f || b"\t\r\x07\x08\x0c\x1b".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::detect;

    fn name(bytes: &[u8]) -> Option<&'static str> {
        detect(bytes).map(|kind| kind.name())
    }

    #[test]
    fn texts_are_told_apart() {
        for (text, expected) in [
            ("<!DOCTYPE html><html><body>404", "a web page"),
            ("\u{feff}\n\n<html>\n", "a web page"),
            ("<?xml version=\"1.0\"?>\n<Error>", "an XML file"),
            ("{\"message\": \"Not Found\"}", "a JSON file"),
            ("#!/bin/sh\necho", "a script"),
            ("404: Not Found", "a text"),
            ("Grüße vom Server\n", "a text"),
            (
                "# Disk DescriptorFile\nversion=1\n",
                "the description of a VMDK image of a virtual disk",
            ),
            (
                "version https://git-lfs.github.com/spec/v1\noid",
                "a pointer of git-lfs to the file",
            ),
        ] {
            assert_eq!(name(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn an_image_behind_a_greeting_is_found_compressed_or_not() {
        for image in [
            &b"\x28\xb5\x2f\xfd\x04"[..],
            b"\xeb\x58\x90mkfs.fat\0\x02",
            &[0; 512],
        ] {
            let sent = [
                &b"\x1b[1mWelcome\x1b[0m to nas\nLast login: today\r\n"[..],
                image,
            ]
            .concat();
            assert_eq!(name(&sent), Some("an image with text in front of it"));
        }
    }

    #[test]
    fn boot_code_and_superblocks_are_no_text() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\n\n\n",
            b"ab\n",
            b"\xeb\x58\x90mkfs.fat",
            b"3\xc0\x8e\xd0\n",
            b"XFSB\0\0\x10\0",
            b"RKNS\0\0\0\0\n",
            &[0; 512],
        ] {
            assert_eq!(name(bytes), None, "{bytes:?}");
        }
    }
}
