//! What is wanted of a backup.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::path_text;
use cardkeep_copy::{RetryPolicy, Verify};
use cardkeep_device::{ImageFiles, Overwrite};
use cardkeep_image::Format;
use cardkeep_resize::medium::Length;
use cardkeep_survey::Scope;

use crate::completeness::Truncated;
use crate::error::{OpError, OpErrorKind};
use crate::image_name::check_format_named;
use crate::input::ContentRule;

/// Where the image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file with this name.
    File(PathBuf),
    /// A file in the current folder, named after the card and the day.
    Named,
    /// A stream: a pipe, another program.
    Stream,
}

/// Whether a mounted card may be unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// It may.
    Yes,
    /// It stays mounted, and is not read.
    No,
}

/// Whether a plan says how long it will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// The card's speed is measured on what would be read anyway.
    Measured,
    /// It is found out soon enough.
    None,
}

/// Whether to resume from what an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It starts anew.
    No,
    /// What an earlier run read of the card, or ddrescue, is not read again.
    Yes,
}

/// Whether the card is read a second time, to see whether it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondReading {
    /// Once is enough.
    No,
    /// All that was copied is read again.
    Yes,
}

/// How far to shrink the image below the card's size, by a filesystem's free blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// How short.
    pub length: Length,
    /// What to do where that can't be done safely.
    pub otherwise: Otherwise,
}

/// What to do with a card that can't be made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Nothing.
    Refuse,
    /// Copy it as it is.
    CopyWhole,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// The card, or any other device or file.
    pub card: PathBuf,
    /// Where the image goes.
    pub target: Target,
    /// The container; by the target's name where `None`.
    pub format: Option<Format>,
    /// The compression level, in the numbers of the format.
    pub level: Option<i32>,
    /// How much of the card is wanted.
    pub scope: Scope,
    /// Whether an existing image may be replaced.
    pub overwrite: Overwrite,
    /// Whether the card may be unmounted.
    pub unmount: Unmount,
    /// How short the image gets; `None` for the card's own length.
    pub shrink: Option<Shrink>,
    /// How hard a card is tried that fails, and what becomes of what it does not give.
    pub policy: RetryPolicy,
    /// Whether to resume from what an earlier run left.
    pub resume: Resume,
    /// How long to wait for a card that disappears.
    pub patience: Duration,
    /// Whether the image is read back.
    pub verify: Verify,
    /// Which content is taken, where it is an image.
    pub content: ContentRule,
    /// What becomes of an image that ends before its partitions do. A card is always taken as it is:
    /// what it lacks is told.
    pub truncated: Truncated,
    /// Whether the card is read twice.
    pub second_reading: SecondReading,
    /// Whether to measure the card's speed first, which costs a second or two of reading.
    pub estimate: Estimate,
    /// Today, as `2026-11-22`.
    pub date: String,
    /// Name and version of the program.
    pub tool: String,
    /// How many threads may compress.
    pub cores: usize,
}

impl BackupRequest {
    /// Returns the container, by the target's name where none is given.
    pub(crate) fn container(&self) -> Result<Format, OpError> {
        let Target::File(path) = &self.target else {
            return Ok(self.format.unwrap_or(Format::Zstd));
        };
        if let Some(format) = self.format {
            check_format_named(path, format)?;
            return Ok(format);
        }
        match Format::from_name(path) {
            Some(format @ (Format::Raw | Format::Zstd | Format::Gzip | Format::Xz)) => Ok(format),
            _ => Err(OpError::new(
                OpErrorKind::Usage,
                format!(
                    "can't tell the image format from the name {}",
                    path_text(path)
                ),
            )
            .hint("end its name in .img, .img.zst, .img.gz or .img.xz, or pass --format")),
        }
    }

    /// Returns whether `image` may be replaced. One that has a rescue map is not finished: resuming replaces it.
    pub(crate) fn overwrite_of(&self, image: &Path) -> Overwrite {
        if self.resume == Resume::Yes && ImageFiles::of(image).map().exists() {
            Overwrite::Replace
        } else {
            self.overwrite
        }
    }
}
