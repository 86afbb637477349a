//! Inputs that are read once: standard input, a named pipe, `<(...)` of a shell.

use std::fs::{File, FileType};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cardkeep_block::path_text;
use cardkeep_copy::read_content;
use cardkeep_device::StandardInput;
use cardkeep_image::{ForeignKind, Format, StreamNotes, stream_noting};
use cardkeep_survey::RECOGNISE_BYTES;

use super::admission::{ContentRule, Detected};
use super::{Input, InputAccess, InputKind};
use crate::checksum::Checksum;
use crate::error::{OpError, OpErrorKind};
use crate::pipe_sum::{SummedContent, SummedPipe};

/// A pipe that was opened.
pub(crate) struct PipeSource {
    /// What it is called.
    pub(crate) name: PathBuf,
    pub(crate) reader: Box<dyn Read + Send>,
    /// What standard input is, where it is that.
    pub(crate) standard_input: StandardInput,
}

impl PipeSource {
    /// Returns standard input.
    pub(crate) fn standard(reader: Box<dyn Read + Send>, standard_input: StandardInput) -> Self {
        Self {
            name: PathBuf::from("standard input"),
            reader,
            standard_input,
        }
    }

    /// Opens the pipe that `path` names; `None` where it names something else. Waits for the program that
    /// writes it.
    ///
    /// # Errors
    /// [`OpErrorKind::Environment`] where it can't be opened.
    pub(crate) fn named(path: &Path) -> Result<Option<Self>, OpError> {
        if !is_pipe(path) {
            return Ok(None);
        }
        let file = File::open(path).map_err(|error| {
            let message = format!("{} can't be opened", path_text(path));
            OpError::new(OpErrorKind::Environment, message).caused_by(error)
        })?;
        Ok(Some(Self {
            name: path.to_path_buf(),
            reader: Box::new(file),
            standard_input: StandardInput::default(),
        }))
    }
}

/// Tells whether a path names a pipe, as `<(...)` of a shell does: it is a stream, read once.
pub(crate) fn is_pipe(path: &Path) -> bool {
    // What can't be looked at can't be opened either, which tells why.
    std::fs::metadata(path).is_ok_and(|metadata| is_fifo(metadata.file_type()))
}

#[cfg(unix)]
fn is_fifo(file_type: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&file_type)
}

#[cfg(not(unix))]
fn is_fifo(_: FileType) -> bool {
    false
}

impl Input {
    /// Takes what comes out of a pipe. Its content's first bytes are read and decoded here: what holds
    /// nothing, or isn't what it begins like, must not cost what is on a card.
    ///
    /// # Errors
    /// [`OpErrorKind::Corrupt`] for content of another kind, and where it can't be read or decoded.
    pub(crate) fn from_pipe(
        pipe: PipeSource,
        rule: ContentRule,
        sha256: Option<&str>,
    ) -> Result<Self, OpError> {
        let PipeSource {
            name,
            reader,
            standard_input,
        } = pipe;
        // Beside a pipe lies nothing that states a checksum.
        let sum = match sha256 {
            Some(_) => Checksum::of(&name, sha256)?,
            None => None,
        };
        let mut notes = Vec::new();
        if sum.is_some() {
            notes.push("its SHA-256 is compared once all of it has come".to_owned());
        }
        let stream_notes = StreamNotes::default();
        let (format, mut content) = content_of(&name, reader, (sum, &stream_notes))?;
        let mut head = vec![0; RECOGNISE_BYTES];
        let len = read_content(&mut *content, &mut head)
            .map_err(|error| OpError::of_copy(&name, &name, error))?;
        head.truncate(len);
        if head.is_empty() {
            let message = format!("the data from {} has no content", path_text(&name));
            return Err(OpError::new(OpErrorKind::Usage, message));
        }
        if rule == ContentRule::Known {
            Detected::from_head(&head).expect_no_foreign(&name)?;
        }
        let content = Box::new(Cursor::new(head.clone()).chain(content));
        let kind = match format {
            Format::Raw => InputKind::Plain,
            format => InputKind::Image {
                format,
                manifest: None,
            },
        };
        let access = InputAccess::Pipe(Mutex::new(Some(content)));
        Ok(Self {
            standard_input,
            head,
            notes,
            stream_notes,
            ..Self::new(&name, kind, access)
        })
    }
}

/// A container, and its content from its beginning on.
type Decoded = (Format, Box<dyn Read + Send>);

/// Returns the content of what a pipe gives, whose checksum is compared at its end where one is given.
fn content_of(
    name: &Path,
    reader: Box<dyn Read + Send>,
    (sum, notes): (Option<Checksum>, &StreamNotes),
) -> Result<Decoded, OpError> {
    let mut pipe = SummedPipe::new(reader);
    let mut head = Vec::new();
    let failed = |error: io::Error| {
        let message = format!("{} can't be read", path_text(name));
        OpError::new(OpErrorKind::Environment, message).caused_by(error)
    };
    (&mut pipe)
        .take(ForeignKind::DETECT_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(failed)?;
    if head.is_empty() {
        let message = format!("no data came from {}", path_text(name));
        return Err(OpError::new(OpErrorKind::Usage, message));
    }
    let detected = Detected::from_head(&head);
    if detected.format != Format::Raw {
        detected.expect_no_foreign(name)?;
    }
    let whole = Cursor::new(head).chain(pipe.share());
    let content = stream_noting(detected.format, whole, notes)
        .map_err(|error| OpError::of_image(name, error))?;
    let content: Box<dyn Read + Send> = match sum {
        Some(sum) => Box::new(SummedContent::new(pipe, content, sum)),
        None => content,
    };
    Ok((detected.format, content))
}
