//! What content is read from: a card, an image, or a pipe. It is opened once, and every verb uses what
//! was opened: the name may lead elsewhere by then.
//!
//! ```text
//!   path, pipe ──► what is it?  ──►  how can it be read?  ──►  what is on it?
//!                  admission         InputAccess                    SurveyedInput
//! ```
//!
//! Main types: [`Input`], what was opened, and [`SurveyedInput`], with what was learnt of its content.
//! A source of another kind, such as a snapshot or a card on another machine, is one more constructor
//! that names its [`InputKind`] and gives its [`InputAccess`].

mod admission;
mod kept_kind;
mod parts;
mod pipe;
mod prescan;
mod surveyed;
mod unpacked;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{AllocationMap, Extent, Monitor, ReadAt, path_text};
use cardkeep_copy::{CopyError, decoded_noting, read_content};
use cardkeep_device::{Device, Machine, Source, StandardInput};
use cardkeep_image::{Error as ImageError, Format, FrameReader, Index, Manifest, StreamNotes};

use crate::content_check::{ContentCheck, Stated, or_mismatch};
use crate::error::{OpError, OpErrorKind};
use crate::lost::{Record, needed_of, tell_lost_before, tell_lost_bytes, try_recorded};

pub use admission::ContentRule;
use admission::{Admitted, admit};
pub(crate) use kept_kind::kept_kind;
pub(crate) use pipe::{PipeSource, is_pipe};
pub(crate) use prescan::{Prescan, Room, STORE, UNPACK, prescan};
pub use surveyed::SurveyedInput;
pub(crate) use surveyed::Surveying;

/// What was opened.
#[derive(Clone, Debug)]
pub enum InputKind {
    /// A device: a card.
    Card(Box<Device>),
    /// A block device that the machine did not list, or a raw image.
    Plain,
    /// A compressed image or an archive, with its manifest where it has one.
    Image {
        /// The container.
        format: Format,
        /// What it says of itself.
        manifest: Option<Box<Manifest>>,
    },
}

/// How content can be read.
pub(crate) enum InputAccess {
    /// Anywhere, as it is: a raw image or a card.
    Medium(Arc<dyn ReadAt>),
    /// Anywhere, compressed.
    Indexed {
        /// The image file.
        file: Arc<Source>,
        /// Where its frames lie.
        index: Box<Index>,
        /// Its content.
        content: Arc<FrameReader<Arc<Source>>>,
    },
    /// From its beginning on, as often as wanted.
    Sequential {
        /// The image file: the one that was looked at, whatever has its name by now.
        file: Arc<Source>,
        /// The container.
        format: Format,
    },
    /// Once.
    Pipe(Mutex<Option<Box<dyn Read + Send>>>),
}

/// A card, an image, or a pipe, opened for reading.
pub struct Input {
    /// The path that was named; what a pipe is called.
    pub path: PathBuf,
    /// What it is.
    pub kind: InputKind,
    /// How its content can be read.
    pub(crate) access: InputAccess,
    /// The size in bytes of the sectors that its partition table counts in.
    pub sector_bytes: u32,
    /// The size of the file or device itself, in bytes; `None` for a pipe.
    pub stored_bytes: Option<u64>,
    is_device: bool,
    /// What standard input is, where it is read from there.
    pub(crate) standard_input: StandardInput,
    /// The first bytes of a pipe's content; empty for others.
    head: Vec<u8>,
    /// What the user should know of it, in words.
    notes: Vec<String>,
    pub(crate) stream_notes: StreamNotes,
}

/// How an image is opened.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    /// Which content is taken.
    pub(crate) rule: ContentRule,
    /// What is stated of it, and has to be compared.
    pub(crate) sums: Sums<'a>,
    /// What to do with a device instead; where there is a hint, devices and empty files are refused.
    pub(crate) device_hint: Option<&'a str>,
}

/// Which checksums are compared.
#[derive(Clone, Copy)]
pub(crate) enum Sums<'a> {
    /// None.
    None,
    /// The SHA-256 that the user gave, and what lies beside the image.
    Stated(Option<&'a str>),
}

