//! A card or an image, opened so that its content can be read as a medium.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{AllocationMap, Extent, Monitor, ReadAt, path_text};
use cardkeep_device::{Device, Machine, Source};
use cardkeep_image::{Error as ImageError, Format, FrameReader, Index, Manifest};

use crate::admission::{Admitted, ContentRule, admit};
use crate::error::{OpError, OpErrorKind};
use crate::lost::{Record, needed_of, tell_lost_before, try_recorded};

/// What was opened.
#[derive(Clone, Debug)]
pub enum OpenedKind {
    /// A device: a card.
    Card(Box<Device>),
    /// A block device that the machine did not list, or a raw image.
    Plain,
    /// A compressed image, with its manifest where it has one.
    Image {
        /// The container.
        format: Format,
        /// What it says of itself.
        manifest: Option<Box<Manifest>>,
    },
}

/// A card or an image whose content can be read.
pub struct Opened {
    /// The path that was named.
    pub path: PathBuf,
    /// What it is.
    pub kind: OpenedKind,
    /// The content: for an image, what is in it.
    pub content: Arc<dyn ReadAt>,
    /// The sector size in bytes that its partition table counts in.
    pub sector_bytes: u32,
    /// The size of the file or device itself.
    pub stored_bytes: u64,
}

fn open_source(path: &Path, monitor: &dyn Monitor) -> Result<Source, OpError> {
    Source::open_asking(path, monitor).map_err(|error| OpError::of_source(path, error))
}

fn not_at_any_place(path: &Path) -> OpError {
    let message = format!("{} can only be read in order", path_text(path));
    let hint = "`cardkeep verify` checks it; decompress it to look inside";
    OpError::new(OpErrorKind::Usage, message).hint(hint)
}

impl Opened {
    /// Opens what `path` names: a device, a raw image, or a zstd or xz image with an index. A device
    /// that the account may not open is asked for.
    ///
    /// # Errors
    /// [`OpError`]; other compressed images can't be read at any place and are refused with a
    /// hint.
    pub fn open(
        machine: &dyn Machine,
        path: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        Self::try_open(machine, path, monitor)?.ok_or_else(|| not_at_any_place(path))
    }

    /// Opens as [`Opened::open`] does, and keeps restores off it as long as the content is there.
    ///
    /// # Errors
    /// As [`Opened::open`]; and where somebody writes it.
    pub(crate) fn open_held(
        machine: &dyn Machine,
        path: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let source = open_source(path, monitor)?;
        let held = source.hold_still();
        held.map_err(|error| OpError::of_source(path, error))?;
        Self::of_source(machine, path, source)?.ok_or_else(|| not_at_any_place(path))
    }

    /// As [`Opened::open`]; `None` for an image that can only be read from its beginning on.
    pub(crate) fn try_open(
        machine: &dyn Machine,
        path: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Option<Self>, OpError> {
        Self::of_source(machine, path, open_source(path, monitor)?)
    }

    fn of_source(
        machine: &dyn Machine,
        path: &Path,
        source: Source,
    ) -> Result<Option<Self>, OpError> {
        if source.is_device() {
            // A device that can't be described can be read all the same.
            let device = machine.device_of_path(path).ok().flatten();
            let kind = device.map_or(OpenedKind::Plain, |device| {
                OpenedKind::Card(Box::new(device))
            });
            return Ok(Some(Self::plain(path, kind, Arc::new(source))));
        }
        Self::open_file(path, source)
    }

    /// Opens a raw image, or one with an index; `None` for one that can only be read from its
    /// beginning on.
    pub(crate) fn open_file(path: &Path, source: Source) -> Result<Option<Self>, OpError> {
        let source = Arc::new(source);
        match admit(path, &source, ContentRule::Known)? {
            Admitted::Raw => Ok(Some(Self::plain(path, OpenedKind::Plain, source))),
            Admitted::Indexed(index) => Self::open_container(path, source, *index),
            Admitted::Stream(_) => Ok(None),
        }
    }

    fn plain(path: &Path, kind: OpenedKind, source: Arc<Source>) -> Self {
        Self {
            path: path.to_path_buf(),
            kind,
            sector_bytes: source.sector_bytes(),
            stored_bytes: source.len(),
            content: source,
        }
    }

    fn open_container(
        path: &Path,
        source: Arc<Source>,
        index: Index,
    ) -> Result<Option<Self>, OpError> {
        let stored_bytes = source.len();
        let format = index.format();
        let manifest = index.manifest.clone();
        let reader = match FrameReader::new(source, index) {
            Ok(reader) => reader,
            // Frames that memory can't hold one of.
            Err(ImageError::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(OpError::of_image(path, error)),
        };
        Ok(Some(Self {
            path: path.to_path_buf(),
            sector_bytes: manifest
                .as_ref()
                .map_or(512, |manifest| manifest.sector_bytes),
            kind: OpenedKind::Image {
                format,
                manifest: manifest.map(Box::new),
            },
            content: Arc::new(reader),
            stored_bytes,
        }))
    }

    /// Returns the device, where it is one that the machine knows.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match &self.kind {
            OpenedKind::Card(device) => Some(device),
            _ => None,
        }
    }

    /// Returns what tells how the image was made; `None` for a device.
    fn record(&self) -> Option<Record<'_>> {
        match &self.kind {
            OpenedKind::Card(_) => None,
            OpenedKind::Plain => Some(Record::Map(Format::Raw)),
            OpenedKind::Image { format, manifest } => Some(match manifest {
                Some(manifest) => Record::Manifest(manifest),
                None => Record::Map(*format),
            }),
        }
    }

    /// Returns what could not be read when the image was made, of which `map` says what is used; nothing
    /// where that can't be told, which [`Opened::tell_losses`] tells.
    pub(crate) fn lost(&self, map: &AllocationMap) -> Vec<Extent> {
        let Some(record) = self.record() else {
            return Vec::new();
        };
        let recorded = try_recorded(&self.path, record, self.content.len());
        needed_of(record, recorded.unwrap_or_default(), map)
    }

    /// Tells what could not be read when the image was made.
    pub(crate) fn tell_losses(&self, monitor: &dyn Monitor) {
        if let Some(record) = self.record() {
            let content = (&*self.content, self.sector_bytes);
            tell_lost_before(&self.path, record, content, monitor);
        }
    }

    /// Returns the manifest, where it is an image that has one.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.kind {
            OpenedKind::Image { manifest, .. } => manifest.as_deref(),
            _ => None,
        }
    }
}
