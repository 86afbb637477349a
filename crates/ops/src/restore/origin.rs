//! What cards are restored from: an image that can be read anywhere, one that can only be read
//! from its beginning on, a pipe, or another card.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{AllocationMap, Monitor, ReadAt, State, path_text};
use cardkeep_copy::{CopyError, decoded, read_content};
use cardkeep_device::{Device, Machine, Source, StandardInput};
use cardkeep_image::{
    FRAME_BYTES, ForeignKind, Format, FrameDigest, FrameReader, Index, Manifest, StreamNotes,
    detect_foreign, stream_noting,
};
use cardkeep_ptable::{Error as TableError, Loaded, PartitionTable};
use cardkeep_survey::{Cut, Identity, PassingSurvey, RECOGNISE_BYTES, Scope, Survey, survey};

use crate::admission::{Admitted, ContentRule, admit, check_head, foreign_error};
use crate::backup::Unmount;
use crate::checksum::Checksum;
use crate::completeness::{cut_by_table, cut_of};
use crate::content_check::{ContentCheck, Stated, or_mismatch};
use crate::error::{OpError, OpErrorKind};
use crate::opened::{Opened, OpenedKind};
use crate::pipe_sum::{SummedContent, SummedPipe};
use crate::precheck::check_mounts;
use crate::restore::parts::look_at_stream;
use crate::restore::prescan::{Prefix, Prescan, Room, prescan};

/// The unit of every medium, in bytes.
const SECTOR_BYTES: u64 = 512;
/// Larger frames are decoded in passing: a few of them would fill the memory.
const SEEKABLE_FRAME_BYTES_MAX: u64 = 32 << 20;

/// How the content can be had.
pub enum OriginKind {
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
    Stream {
        /// The image file: the one that was looked at, whatever has its name by now.
        file: Arc<Source>,
        /// The container.
        format: Format,
        /// Its content's first bytes, where its partition table needs no more.
        prefix: Option<Prefix>,
    },
    /// Once.
    Pipe(Mutex<Option<Box<dyn Read + Send>>>),
}

/// How an image is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// How much of it is wanted.
    pub(crate) scope: Scope,
    /// Which content is taken.
    pub(crate) rule: ContentRule,
    /// The shortest card that it must fit, where it is for any.
    pub(crate) room: Option<&'a Room>,
    /// What is stated of it.
    pub(crate) stated: &'a Stated,
}

/// What cards are restored from.
pub struct Origin {
    /// Its name; `None` for a pipe.
    pub path: Option<PathBuf>,
    /// How its content can be had.
    pub kind: OriginKind,
    /// The card, where it is one.
    pub device: Option<Device>,
    /// How long its content is, in bytes; `None` for a pipe.
    pub len: Option<u64>,
    /// The size in bytes of the sectors that its partition table counts in.
    pub sector_bytes: u32,
    /// What of it matters; all of it for a pipe, until it comes.
    pub map: AllocationMap,
    /// What was learnt of it; `None` where its manifest says enough.
    pub survey: Option<Survey>,
    /// What it lacks at its end, as far as that is known beforehand.
    pub cut: Option<Cut>,
    /// What it says about itself.
    pub manifest: Option<Box<Manifest>>,
    /// What standard input is, where it is read from there.
    pub(crate) input: StandardInput,
    /// The digests of its frames, where it has them.
    pub(crate) digests: Vec<Option<FrameDigest>>,
    pub(crate) table: Option<PartitionTable>,
    /// What the user should know of it, in words.
    pub(crate) notes: Vec<String>,
    pub(crate) stream_notes: StreamNotes,
}