/// Content that is read from its beginning on, and how much of the file was read for it so far, in
/// bytes, where that is known.
pub(crate) struct ContentStream {
    pub(crate) content: Box<dyn Read + Send>,
    pub(crate) position: Option<Arc<AtomicU64>>,
    /// How long the file is, in bytes, where that is known.
    pub(crate) file_len: Option<u64>,
    told: u64,
}

impl ContentStream {
    /// Fills `frame` as far as that goes; returns how far.
    ///
    /// # Errors
    /// As [`read_content`].
    pub(crate) fn read(&mut self, frame: &mut [u8]) -> Result<usize, CopyError> {
        read_content(&mut *self.content, frame)
    }

    /// Returns how many bytes of the file were read since this was asked last.
    pub(crate) fn newly_read(&mut self) -> u64 {
        let position = self.position.as_ref();
        let now = position.map_or(0, |position| position.load(Ordering::Relaxed));
        now - std::mem::replace(&mut self.told, now)
    }
}

impl Input {
    /// Opens what `path` names: a device, an image, or a pipe. A device that the account may not open
    /// is asked for.
    ///
    /// # Errors
    /// [`OpError`] where it can't be opened, or is a file of another kind.
    pub(crate) fn open(
        machine: &dyn Machine,
        path: &Path,
        rule: ContentRule,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        if let Some(pipe) = PipeSource::named(path)? {
            return Self::from_pipe(pipe, rule, None);
        }
        Self::from_source(machine, path, open_source(path, monitor)?, rule)
    }

    /// Opens as [`Input::open`] does what can be read anywhere, and keeps restores off it as long as it is
    /// open.
    ///
    /// # Errors
    /// As [`Input::open`]; and where another program writes it.
    pub(crate) fn open_held(
        machine: &dyn Machine,
        path: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let source = open_source(path, monitor)?;
        let held = source.hold_still();
        held.map_err(|error| OpError::of_source(path, error))?;
        Self::from_source(machine, path, source, ContentRule::Known)
    }

    /// Opens an image or a pipe, and compares the file with what is stated of it first: what broke on
    /// its way need not be understood. Returns what is left to be compared with its content.
    ///
    /// # Errors
    /// As [`Input::open`]; [`OpErrorKind::Mismatch`] where a checksum is wrong.
    pub(crate) fn open_image(
        machine: &dyn Machine,
        path: &Path,
        opening: Opening<'_>,
        monitor: &dyn Monitor,
    ) -> Result<(Self, ContentCheck), OpError> {
        let Opening { rule, sums, .. } = opening;
        let given = match sums {
            Sums::Stated(given) => given,
            Sums::None => None,
        };
        if let Some(pipe) = PipeSource::named(path)? {
            return Ok((Self::from_pipe(pipe, rule, given)?, ContentCheck::none()));
        }
        let stated = match sums {
            Sums::Stated(given) => Stated::of(path, given)?,
            Sums::None => Stated::default(),
        };
        let source = Source::open(path).map_err(|error| OpError::of_source(path, error))?;
        if let Some(hint) = opening.device_hint {
            expect_image(path, &source, hint)?;
        }
        let check = stated.check_file(path, &source, monitor)?;
        let mismatch = check.file_mismatch();
        let own = Self::from_source(machine, path, source, rule)
            .map_err(|error| or_mismatch(error, mismatch))?;
        if !matches!(own.kind, InputKind::Image { .. }) {
            check.expect_file()?;
        }
        Ok((own, check))
    }

    /// Takes a device or a file that was opened.
    pub(crate) fn from_source(
        machine: &dyn Machine,
        path: &Path,
        source: Source,
        rule: ContentRule,
    ) -> Result<Self, OpError> {
        if !source.is_device() {
            return Self::from_file(path, source, rule);
        }
        // A device that can't be described can be read all the same.
        let device = machine.device_of_path(path).ok().flatten();
        let kind = device.map_or(InputKind::Plain, |device| InputKind::Card(Box::new(device)));
        let sector_bytes = source.sector_bytes();
        let own = Self::from_medium(path, kind, Arc::new(source), sector_bytes);
        Ok(Self {
            is_device: true,
            ..own
        })
    }

