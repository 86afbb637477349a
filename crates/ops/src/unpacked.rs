//! The content of a stream, unpacked next to the image that is made of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cardkeep_block::{BlockError, Monitor, Phase, ReadAt, WriteAt, path_text};
use cardkeep_copy::{CopyError, decoded, read_content};
use cardkeep_device::{ImageFiles, PartialFile, Source};
use cardkeep_image::{FRAME_BYTES, Format};

use crate::error::{OpError, OpErrorKind};

/// Content that could be read from its beginning on only, in a file of its own, which goes when this
/// does.
#[derive(Debug)]
pub(crate) struct Unpacked {
    file: Option<PartialFile>,
    format: Format,
}

/// A file that can be read from its beginning on only.
pub(crate) struct PackedStream<'a> {
    /// The file.
    pub(crate) source: Arc<Source>,
    /// The container that its content is in.
    pub(crate) format: Format,
    /// Its path.
    pub(crate) path: &'a Path,
}

impl Unpacked {
    /// Unpacks a stream beside the image that `files` are of. Frames of zeros become holes.
    pub(crate) fn of(
        stream: PackedStream<'_>,
        files: &ImageFiles,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let PackedStream {
            source,
            format,
            path,
        } = stream;
        let name = files.unpacked();
        let file = files.create_unpacked();
        let own = Self {
            file: Some(file.map_err(|error| OpError::of_partial_file(&name, error))?),
            format,
        };
        own.fill(source, monitor)
            .map_err(|error| OpError::of_copy(path, &name, error))?;
        if own.len() == 0 {
            let message = format!("{} has no content", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message));
        }
        Ok(own)
    }

    /// Returns the container that it was in.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    fn fill(&self, source: Arc<Source>, monitor: &dyn Monitor) -> Result<(), CopyError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        monitor.phase(Phase::Survey, Some(source.len()));
        let (mut content, position) = decoded(source as Arc<dyn ReadAt>, self.format)?;
        let (mut len, mut told) = (0, 0);
        let mut frame = vec![0; FRAME_BYTES];
        loop {
            if monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            let done = read_content(&mut *content, &mut frame)?;
            if done == 0 {
                break;
            }
            if frame[..done].iter().any(|&byte| byte != 0) {
                file.write_at(len, &frame[..done])
                    .map_err(CopyError::Destination)?;
            }
            len += done as u64;
            let now = position.load(Ordering::Relaxed);
            monitor.advance(Phase::Survey, now - told);
            told = now;
        }
        file.set_len(len).map_err(CopyError::Destination)
    }
}

impl ReadAt for Unpacked {
    fn len(&self) -> u64 {
        self.file.as_ref().map_or(0, ReadAt::len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        match &self.file {
            Some(file) => file.read_at(offset, buffer),
            None => self.bounded(offset, buffer.len()).map(|_| ()),
        }
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // A leftover has a name that says what it is, and the next call takes it away.
        drop(self.file.take().map(PartialFile::abandon));
    }
}
