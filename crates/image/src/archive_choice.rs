//! Which member of a zip or tar archive is the image: the only one named like an image, or else the
//! only large one.

use crate::Error;
use crate::error::{ArchiveKind, UnsupportedKind};

/// What is known not to be an image by its name comes with images often: notes and checksums.
const COMPANION_EXTENSIONS: &[&str] = &[
    "asc", "bmap", "htm", "html", "jpg", "json", "log", "md", "md5", "pdf", "png", "rtf", "sha1",
    "sha256", "sha512", "sig", "txt", "url", "xml", "zsync",
];
const IMAGE_EXTENSIONS: &[&str] = &["dd", "img", "iso", "raw", "sdcard", "sdimg", "wic"];
/// Files that the firmware of a Raspberry Pi loads from a FAT filesystem (the documentation's
/// "Boot folder contents" and "EEPROM boot flow"), in lower case.
const FAT_FILES: &[&str] = &[
    "bootcode.bin",
    "pieeprom.bin",
    "pieeprom.sig",
    "pieeprom.upd",
    "recovery.bin",
    "recovery.rfs",
    "start.elf",
    "start4.elf",
    "vl805.bin",
];
/// What begins so, and is named like an image, is a kernel or an initial filesystem.
const KERNEL_BEGINNINGS: &[&str] = &[
    "initramfs",
    "initrd",
    "kernel",
    "recovery",
    "uboot",
    "zimage",
];
/// Folders of a root filesystem (the Filesystem Hierarchy Standard, section 3).
const ROOT_FOLDERS: &[&str] = &[
    "bin", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys",
    "usr", "var",
];
/// An archive with these is no archive of an image, whatever else is in it.
const ROOT_FOLDERS_MIN: usize = 3;
/// The smallest system for a card is larger by far, a note about it smaller.
const UNNAMED_BYTES_MIN: u64 = 1 << 20;

/// How much a member looks like the image, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Likeness {
    /// A folder, a note, or too small.
    None,
    /// It may be an image by its length.
    Length,
    /// It is named like one.
    Name,
}

/// Tells how much a member of this name and length in bytes, where it is known, looks like the
/// image.
pub(crate) fn likeness(name: &str, content_len: Option<u64>) -> Likeness {
    // Some writers on Windows put backslashes.
    let mut parts: Vec<&str> = name.split(['/', '\\']).collect();
    let file_name = parts.pop().unwrap_or_default();
    // macOS lays what its filesystem knows of a file beside it.
    let is_of_macos = parts.contains(&"__MACOSX") || file_name.starts_with("._");
    if file_name.is_empty() || is_of_macos || file_name == ".DS_Store" || content_len == Some(0) {
        return Likeness::None;
    }
    let extension = file_name
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension);
    let is_one_of = |known: &[&str]| known.iter().any(|own| own.eq_ignore_ascii_case(extension));
    let lower_name = file_name.to_ascii_lowercase();
    let begins_so = |own: &&str| lower_name.starts_with(*own);
    if FAT_FILES.contains(&lower_name.as_str()) || KERNEL_BEGINNINGS.iter().any(begins_so) {
        return Likeness::None;
    }
    if is_one_of(IMAGE_EXTENSIONS) {
        return Likeness::Name;
    }
    let is_large = content_len.is_none_or(|len| len >= UNNAMED_BYTES_MIN);
    if is_large && !is_one_of(COMPANION_EXTENSIONS) {
        return Likeness::Length;
    }
    Likeness::None
}

/// The members that look most like the image so far.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    likeness: Option<Likeness>,
    names: Vec<String>,
    is_settled: bool,
    has_fat_files: bool,
    has_etc: bool,
    root_folders: Vec<&'static str>,
}

/// So many are named in an error, and so much of each name in characters.
const NAMES_MAX: usize = 4;
const NAME_CHARS_MAX: usize = 80;

impl Candidates {
    /// Takes a member into account; tells whether none looked as much like the image before.
    pub(crate) fn add(&mut self, name: &str, likeness: Likeness) -> bool {
        self.look_at(name);
        if likeness == Likeness::None || Some(likeness) < self.likeness {
            return false;
        }
        let is_best = Some(likeness) > self.likeness;
        if is_best && !self.is_settled {
            self.likeness = Some(likeness);
            self.names.clear();
        }
        if self.names.len() < NAMES_MAX {
            self.names.push(printable(name));
        }
        is_best
    }

