//! What a file or a stream is taken for: decided here for every verb, before anything is made of
//! it. Whatever is no container would otherwise be taken for the sectors of a card.
//!
//! [`admit`] decides how a file is read; [`check_content`] whether what is in it may be written.

use std::path::Path;
use std::sync::Arc;

use cardkeep_block::{ReadAt, path_text};
use cardkeep_copy::{decoded, read_content};
use cardkeep_device::Source;
use cardkeep_image::{
    ForeignKind, Format, FrameReader, Index, detect_foreign, load_foreign, load_index,
};
use cardkeep_survey::{Recognised, recognise};

use crate::error::{OpError, OpErrorKind};
use crate::image_name::check_named_raw;

/// Which content may be written to cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRule {
    /// What is known to be the content of a disk.
    Known,
    /// Anything: the user says so.
    Any,
}

/// How an image file is read.
pub(crate) enum Admitted {
    /// It is the medium's bytes.
    Raw,
    /// It has an index: any place can be had.
    Indexed(Box<Index>),
    /// From its beginning on.
    Stream(Format),
}

/// What a file or a stream is by its bytes: the container, and the name of a kind that is no image. The one
/// place that asks the tables of the image crate.
pub(crate) struct Detected {
    /// The container; raw where it is none that is known.
    pub(crate) format: Format,
    /// What it is, where that is no image; a container that was damaged on its way, too.
    pub(crate) foreign: Option<ForeignKind>,
}

impl Detected {
    /// Tells it by the first bytes, at most [`ForeignKind::DETECT_BYTES`] of which are looked at.
    pub(crate) fn from_head(head: &[u8]) -> Self {
        let head = &head[..head.len().min(ForeignKind::DETECT_BYTES)];
        Self {
            format: Format::detect(head),
            foreign: detect_foreign(head),
        }
    }

    /// Tells it by the first and the last bytes of the file at `path`.
    ///
    /// # Errors
    /// [`OpError`] where it can't be read.
    pub(crate) fn load(path: &Path, source: &Source) -> Result<Self, OpError> {
        let len = source.len().min(Format::DETECT_BYTES as u64) as usize;
        let head = source
            .read_vec(0, len)
            .map_err(|error| OpError::of_source(path, error))?;
        Ok(Self {
            format: Self::from_head(&head).format,
            foreign: load_foreign(source).map_err(|error| OpError::of_image(path, error))?,
        })
    }

    /// Refuses what is of another kind.
    ///
    /// # Errors
    /// [`OpErrorKind::Corrupt`].
    pub(crate) fn expect_no_foreign(&self, path: &Path) -> Result<(), OpError> {
        match self.foreign {
            Some(kind) => Err(foreign_error(&path_text(path).to_string(), kind)),
            None => Ok(()),
        }
    }
}

/// Decides how the file at `path` is read, or refuses it by the name of its kind.
///
/// # Errors
/// [`OpErrorKind::Corrupt`] for a file of another kind, and for one that its name calls something
/// else; as [`load_index`].
pub(crate) fn admit(
    path: &Path,
    source: &Arc<Source>,
    rule: ContentRule,
) -> Result<Admitted, OpError> {
    let of_image = |error| OpError::of_image(path, error);
    let detected = Detected::load(path, source)?;
    let format = detected.format;
    let is_own_layer = format == Format::Raw && rule == ContentRule::Any;
    if !is_own_layer {
        detected.expect_no_foreign(path)?;
    }
    if format == Format::Raw {
        check_named_raw(path)?;
        return Ok(Admitted::Raw);
    }
    match load_index(source).map_err(of_image)? {
        // What this program made is the content of a card, whatever it looks like.
        Some(index) if index.manifest.is_some() => Ok(Admitted::Indexed(Box::new(index))),
        index => {
            check_inside(path, (source, format), rule)?;
            match index.filter(|index| !is_packed_again(source, index)) {
                Some(index) => Ok(Admitted::Indexed(Box::new(index))),
                None => Ok(Admitted::Stream(format)),
            }
        }
    }
}

/// Decodes the beginning of what is in a container, all layers of it, and refuses what is of
/// another kind. A decoder that can't do it fails here, too, before anything is made of it.
fn check_inside(
    path: &Path,
    (source, format): (&Arc<Source>, Format),
    rule: ContentRule,
) -> Result<(), OpError> {
    let file = Arc::clone(source) as Arc<dyn ReadAt>;
    let (mut content, _) = decoded(file, format).map_err(|error| OpError::of_image(path, error))?;
    let mut head = vec![0; ForeignKind::DETECT_BYTES];
    let len = read_content(&mut *content, &mut head)
        .map_err(|error| OpError::of_copy(path, path, error))?;
    match rule {
        ContentRule::Known => match Detected::from_head(&head[..len]).foreign {
            Some(kind) => Err(foreign_inside(path, kind)),
            None => Ok(()),
        },
        ContentRule::Any => Ok(()),
    }
}