impl Origin {
    /// Opens an image.
    pub(crate) fn of_image(
        path: &Path,
        reading: Reading<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let of_source = |error| OpError::of_source(path, error);
        let source = Source::open(path).map_err(of_source)?;
        if source.is_device() {
            let message = format!("{} is a device, not an image", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message)
                .hint("`cardkeep clone CARD CARD` copies a card to another one"));
        }
        if source.len() == 0 {
            let message = format!("{} is empty", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message));
        }
        // ORDER: before all else that reads it. What broke on its way need not be understood.
        let check = reading.stated.check_file(path, &source, monitor)?;
        let mismatch = check.file_mismatch();
        Self::of_file(path, Arc::new(source), (reading, check), monitor)
            .map_err(|error| or_mismatch(error, mismatch))
    }

    /// Does the rest of the work of [`Origin::of_image`].
    fn of_file(
        path: &Path,
        source: Arc<Source>,
        (reading, check): (Reading<'_>, ContentCheck),
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let Reading { scope, rule, .. } = reading;
        match admit(path, &source, rule)? {
            Admitted::Raw => {
                check.expect_file()?;
                check_raw(path, &source)?;
                let notes = check.check_all(&source, monitor)?;
                let own = Self::of_medium(path, source, 512, scope, monitor)?;
                Ok(Self { notes, ..own })
            }
            Admitted::Indexed(index) if is_seekable(&index) => {
                let own = Self::of_index(path, source, *index, scope, monitor)?;
                let notes = match own.content() {
                    Some(content) => check.check_all(content, monitor)?,
                    None => Vec::new(),
                };
                Ok(Self { notes, ..own })
            }
            Admitted::Indexed(index) => {
                Self::of_stream(path, source, index.format(), (reading, check), monitor)
            }
            Admitted::Stream(format) => {
                Self::of_stream(path, source, format, (reading, check), monitor)
            }
        }
    }

    /// Opens a card.
    pub(crate) fn of_card(
        machine: &dyn Machine,
        path: &Path,
        scope: Scope,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let opened = Opened::open_held(machine, path, monitor)?;
        if let OpenedKind::Image { .. } = opened.kind {
            let message = format!("{} is a compressed image, not a card", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message)
                .hint("`cardkeep restore IMAGE CARD` writes it to a card"));
        }
        let device = opened.device().cloned();
        if let Some(device) = &device {
            check_mounts(machine, device, Unmount::No)?;
        }
        let sector_bytes = opened.sector_bytes;
        let own = Self::of_medium(path, opened.content, sector_bytes, scope, monitor)?;
        Ok(Self { device, ..own })
    }

    /// Takes what comes out of a pipe.
    pub(crate) fn of_pipe(
        pipe: Box<dyn Read + Send>,
        (name, rule, sum): (&Path, ContentRule, Option<Checksum>),
        (room, sector_bytes): (&Room, u32),
    ) -> Result<Self, OpError> {
        let mut pipe = SummedPipe::new(pipe);
        let mut head = Vec::new();
        let failed = |error: std::io::Error| {
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
        let format = Format::detect(&head);
        let foreign = detect_foreign(&head).filter(|_| format != Format::Raw);
        if let Some(kind) = foreign {
            return Err(foreign_error(&path_text(name).to_string(), kind));
        }
        let stream_notes = StreamNotes::default();
        let whole = std::io::Cursor::new(head).chain(pipe.share());
        let mut content = stream_noting(format, whole, &stream_notes)
            .map_err(|error| OpError::of_image(name, error))?;
        let is_summed = sum.is_some();
        if let Some(sum) = sum {
            content = Box::new(SummedContent::new(pipe, content, sum));
        }
        // ORDER: before any card is touched. What holds nothing, or isn't what it begins like,
        // must not cost what is on the cards.
        let mut first = vec![0; RECOGNISE_BYTES];
        let len = read_content(&mut *content, &mut first)
            .map_err(|error| OpError::of_copy(name, name, error))?;
        if len == 0 {
            let message = format!("the data from {} has no content", path_text(name));
            return Err(OpError::new(OpErrorKind::Usage, message));
        }
        let mut notes = check_head(&path_text(name).to_string(), &first[..len], rule)?;
        if is_summed {
            notes.push("its SHA-256 is compared once all of it has come".to_owned());
        }
        let mut passing = PassingSurvey::new(None, sector_bytes);
        passing.see(&first[..len]);
        room.expect_partitions(name, &passing)?;
        let content: Box<dyn Read + Send> =
            Box::new(std::io::Cursor::new(first).take(len as u64).chain(content));
        Ok(Self {
            path: None,
            kind: OriginKind::Pipe(Mutex::new(Some(content))),
            device: None,
            len: None,
            sector_bytes,
            map: AllocationMap::all(room.len, State::Used),
            survey: None,
            cut: None,
            manifest: None,
            digests: Vec::new(),
            input: StandardInput::default(),
            table: None,
            notes,
            stream_notes,
        })
    }

    fn of_medium(
        path: &Path,
        content: Arc<dyn ReadAt>,
        sector_bytes: u32,
        scope: Scope,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let learnt = survey(&content, sector_bytes, scope, monitor);
        let table = learnt.complete_table().cloned();
        Ok(Self {
            path: Some(path.to_path_buf()),
            device: None,
            len: Some(content.len()),
            sector_bytes,
            map: learnt.map.clone(),
            cut: learnt.cut.clone(),
            survey: Some(learnt),
            manifest: None,
            digests: Vec::new(),
            input: StandardInput::default(),
            table,
            notes: Vec::new(),
            stream_notes: StreamNotes::default(),
            kind: OriginKind::Medium(content),
        })
    }

    fn of_index(
        path: &Path,
        file: Arc<Source>,
        index: Index,
        scope: Scope,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let reader = FrameReader::new(Arc::clone(&file), index.clone())
            .map_err(|error| OpError::of_image(path, error))?;
        let content = Arc::new(reader);
        check_first_frame(path, &content)?;
        check_headers(path, &file, &index, monitor)?;
        let manifest = index.manifest.clone().map(Box::new);
        let sector_bytes = manifest.as_ref().map_or(512, |own| own.sector_bytes);
        // The manifest knows which bytes were copied; without one the filesystems have to tell.
        let learnt = match &manifest {
            Some(_) => None,
            None => Some(survey(&content, sector_bytes, scope, monitor)),
        };
        let cut = match &learnt {
            Some(learnt) => learnt.cut.clone(),
            None => cut_of(&content, sector_bytes, monitor),
        };
        let map = match (scope, &manifest, &learnt) {
            (Scope::UsedOnly, Some(manifest), _) => manifest.map.clone(),
            (_, _, Some(learnt)) => learnt.map.clone(),
            _ => AllocationMap::all(content.len(), State::Used),
        };
        let has_our_frames = |own: &&Manifest| own.frame_bytes == FRAME_BYTES as u64;
        let digests = manifest.as_deref().filter(has_our_frames);
        Ok(Self {
            path: Some(path.to_path_buf()),
            device: None,
            len: Some(content.len()),
            sector_bytes,
            map,
            survey: learnt,
            cut,
            digests: digests.map_or_else(Vec::new, |own| own.frames.clone()),
            input: StandardInput::default(),
            manifest,
            table: table_of(&content, sector_bytes),
            notes: Vec::new(),
            stream_notes: StreamNotes::default(),
            kind: OriginKind::Indexed {
                file,
                index: Box::new(index),
                content,
            },
        })
    }

    /// An image that can only be read from its beginning on is read once before any card is
    /// touched: its length, whether it is whole, and what of it is free are known then.
    fn of_stream(
        path: &Path,
        file: Arc<Source>,
        format: Format,
        (reading, mut check): (Reading<'_>, ContentCheck),
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let stream_notes = StreamNotes::default();
        let how = Prescan {
            format,
            notes: &stream_notes,
            scope: reading.scope,
            room: reading.room,
            check: Some(&mut check),
        };
        let scanned = prescan(path, &file, how, monitor)?;
        let notes = check.finish()?;
        let sector_bytes = 512;
        let mut own = Self {
            path: Some(path.to_path_buf()),
            device: None,
            len: Some(scanned.len),
            sector_bytes,
            map: scanned.map,
            cut: scanned.survey.cut.clone(),
            survey: Some(scanned.survey),
            manifest: None,
            digests: Vec::new(),
            input: StandardInput::default(),
            table: table_of(&scanned.prefix, sector_bytes),
            notes,
            stream_notes,
            kind: OriginKind::Stream {
                file,
                format,
                prefix: Some(scanned.prefix),
            },
        };
        if own.table.is_none() {
            // Logical partitions have their records in front of each of them.
            let looked = own.look(monitor, |content| {
                let cut = cut_by_table(content, sector_bytes);
                (table_of(content, sector_bytes), cut)
            })?;
            let (table, cut) = looked.unwrap_or_default();
            own.table = table;
            own.cut = own.cut.take().or(cut);
            if let OriginKind::Stream { prefix, .. } = &mut own.kind {
                *prefix = None;
            }
        }
        if let (Some(table), Some(survey)) = (&own.table, &mut own.survey) {
            // In passing, a table is held against no end.
            survey.note_length(table);
        }
        Ok(own)
    }

    /// Returns the medium that its partition table was loaded from, unless that was looked for in a
    /// stream.
    pub(crate) fn table_medium(&self) -> Option<&dyn ReadAt> {
        match &self.kind {
            OriginKind::Stream { prefix, .. } => prefix.as_ref().map(|own| own as &dyn ReadAt),
            _ => self.content(),
        }
    }

    /// Returns its content, where that can be read anywhere.
    pub(crate) fn content(&self) -> Option<&dyn ReadAt> {
        match &self.kind {
            OriginKind::Medium(content) => Some(content),
            OriginKind::Indexed { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Returns its content to be shared, where that can be read anywhere.
    pub(crate) fn shared_content(&self) -> Option<Arc<dyn ReadAt>> {
        match &self.kind {
            OriginKind::Medium(content) => Some(Arc::clone(content)),
            OriginKind::Indexed { content, .. } => Some(Arc::clone(content) as Arc<dyn ReadAt>),
            _ => None,
        }
    }

    /// Lets `look` look at its content; `None` where that wants to see too much of a stream, or
    /// anything of a pipe.
    pub(crate) fn look<T>(
        &self,
        monitor: &dyn Monitor,
        look: impl Fn(&Arc<dyn ReadAt>) -> T,
    ) -> Result<Option<T>, OpError> {
        if let Some(content) = self.shared_content() {
            return Ok(Some(look(&content)));
        }
        let (OriginKind::Stream { .. }, Some(len)) = (&self.kind, self.len) else {
            return Ok(None);
        };
        let path = self.path.clone().unwrap_or_default();
        look_at_stream(len, || self.open_stream(), monitor, look)
            .map_err(|error| OpError::of_copy(&path, &path, error))
    }

    /// Opens its content as a stream.
    pub(crate) fn open_stream(&self) -> Result<Box<dyn Read + Send>, CopyError> {
        match &self.kind {
            OriginKind::Stream { file, format, .. } => {
                Ok(decoded(Arc::clone(file) as Arc<dyn ReadAt>, *format)?.0)
            }
            OriginKind::Pipe(pipe) => pipe
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .ok_or(CopyError::Internal("a pipe was read twice")),
            _ => Err(CopyError::Internal("it is no stream")),
        }
    }

    /// Returns its name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.path {
            Some(path) => path_text(path).to_string(),
            None => "standard input".to_owned(),
        }
    }

    /// Returns whose card it is or was, as far as that is known.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match (&self.manifest, &self.survey) {
            (Some(manifest), _) => Identity {
                os: manifest.source.os.clone(),
                hostname: manifest.source.hostname.clone(),
            },
            (None, Some(survey)) => survey.identity.clone(),
            (None, None) => Identity::default(),
        }
    }
}