    /// Takes the best one so far for the image: whatever is as good or better makes two of them.
    pub(crate) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Notices members that tell what the archive is for.
    fn look_at(&mut self, name: &str) {
        let mut parts = name.split('/').filter(|part| !["", "."].contains(part));
        let first = parts.next().unwrap_or_default();
        let is_in_folder = parts.next().is_some() || name.ends_with('/');
        let lower = first.to_ascii_lowercase();
        self.has_fat_files |= !is_in_folder && FAT_FILES.contains(&lower.as_str());
        self.has_etc |= is_in_folder && first == "etc";
        let folder = ROOT_FOLDERS
            .iter()
            .find(|own| is_in_folder && **own == first);
        if let Some(folder) = folder.filter(|own| !self.root_folders.contains(own)) {
            self.root_folders.push(folder);
        }
    }

    /// Returns why there is not just one; `None` where there is.
    pub(crate) fn failure(&self) -> Option<ArchiveKind> {
        let is_named = self.likeness == Some(Likeness::Name);
        if self.root_folders.len() >= ROOT_FOLDERS_MIN || self.has_etc && !is_named {
            return Some(ArchiveKind::RootTree);
        }
        if self.has_fat_files && !is_named {
            return Some(ArchiveKind::FatFiles);
        }
        match self.names.len() {
            0 => Some(ArchiveKind::NoImage),
            1 => None,
            _ => Some(ArchiveKind::Images(self.names.clone())),
        }
    }

    /// Tells that there is just one in a zip archive.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is none, or more than one, with their names.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.failure() {
            Some(kind) => Err(Error::unsupported(UnsupportedKind::Zip(kind))),
            None => Ok(()),
        }
    }
}

/// Returns the beginning of a member's name without what would move the cursor of a terminal.
pub(crate) fn printable(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().take(NAME_CHARS_MAX).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::{Candidates, Likeness, likeness};
    use crate::Error;

    #[test]
    fn names_and_lengths_tell_the_image() {
        for (name, len, expected) in [
            ("pi.img", Some(5), Likeness::Name),
            ("folder/PI.IMG", None, Likeness::Name),
            ("folder\\pi.wic", None, Likeness::Name),
            ("pi.img", Some(0), Likeness::None),
            ("folder.img/", None, Likeness::None),
            ("__MACOSX/._pi.img", Some(5 << 20), Likeness::None),
            ("__MACOSX/pi.img", Some(5 << 20), Likeness::None),
            ("folder/.DS_Store", Some(5 << 20), Likeness::None),
            ("pi.img.sha256", None, Likeness::None),
            ("README.txt", Some(5 << 20), Likeness::None),
            ("firmware.bin", Some(1000), Likeness::None),
            ("card.bin", Some(5 << 20), Likeness::Length),
            ("-", None, Likeness::Length),
            ("", Some(5 << 20), Likeness::None),
            ("kernel8.img", Some(9 << 20), Likeness::None),
            ("recovery.img", Some(5 << 20), Likeness::None),
            ("pieeprom.bin", Some(2 << 20), Likeness::None),
        ] {
            assert_eq!(likeness(name, len), expected, "{name}");
        }
    }

    fn check(members: &[(&str, Likeness)]) -> Result<(), Error> {
        let mut candidates = Candidates::default();
        for (name, likeness) in members {
            candidates.add(name, *likeness);
        }
        candidates.check()
    }

    #[test]
    fn the_image_must_be_the_only_one_of_its_kind() {
        let (name, length) = (Likeness::Name, Likeness::Length);
        check(&[("a.bin", length), ("b.bin", length), ("c.img", name)]).unwrap();
        check(&[("c.img", name), ("b.bin", length)]).unwrap();
        let error = check(&[("a.img", name), ("b", length), ("c\x1b.img", name)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the zip archive holds more than one image: a.img, c\u{fffd}.img"
        );
        check(&[("bootcode.bin", Likeness::None), ("c.img", name)]).unwrap();
        let error = check(&[("pieeprom.bin", Likeness::None), ("b", length)]).unwrap_err();
        assert!(error.to_string().contains("FAT"), "{error}");
        let root = [("./etc/", Likeness::None), ("./boot/b", length)];
        let error = check(&root).unwrap_err();
        assert!(error.to_string().contains("root filesystem"), "{error}");
        let error = check(&[("b", Likeness::None)]).unwrap_err();
        assert_eq!(error.to_string(), "the zip archive holds no image");
    }
}