    /// Takes a file that was opened: a raw image, or a container.
    pub(crate) fn from_file(
        path: &Path,
        source: Source,
        rule: ContentRule,
    ) -> Result<Self, OpError> {
        let source = Arc::new(source);
        match admit(path, &source, rule)? {
            Admitted::Raw => Ok(Self::from_medium(path, InputKind::Plain, source, 512)),
            Admitted::Indexed(index) => Self::from_index(path, source, *index),
            Admitted::Stream(format) => Ok(Self::from_container(path, source, format)),
        }
    }

    /// Takes a medium that can be read anywhere, whatever is behind it, with the size of its sectors in
    /// bytes.
    pub(crate) fn from_medium(
        path: &Path,
        kind: InputKind,
        medium: Arc<dyn ReadAt>,
        sector_bytes: u32,
    ) -> Self {
        Self {
            sector_bytes,
            stored_bytes: Some(medium.len()),
            ..Self::new(path, kind, InputAccess::Medium(medium))
        }
    }

    fn from_index(path: &Path, file: Arc<Source>, index: Index) -> Result<Self, OpError> {
        let format = index.format();
        let content = match FrameReader::new(Arc::clone(&file), index.clone()) {
            Ok(reader) => Arc::new(reader),
            // Frames that memory can't hold one of.
            Err(ImageError::Unsupported(_)) => return Ok(Self::from_container(path, file, format)),
            Err(error) => return Err(OpError::of_image(path, error)),
        };
        let manifest = index.manifest.clone().map(Box::new);
        let sector_bytes = manifest.as_ref().map_or(512, |own| own.sector_bytes);
        let kind = InputKind::Image { format, manifest };
        let stored_bytes = Some(file.len());
        let index = Box::new(index);
        let access = InputAccess::Indexed {
            file,
            index,
            content,
        };
        Ok(Self {
            sector_bytes,
            stored_bytes,
            ..Self::new(path, kind, access)
        })
    }

    fn from_container(path: &Path, file: Arc<Source>, format: Format) -> Self {
        let manifest = None;
        let stored_bytes = Some(file.len());
        let kind = InputKind::Image { format, manifest };
        Self {
            stored_bytes,
            ..Self::new(path, kind, InputAccess::Sequential { file, format })
        }
    }

    fn new(path: &Path, kind: InputKind, access: InputAccess) -> Self {
        Self {
            path: path.to_path_buf(),
            kind,
            access,
            sector_bytes: 512,
            stored_bytes: None,
            is_device: false,
            standard_input: StandardInput::default(),
            head: Vec::new(),
            notes: Vec::new(),
            stream_notes: StreamNotes::default(),
        }
    }

    /// Returns it with another medium as its content, which reads the same.
    pub(crate) fn reading(self, content: Arc<dyn ReadAt>) -> Self {
        Self {
            access: InputAccess::Medium(content),
            ..self
        }
    }

    /// Returns it as something that is read in order, where its frames are too large for anything else.
    fn in_order(self) -> Self {
        let access = match self.access {
            InputAccess::Indexed { file, index, .. } => InputAccess::Sequential {
                file,
                format: index.format(),
            },
            access => access,
        };
        Self { access, ..self }
    }

    /// Tells whether it is read from a device.
    pub(crate) const fn is_device(&self) -> bool {
        self.is_device
    }

    /// Tells whether it can be read once only.
    #[must_use]
    pub const fn is_pipe(&self) -> bool {
        matches!(self.access, InputAccess::Pipe(_))
    }

    /// Returns the container that it is in.
    #[must_use]
    pub fn format(&self) -> Format {
        match &self.kind {
            InputKind::Image { format, .. } => *format,
            _ => Format::Raw,
        }
    }