/// Decodes the first frame: an image of which not even that can be had must not cost what is on
/// the cards.
fn check_first_frame(path: &Path, content: &dyn ReadAt) -> Result<(), OpError> {
    let len = content.len().min(FRAME_BYTES as u64) as usize;
    match content.read_vec(0, len) {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("{} is damaged at its beginning", path_text(path));
            Err(OpError::new(OpErrorKind::Corrupt, message)
                .hint("download or make it again; nothing was written")
                .caused_by(error))
        }
    }
}

/// Reads what each frame says of itself: one that can't be decoded must not cost what is on the cards.
fn check_headers(
    path: &Path,
    file: &Source,
    index: &Index,
    monitor: &dyn Monitor,
) -> Result<(), OpError> {
    index
        .check_headers(&file, &|| monitor.is_cancelled())
        .map_err(|error| OpError::of_image(path, error))?;
    match monitor.is_cancelled() {
        true => Err(OpError::new(OpErrorKind::Interrupted, "stopped")),
        false => Ok(()),
    }
}

/// Refuses a raw image that ends within a sector and before its last partition does, or whose
/// table can't be read: the rest of it is missing.
fn check_raw(path: &Path, content: &dyn ReadAt) -> Result<(), OpError> {
    let len = content.len();
    if len.is_multiple_of(SECTOR_BYTES) {
        return Ok(());
    }
    let is_whole = match cardkeep_ptable::load(&content, 512) {
        Ok(Loaded::Table(table)) => table.partitions.iter().all(|part| part.extent.end() <= len),
        Ok(_) => true,
        Err(_) => false,
    };
    if is_whole {
        return Ok(());
    }
    let why = format!(
        "{} is not an image: its {len} bytes are not a multiple of {SECTOR_BYTES}",
        path_text(path)
    );
    Err(OpError::new(OpErrorKind::Corrupt, why)
        .hint("check that it is complete; download or make it again"))
}

/// Tells whether any place of an image can be had at the price of one small frame.
fn is_seekable(index: &Index) -> bool {
    let mut entries = index.table.entries().iter();
    entries.all(|entry| entry.content.len() <= SEEKABLE_FRAME_BYTES_MAX)
}

/// Returns the partition table, where there is one that can be trusted.
fn table_of(medium: &dyn ReadAt, sector_bytes: u32) -> Option<PartitionTable> {
    match cardkeep_ptable::load(&medium, sector_bytes) {
        Ok(Loaded::Table(table)) => Some(table),
        // What it lacks is known by other means.
        Err(TableError::Corrupt(corrupt)) if !corrupt.lacks_partitions() => corrupt.cut().cloned(),
        _ => None,
    }
}
