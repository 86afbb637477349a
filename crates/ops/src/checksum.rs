//! The SHA-256 of an image file: the one that the user gives, or that lies beside the image.
//!
//! Main type: [`Checksum`]. What lies beside an image is a hint, not a proof: an attacker who can
//! change the one can change the other. It finds a damaged download.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cardkeep_block::{Monitor, Phase, ReadAt};
use cardkeep_device::{Source, TextFile};
use sha2::{Digest, Sha256};

use crate::error::{OpError, OpErrorKind};

/// A list of sums is read up to this length, in bytes: thousands of lines.
const LIST_BYTES_MAX: u64 = 1 << 20;
/// What is read and summed at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// The digits of a SHA-256.
const DIGITS: usize = 64;

/// A checksum that an image file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    digits: String,
    /// The file that states it; `None` where the user gave it.
    stated_in: Option<PathBuf>,
}

impl Checksum {
    /// Returns the checksum that was given, or else what a file beside the image states: `IMAGE.sha256`,
    /// or `SHA256SUMS` in its folder, as sha256sum(1) of GNU coreutils and of BSD write them.
    ///
    /// # Errors
    /// [`OpErrorKind::Usage`] where what was given is no SHA-256.
    pub(crate) fn of(image: &Path, given: Option<&str>) -> Result<Option<Self>, OpError> {
        if let Some(given) = given {
            let message = format!("{given} is not a SHA-256");
            let digits = parse_digits(given).ok_or_else(|| {
                OpError::new(OpErrorKind::Usage, message).hint("give its 64 hexadecimal digits")
            })?;
            let stated_in = None;
            return Ok(Some(Self { digits, stated_in }));
        }
        let mut own = image.as_os_str().to_owned();
        own.push(".sha256");
        let lists = [PathBuf::from(own), image.with_file_name("SHA256SUMS")];
        Ok(lists
            .into_iter()
            .find_map(|list| Self::in_list(image, list)))
    }

    /// Returns what a list states of an image. One that is missing or can't be read states nothing.
    fn in_list(image: &Path, list: PathBuf) -> Option<Self> {
        let name = image.file_name()?.to_str()?;
        let bytes = TextFile::new(&list).load(LIST_BYTES_MAX).ok()??;
        let text = String::from_utf8_lossy(&bytes);
        let is_own = list.extension().is_some_and(|ending| ending == "sha256");
        let alone = || parse_digits(text.trim()).filter(|_| is_own);
        let stated = text.lines().find_map(|line| stated_of(line, name));
        Some(Self {
            digits: stated.or_else(alone)?,
            stated_in: Some(list),
        })
    }

    /// Reads all of `source`, the image file that was opened at `path`, and returns the digits of its
    /// SHA-256. The path is not looked at again: it may name another file by now.
    ///
    /// # Errors
    /// Errors of reading it.
    pub(crate) fn digits_of_file(
        &self,
        path: &Path,
        source: &Source,
        monitor: &dyn Monitor,
    ) -> Result<String, OpError> {
        let of_source = |error| OpError::of_source(path, error);
        monitor.phase(Phase::Survey, Some(source.len()));
        let mut sum = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < source.len() {
            if monitor.is_cancelled() {
                return Err(OpError::new(OpErrorKind::Interrupted, "stopped"));
            }
            // OK to cast: at most PIECE_BYTES.
            let len = (source.len() - offset).min(PIECE_BYTES as u64) as usize;
            source
                .read_at(offset, &mut piece[..len])
                .map_err(of_source)?;
            sum.update(&piece[..len]);
            offset += len as u64;
            monitor.advance(Phase::Survey, len as u64);
        }
        Ok(hex_text(&sum.finalize()))
    }

    /// Returns its hexadecimal digits, in lower case.
    pub(crate) fn digits(&self) -> &str {
        &self.digits
    }

