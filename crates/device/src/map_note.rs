//! What a mapfile says of itself in its first line: who made it, and whether its image has its name yet.
//!
//! ```text
//!   # Mapfile of ... Created by TOOL                        of the image that has the name
//!   # Mapfile of ... Created by TOOL, replacing             of one that is being made, and will replace
//!                                                           the one that has the name
//!   # Mapfile of ... Created by TOOL, replacing LEN@TIME    of one that is made, and replaces the one
//!                                                           of this length and time of change
//! ```
//!
//! The last line tells the image of the map from the one that it replaces after a crash at any moment:
//! only one of them has that length and time.

use std::borrow::Cow;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// What stands before the maker's name.
const MADE_BY: &str = "Created by ";
/// Stands behind it while another image has the name.
const REPLACING: &str = ", replacing";

/// Which image a map describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOf {
    /// The one that has the name, or the one that is being made where none has.
    Image,
    /// One that is to replace the one that has the name.
    Next,
}

/// What a map says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapNote {
    /// Which image it describes.
    pub of: MapOf,
    /// Whether this program made it.
    pub is_ours: bool,
}

impl MapNote {
    /// What is known of a file that can't be read.
    pub(crate) const UNREADABLE: Self = Self {
        of: MapOf::Image,
        is_ours: false,
    };

    /// Reads what the text of the map beside `image` says. `program` is this program's name, with which
    /// the maker's begins.
    pub(crate) fn read(text: &[u8], image: &Path, program: &str) -> Self {
        let line = first_line(text);
        let is_next = match line.rsplit_once(REPLACING) {
            None => false,
            Some((_, "")) => true,
            Some((_, replaced)) => mark_of(image).is_none_or(|present| present == replaced.trim()),
        };
        let maker = maker_in(&line);
        let is_ours = maker.is_some_and(|maker| maker.split_whitespace().next() == Some(program));
        let of = if is_next { MapOf::Next } else { MapOf::Image };
        Self { of, is_ours }
    }

    /// Returns the note of the same map once its image has the name.
    pub(crate) fn owned(self) -> Self {
        Self {
            of: MapOf::Image,
            ..self
        }
    }

    /// Returns the text of a map without the words that another image has the name; `None` where it does
    /// not say so.
    pub(crate) fn owned_text(text: &[u8]) -> Option<Vec<u8>> {
        let line = first_line(text);
        let (kept, _) = line.rsplit_once(REPLACING)?;
        let len = text.iter().position(|&byte| byte == b'\n');
        let rest = text.get(len.unwrap_or(text.len())..)?;
        Some([kept.as_bytes(), rest].concat())
    }

    /// Returns what stands behind the maker's name while another image has the name.
    #[must_use]
    pub const fn replacing() -> &'static str {
        REPLACING
    }

    /// Returns what stands there once the image is made that replaces `image`.
    #[must_use]
    pub fn replacing_this(image: &Path) -> String {
        match mark_of(image) {
            Some(mark) => format!("{REPLACING} {mark}"),
            None => REPLACING.to_owned(),
        }
    }

    /// Returns who made the map, as its text says; `None` where it does not say that.
    #[must_use]
    pub fn maker(text: &[u8]) -> Option<String> {
        maker_in(&first_line(text)).map(str::to_owned)
    }
}

fn maker_in(line: &str) -> Option<&str> {
    let (_, maker) = line.split_once(MADE_BY)?;
    Some(
        maker
            .rsplit_once(REPLACING)
            .map_or(maker, |(maker, _)| maker),
    )
}

fn first_line(text: &[u8]) -> Cow<'_, str> {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    String::from_utf8_lossy(line)
}

/// Returns what tells a finished image from another one of its name: its length in bytes, and when it
/// was changed last.
fn mark_of(image: &Path) -> Option<String> {
    // A file that can't be looked at is not told from another one.
    let metadata = image.metadata().ok()?;
    let time = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
    Some(format!("{}@{seconds}.{nanos:09}", metadata.len()))
}
