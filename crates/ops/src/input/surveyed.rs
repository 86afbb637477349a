//! An input whose content was looked at: how long it is, what of it matters, what it lacks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{AllocationMap, Monitor, ReadAt, State, path_text};
use cardkeep_copy::CopyError;
use cardkeep_device::Source;
use cardkeep_image::{FRAME_BYTES, FrameDigest, Index, Manifest};
use cardkeep_ptable::{Error as TableError, Loaded, PartitionTable};
use cardkeep_survey::{Cut, Identity, PassingSurvey, RECOGNISE_BYTES, Scope, Survey, survey};

use super::admission::{ContentRule, check_head};
use super::parts::look_at_stream;
use super::prescan::{Prefix, Prescan, Room, prescan};
use super::{Input, InputAccess};
use crate::completeness::{cut_by_table, cut_of};
use crate::content_check::ContentCheck;
use crate::error::{OpError, OpErrorKind};

/// The unit of every medium, in bytes.
const SECTOR_BYTES: u64 = 512;
/// Larger frames are decoded in passing: a few of them would fill the memory.
const SEEKABLE_FRAME_BYTES_MAX: u64 = 32 << 20;

/// An input, and what was learnt of its content.
pub struct SurveyedInput {
    /// What is read.
    pub input: Input,
    /// How long its content is, in bytes; `None` for a pipe.
    pub len: Option<u64>,
    /// What of it matters; all of it for a pipe, until it comes.
    pub map: AllocationMap,
    /// What was learnt of it; `None` where its manifest says enough.
    pub survey: Option<Survey>,
    /// What it lacks at its end, as far as that is known beforehand.
    pub cut: Option<Cut>,
    /// The digests of its frames, where it has them.
    pub(crate) digests: Vec<Option<FrameDigest>>,
    pub(crate) table: Option<PartitionTable>,
    /// The first bytes of content that is read in order, where its partition table needs no more.
    prefix: Option<Prefix>,
    /// What is stated of it and right, in words.
    pub(crate) sums: Vec<String>,
    /// What the user should know of it besides, in words.
    pub(crate) notes: Vec<String>,
}

/// How an input's content is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Surveying<'a> {
    /// How much of it is wanted.
    pub(crate) scope: Scope,
    /// Which content is taken.
    pub(crate) rule: ContentRule,
    /// The shortest card that it must fit, where it is for any.
    pub(crate) room: Option<&'a Room>,
    /// The size in bytes of a card's sectors: what a pipe's partition table counts in.
    pub(crate) sector_bytes: u32,
}

impl SurveyedInput {
    /// Looks at an input's content, and compares it with what is stated of it.
    ///
    /// # Errors
    /// [`OpErrorKind::Mismatch`] where something else is stated of it, [`OpErrorKind::Refused`] for content
    /// that is none of a disk or does not fit, and errors of reading and decoding it.
    pub(crate) fn new(
        input: Input,
        how: Surveying<'_>,
        check: ContentCheck,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let own = match &input.access {
            InputAccess::Pipe(_) => Self::of_pipe(input, how)?,
            InputAccess::Medium(_) => Self::of_medium(input, how, check, monitor)?,
            // A comparison reads it in order, and has no other frames to keep.
            InputAccess::Indexed { index, .. } if how.room.is_none() || is_seekable(index) => {
                Self::of_index(input, how.scope, check, monitor)?
            }
            _ => Self::of_stream(input.in_order(), how, check, monitor)?,
        };
        let notes = own.check_content(how.rule, monitor)?;
        let mut own = own;
        own.notes.extend(notes);
        Ok(own)
    }

    fn with(input: Input, map: AllocationMap) -> Self {
        Self {
            len: Some(map.len()),
            map,
            survey: None,
            cut: None,
            digests: Vec::new(),
            table: None,
            prefix: None,
            sums: Vec::new(),
            notes: input.notes.clone(),
            input,
        }
    }

    /// A pipe is learnt on the way; its beginning is known.
    fn of_pipe(mut input: Input, how: Surveying<'_>) -> Result<Self, OpError> {
        input.sector_bytes = how.sector_bytes;
        let mut passing = PassingSurvey::new(None, how.sector_bytes);
        passing.see(&input.head);
        let mut len_max = AllocationMap::LEN_MAX;
        if let Some(room) = how.room {
            room.expect_partitions(&input.path, &passing)?;
            len_max = room.len;
        }
        let map = AllocationMap::all(len_max, State::Used);
        Ok(Self {
            len: None,
            ..Self::with(input, map)
        })
    }

    fn of_medium(
        input: Input,
        how: Surveying<'_>,
        check: ContentCheck,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let content = input.random_content()?;
        if !input.is_device() {
            check_raw(&input.path, &content)?;
        }
        let sums = check.check_all(&content, monitor)?;
        let learnt = survey(&content, input.sector_bytes, how.scope, monitor);
        let table = table_of(&content, input.sector_bytes);
        let mut own = Self {
            cut: learnt.cut.clone(),
            table,
            ..Self::with(input, learnt.map.clone())
        };
        own.sums = sums;
        own.survey = Some(learnt);
        Ok(own)
    }

