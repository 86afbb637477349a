//! The content of a stream, unpacked next to the image that is made of it.

use std::path::Path;
use std::sync::Arc;

use cardkeep_block::{BlockError, Monitor, Phase, ReadAt, WriteAt, path_text};
use cardkeep_copy::CopyError;
use cardkeep_device::{ImageFiles, PartialFile};
use cardkeep_image::FRAME_BYTES;

use super::Input;
use crate::error::{OpError, OpErrorKind};

/// Content that could be read from its beginning on only, in a file of its own, which goes when this
/// does.
#[derive(Debug)]
struct Unpacked {
    file: Option<PartialFile>,
}

impl Unpacked {
    /// Unpacks what comes out of `input`; next to `image`. Frames of zeros become holes.
    fn of(input: &Input, image: &Path, monitor: &dyn Monitor) -> Result<Self, OpError> {
        let path = &input.path;
        let files = ImageFiles::of(image);
        let name = files.unpacked();
        let file = files.create_unpacked();
        let own = Self {
            file: Some(file.map_err(|error| OpError::of_partial_file(&name, error))?),
        };
        own.fill(input, monitor)
            .map_err(|error| OpError::of_copy(path, &name, error))?;
        if own.len() == 0 {
            let message = format!("{} has no content", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message));
        }
        Ok(own)
    }

    fn fill(&self, input: &Input, monitor: &dyn Monitor) -> Result<(), CopyError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut stream = input.stream()?;
        monitor.phase(Phase::Survey, stream.file_len);
        let mut len = 0;
        let mut frame = vec![0; FRAME_BYTES];
        loop {
            if monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            let done = stream.read(&mut frame)?;
            if done == 0 {
                break;
            }
            if frame[..done].iter().any(|&byte| byte != 0) {
                file.write_at(len, &frame[..done])
                    .map_err(CopyError::Destination)?;
            }
            len += done as u64;
            monitor.advance(Phase::Survey, stream.newly_read());
        }
        file.set_len(len).map_err(CopyError::Destination)
    }
}

impl Input {
    /// Unpacks its content next to `image`, so that it can be read anywhere. What was unpacked goes when
    /// this does.
    ///
    /// # Errors
    /// Where it can't be decoded, or there is no room.
    pub(crate) fn unpacked(self, image: &Path, monitor: &dyn Monitor) -> Result<Self, OpError> {
        let content = Arc::new(Unpacked::of(&self, image, monitor)?);
        Ok(self.reading(content))
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