    /// Says where it comes from: what follows "the SHA-256".
    pub(crate) fn origin(&self) -> String {
        match &self.stated_in {
            Some(list) => format!("that {} states", list.display()),
            None => "that was given".to_owned(),
        }
    }
}

/// Returns bytes in hexadecimal digits.
pub(crate) fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// Returns the digits in lower case, where it is those of a SHA-256.
fn parse_digits(text: &str) -> Option<String> {
    let is_digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digits.then(|| text.to_ascii_lowercase())
}

/// Returns the digits that a line of a list states of a file with this name: `DIGITS  NAME`,
/// `DIGITS *NAME` (GNU), or `SHA256 (NAME) = DIGITS` (BSD). A path before the name counts for nothing.
fn stated_of(line: &str, name: &str) -> Option<String> {
    let line = line.trim_end();
    let (digits, stated) = match line.strip_prefix("SHA256 (") {
        Some(rest) => {
            let (stated, digits) = rest.rsplit_once(") = ")?;
            (digits, stated)
        }
        None => {
            let (digits, stated) = line.split_at_checked(DIGITS)?;
            let stated = stated.strip_prefix(' ')?;
            (digits, stated.strip_prefix([' ', '*']).unwrap_or(stated))
        }
    };
    let last = stated.rsplit(['/', '\\']).next()?;
    (last == name).then(|| parse_digits(digits)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Checksum, stated_of};
    use crate::error::OpErrorKind;
    use cardkeep_block::Silent;
    use cardkeep_device::Source;

    /// SHA-256 of "abc": FIPS 180-4's example.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn lists_are_read_as_their_tools_write_them() {
        for line in [
            format!("{ABC}  pi.img"),
            format!("{ABC} *pi.img\r"),
            format!("{ABC}  ./images/pi.img"),
            format!("SHA256 (pi.img) = {}", ABC.to_uppercase()),
        ] {
            assert_eq!(stated_of(&line, "pi.img").as_deref(), Some(ABC), "{line}");
        }
        for line in [
            format!("{ABC}  other.img"),
            format!("{ABC}pi.img"),
            "pi.img".to_owned(),
            format!("{}é  pi.img", &ABC[1..]),
            format!("SHA256 (pi.img) {ABC}"),
        ] {
            assert_eq!(stated_of(&line, "pi.img"), None, "{line}");
        }
    }

    #[test]
    fn the_file_that_was_opened_is_summed_whatever_has_its_name_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("pi.img");
        std::fs::write(&image, "abc").unwrap();
        let sum = Checksum::of(&image, Some(ABC)).unwrap().unwrap();
        let digits = |opened| sum.digits_of_file(&image, opened, &Silent).unwrap();
        let opened = Source::open(&image).unwrap();
        std::fs::write(folder.path().join("other"), "swapped").unwrap();
        std::fs::rename(folder.path().join("other"), &image).unwrap();
        assert_eq!(digits(&opened), sum.digits());
        let swapped = Source::open(&image).unwrap();
        assert_ne!(digits(&swapped), sum.digits());
    }

    #[test]
    fn what_was_given_comes_before_what_lies_beside_an_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("pi.img");
        let found = |given| Checksum::of(&image, given).unwrap();
        assert_eq!(found(None), None);
        std::fs::write(folder.path().join("SHA256SUMS"), format!("{ABC}  pi.img\n")).unwrap();
        assert_eq!(found(None).unwrap().digits(), ABC);
        assert!(found(None).unwrap().origin().contains("SHA256SUMS"));
        // The image's own list comes first; one line of digits will do.
        let other = ABC.replace('b', "c");
        std::fs::write(folder.path().join("pi.img.sha256"), &other).unwrap();
        assert_eq!(found(None).unwrap().digits(), other);
        assert_eq!(found(Some(ABC)).unwrap().digits(), ABC);
        let error = Checksum::of(&image, Some("abc")).unwrap_err();
        assert_eq!(error.kind, OpErrorKind::Usage);
    }
}