    fn of_index(
        input: Input,
        scope: Scope,
        check: ContentCheck,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let content = input.random_content()?;
        if let InputAccess::Indexed { file, index, .. } = &input.access {
            check_first_frame(&input.path, &content)?;
            check_headers(&input.path, file, index, monitor)?;
        }
        let sums = check.check_all(&content, monitor)?;
        let sector_bytes = input.sector_bytes;
        // The manifest knows which bytes were copied; without one the filesystems have to tell.
        let learnt = match input.manifest() {
            Some(_) => None,
            None => Some(survey(&content, sector_bytes, scope, monitor)),
        };
        let cut = match &learnt {
            Some(learnt) => learnt.cut.clone(),
            None => cut_of(&content, sector_bytes, monitor),
        };
        let map = match (scope, input.manifest(), &learnt) {
            (Scope::UsedOnly, Some(manifest), _) => manifest.map.clone(),
            (_, _, Some(learnt)) => learnt.map.clone(),
            _ => AllocationMap::all(content.len(), State::Used),
        };
        let has_our_frames = |own: &&Manifest| own.frame_bytes == FRAME_BYTES as u64;
        let digests = input.manifest().filter(has_our_frames);
        let digests = digests.map_or_else(Vec::new, |own| own.frames.clone());
        let mut own = Self {
            len: Some(content.len()),
            survey: learnt,
            cut,
            digests,
            table: table_of(&content, sector_bytes),
            ..Self::with(input, map)
        };
        own.sums = sums;
        Ok(own)
    }

    /// An image that can only be read from its beginning on is read once before any card is
    /// touched: its length, whether it is whole, and what of it is free are known then.
    fn of_stream(
        input: Input,
        how: Surveying<'_>,
        mut check: ContentCheck,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let prescanning = Prescan {
            scope: how.scope,
            room: how.room,
            check: Some(&mut check),
        };
        let scanned = prescan(&input, prescanning, monitor)?;
        let sums = check.finish()?;
        let sector_bytes = input.sector_bytes;
        let mut own = Self {
            cut: scanned.survey.cut.clone(),
            survey: Some(scanned.survey),
            table: table_of(&scanned.prefix, sector_bytes),
            prefix: Some(scanned.prefix),
            ..Self::with(input, scanned.map)
        };
        own.len = Some(scanned.len);
        own.sums = sums;
        if own.table.is_none() {
            // Logical partitions have their records in front of each of them.
            let looked = own.look(monitor, |content| {
                let cut = cut_by_table(content, sector_bytes);
                (table_of(content, sector_bytes), cut)
            })?;
            let (table, cut) = looked.unwrap_or_default();
            own.table = table;
            own.cut = own.cut.take().or(cut);
            own.prefix = None;
        }
        if let (Some(table), Some(survey)) = (&own.table, &mut own.survey) {
            // In passing, a table is held against no end.
            survey.note_length(table);
        }
        Ok(own)
    }

    /// Refuses content that is none of a disk, and returns what the user should know of one that is. Cards,
    /// and what this program made of them, hold what they hold.
    fn check_content(
        &self,
        rule: ContentRule,
        monitor: &dyn Monitor,
    ) -> Result<Vec<String>, OpError> {
        // What has a partition table is a disk; looking at a stream again would take time.
        let is_known = self.input.manifest().is_some() || self.table.is_some();
        if self.input.device().is_some() || is_known {
            return Ok(Vec::new());
        }
        if self.input.is_pipe() {
            return check_head(&self.name(), &self.input.head, rule);
        }
        let head = self.look(monitor, |content| {
            let len = content.len().min(RECOGNISE_BYTES as u64) as usize;
            content.read_vec(0, len)
        })?;
        let Some(head) = head else {
            return Ok(Vec::new());
        };
        let head = head.map_err(|error| OpError::of_content(&self.input.path, error))?;
        check_head(&self.name(), &head, rule)
    }

    /// Returns the medium that its partition table was loaded from, unless that was looked for in a
    /// stream.
    pub(crate) fn table_medium(&self) -> Option<&dyn ReadAt> {
        match &self.input.access {
            InputAccess::Sequential { .. } => self.prefix.as_ref().map(|own| own as &dyn ReadAt),
            _ => self.content(),
        }
    }

    /// Returns its content, where that can be read anywhere.
    pub(crate) fn content(&self) -> Option<&dyn ReadAt> {
        self.input.content()
    }

    /// Returns the path of the file or device; `None` for a pipe.
    #[must_use]
    pub fn path(&self) -> Option<&PathBuf> {
        (!self.input.is_pipe()).then_some(&self.input.path)
    }

    /// Lets `look` look at its content; `None` where that wants to see too much of a stream, or
    /// anything of a pipe.
    pub(crate) fn look<T>(
        &self,
        monitor: &dyn Monitor,
        look: impl Fn(&Arc<dyn ReadAt>) -> T,
    ) -> Result<Option<T>, OpError> {
        if let Some(content) = self.input.shared_content() {
            return Ok(Some(look(&content)));
        }
        let (InputAccess::Sequential { .. }, Some(len)) = (&self.input.access, self.len) else {
            return Ok(None);
        };
        let path = &self.input.path;
        let open = || -> Result<_, CopyError> { Ok(self.input.stream()?.content) };
        look_at_stream(len, open, monitor, look)
            .map_err(|error| OpError::of_copy(path, path, error))
    }

    /// Returns its name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        path_text(&self.input.path).to_string()
    }

    /// Returns whose card it is or was, as far as that is known.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match (self.input.manifest(), &self.survey) {
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