    /// Returns the device, where it is one that the machine knows.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match &self.kind {
            InputKind::Card(device) => Some(device),
            _ => None,
        }
    }

    /// Returns the manifest, where it is an image that has one.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.kind {
            InputKind::Image { manifest, .. } => manifest.as_deref(),
            _ => None,
        }
    }

    /// Returns its content, where that can be read anywhere.
    pub(crate) fn content(&self) -> Option<&dyn ReadAt> {
        match &self.access {
            InputAccess::Medium(content) => Some(content),
            InputAccess::Indexed { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Returns its content to be shared, where that can be read anywhere.
    pub(crate) fn shared_content(&self) -> Option<Arc<dyn ReadAt>> {
        match &self.access {
            InputAccess::Medium(content) => Some(Arc::clone(content)),
            InputAccess::Indexed { content, .. } => Some(Arc::clone(content) as Arc<dyn ReadAt>),
            _ => None,
        }
    }

    /// Returns its content, which must be readable anywhere.
    ///
    /// # Errors
    /// [`OpErrorKind::Usage`], with a hint, where it can be read from its beginning on only.
    pub(crate) fn random_content(&self) -> Result<Arc<dyn ReadAt>, OpError> {
        self.shared_content().ok_or_else(|| {
            let shown = path_text(&self.path);
            let message = format!("{shown} can only be read in order");
            let hint = "`cardkeep verify` checks it; decompress it to look inside";
            OpError::new(OpErrorKind::Usage, message).hint(hint)
        })
    }

    /// Opens its content as a stream, whatever its access is.
    ///
    /// # Errors
    /// Where it can't be decoded; [`CopyError::Internal`] for a pipe that was read before.
    pub(crate) fn stream(&self) -> Result<ContentStream, CopyError> {
        let (file, format) = match &self.access {
            InputAccess::Pipe(pipe) => {
                let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                let content = pipe.take();
                return Ok(ContentStream {
                    content: content.ok_or(CopyError::Internal("a pipe was read twice"))?,
                    position: None,
                    file_len: None,
                    told: 0,
                });
            }
            InputAccess::Medium(content) => (Arc::clone(content), Format::Raw),
            InputAccess::Indexed { file, index, .. } => {
                (Arc::clone(file) as Arc<dyn ReadAt>, index.format())
            }
            InputAccess::Sequential { file, format } => {
                (Arc::clone(file) as Arc<dyn ReadAt>, *format)
            }
        };
        let file_len = Some(file.len());
        let (content, position) = decoded_noting(file, format, &self.stream_notes)?;
        Ok(ContentStream {
            content,
            position: Some(position),
            file_len,
            told: 0,
        })
    }

    /// Returns what tells how the image was made; `None` for a device and a pipe.
    fn record(&self) -> Option<Record<'_>> {
        match &self.kind {
            _ if self.is_pipe() => None,
            InputKind::Card(_) => None,
            InputKind::Plain => Some(Record::Map(Format::Raw)),
            InputKind::Image { format, manifest } => Some(match manifest {
                Some(manifest) => Record::Manifest(manifest),
                None => Record::Map(*format),
            }),
        }
    }

    /// Returns what could not be read when the image was made, of which `map` says what is used; nothing
    /// where that can't be told, which [`Input::tell_losses`] tells.
    pub(crate) fn lost(&self, map: &AllocationMap) -> Vec<Extent> {
        let Some(record) = self.record() else {
            return Vec::new();
        };
        let len = self.content().map_or(map.len(), ReadAt::len);
        let recorded = try_recorded(&self.path, record, len);
        needed_of(record, recorded.unwrap_or_default(), map)
    }

    /// Tells what could not be read when the image was made; its content has `len` bytes.
    pub(crate) fn tell_losses(&self, len: u64, monitor: &dyn Monitor) {
        let Some(record) = self.record() else {
            return;
        };
        match self.content() {
            Some(content) => {
                let content = (content, self.sector_bytes);
                tell_lost_before(&self.path, record, content, monitor);
            }
            None => tell_lost_bytes(&self.path, (self.format(), len), monitor),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Input");
        shown.field("path", &self.path).field("kind", &self.kind);
        shown.finish_non_exhaustive()
    }
}

/// Refuses a device, and an empty file, where an image is wanted; `hint` says what to do with a device.
fn expect_image(path: &Path, source: &Source, hint: &str) -> Result<(), OpError> {
    let shown = path_text(path);
    if source.is_device() {
        let message = format!("{shown} is a device, not an image");
        return Err(OpError::new(OpErrorKind::Usage, message).hint(hint));
    }
    if source.len() == 0 {
        let message = format!("{shown} is empty");
        return Err(OpError::new(OpErrorKind::Usage, message));
    }
    Ok(())
}

fn open_source(path: &Path, monitor: &dyn Monitor) -> Result<Source, OpError> {
    Source::open_asking(path, monitor).map_err(|error| OpError::of_source(path, error))
}