/// Tells whether an image with an index holds another container, which can be unpacked in passing
/// only.
fn is_packed_again(source: &Arc<Source>, index: &Index) -> bool {
    // Frames that memory can't hold one of are decoded in passing anyway.
    let Ok(reader) = FrameReader::new(source, index.clone()) else {
        return true;
    };
    let len = reader.len().min(Format::DETECT_BYTES as u64) as usize;
    let head = reader.read_vec(0, len);
    head.is_ok_and(|head| Detected::from_head(&head).format != Format::Raw)
}

/// Refuses content that begins with `head` and is none of a disk, and returns what the user should know of
/// one that is; `name` says where it comes from.
///
/// # Errors
/// [`OpErrorKind::Corrupt`] for content of another kind, [`OpErrorKind::Refused`] for content
/// that is not known, unless `rule` allows it.
pub(crate) fn check_head(
    name: &str,
    head: &[u8],
    rule: ContentRule,
) -> Result<Vec<String>, OpError> {
    if let Some(kind) = Detected::from_head(head).foreign {
        return match rule {
            ContentRule::Known => Err(foreign_error(name, kind)),
            ContentRule::Any => Ok(vec![format!("it is {}, not a disk", kind.name())]),
        };
    }
    let what = match recognise(head) {
        Recognised::Table | Recognised::BootCode => return Ok(Vec::new()),
        Recognised::Filesystem(fs) => {
            return Ok(vec![format!(
                "there is no partition table: it is one filesystem ({fs}), perhaps of one partition \
                 only, and most computers won't boot it"
            )]);
        }
        Recognised::Zeros => "it begins with nothing but zeros".to_owned(),
        Recognised::Unknown => {
            "it has no known partition table, filesystem or boot code".to_owned()
        }
    };
    if rule == ContentRule::Any {
        return Ok(vec![what]);
    }
    let message = format!("{name} does not look like a disk image: {what}");
    let error = OpError::new(OpErrorKind::Refused, message);
    let error = match has_changed_line_ends(head) {
        true => error.hint(
            "line ends were changed on the way (LF became CR LF), as `ssh -t` does: leave out -t",
        ),
        false => error.hint("check that it is the right file, complete and unpacked"),
    };
    Err(error.hint("--allow-unknown-content writes it anyway"))
}

/// A boot sector and superblocks have few line feeds, and none of them behind a carriage return.
const LINE_ENDS_MIN: usize = 4;

fn has_changed_line_ends(head: &[u8]) -> bool {
    let ends: Vec<u8> = head
        .windows(2)
        .filter(|pair| pair[1] == b'\n')
        .map(|pair| pair[0])
        .collect();
    ends.len() >= LINE_ENDS_MIN && ends.iter().all(|&before| before == b'\r')
}

/// Returns the error of a file, or of content, that is of another kind.
fn foreign_error(name: &str, kind: ForeignKind) -> OpError {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let advice = kind.advice().replace("FILE", name).replace("STEM", stem);
    not_a_disk(name, kind).hint(advice)
}

/// Returns the error of a container that holds content of another kind. What the advice does to a
/// file, it does to the one inside.
fn foreign_inside(path: &Path, kind: ForeignKind) -> OpError {
    let error = not_a_disk(&path_text(path).to_string(), kind);
    let error = match kind.advice().contains("FILE") {
        true => error.hint("unpack it first; FILE is what you find in it"),
        false => error,
    };
    error.hint(kind.advice())
}

fn not_a_disk(name: &str, kind: ForeignKind) -> OpError {
    let message = format!("{name} is not a disk image: it is {}", kind.name());
    OpError::new(OpErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::{ContentRule, check_head};
    use crate::OpErrorKind;

    #[test]
    fn unknown_content_takes_a_word_and_foreign_kinds_are_named() {
        let text = b"<html>404</html>";
        let error = check_head("x.img", text, ContentRule::Known).unwrap_err();
        assert_eq!(error.kind, OpErrorKind::Corrupt);
        assert_eq!(error.message, "x.img is not a disk image: it is a web page");
        for head in [vec![0; 4096], vec![7; 4096]] {
            let error = check_head("x.img", &head, ContentRule::Known).unwrap_err();
            assert_eq!(error.kind, OpErrorKind::Refused);
            let hint = &error.hints.last().unwrap().0;
            assert!(hint.contains("--allow-unknown-content"), "{hint}");
            let notes = check_head("x.img", &head, ContentRule::Any).unwrap();
            assert_eq!(notes.len(), 1);
        }
    }

    #[test]
    fn line_ends_that_a_terminal_changed_are_told() {
        let head = b"\x01\x02ab\r\n\x03\x04cd\r\n\x05\r\n\x06\r\n\x07\x08".repeat(3);
        let error = check_head("standard input", &head, ContentRule::Known).unwrap_err();
        assert!(error.hints[0].0.contains("ssh -t"), "{:?}", error.hints);
    }
}
