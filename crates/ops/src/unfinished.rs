//! The image while it is made, with what earlier runs left of it.
//!
//! ```text
//!   NAME.partial   the image so far: whole frames, or a raw image with its bytes in place
//!   NAME.rescue    bytes of a card that fails, until a compressed image can be made of them
//!   NAME.map       which bytes those are, in ddrescue's words
//! ```

use std::path::Path;

use cardkeep_copy::{CopyError, FileShelf, FrameList, Job, Prefix, Rescue, untried};
use cardkeep_device::{Overwrite, PartialFile, PartialFileError};
use cardkeep_image::Format;

use crate::backup::{BackupRequest, Resume};
use crate::error::{OpError, OpErrorKind};

/// The image while it is made.
pub(crate) struct Unfinished {
    file: PartialFile,
    /// Whether an earlier run left something of it.
    is_left: bool,
}

impl Unfinished {
    /// Opens what an earlier run left of `image`, where that is wanted and there; or begins anew.
    pub(crate) fn open(
        request: &BackupRequest,
        image: &Path,
        format: Format,
        overwrite: Overwrite,
    ) -> Result<Self, OpError> {
        let of_file = |error| OpError::of_partial_file(image, error);
        let partial = PartialFile::partial_path(image);
        if request.resume == Resume::Yes {
            if format == Format::Raw && !partial.exists() && overwrite == Overwrite::Replace {
                take_back(image, &partial)?;
            }
            if partial.exists() {
                let file = PartialFile::reopen(image, overwrite).map_err(of_file)?;
                return Ok(Self {
                    file,
                    is_left: true,
                });
            }
        } else if overwrite == Overwrite::Replace {
            PartialFile::discard_leftover(image).map_err(of_file)?;
            FileShelf::beside(image, &request.tool)
                .discard()
                .map_err(|error| OpError::of_leftover(image, error))?;
        }
        let file = PartialFile::create(image, overwrite).map_err(of_file)?;
        Ok(Self {
            file,
            is_left: false,
        })
    }

    pub(crate) const fn file(&self) -> &PartialFile {
        &self.file
    }

    /// Returns where bytes are kept that a failing card gave.
    pub(crate) fn shelf(&self, tool: &str, format: Format) -> FileShelf<'_> {
        match format {
            Format::Raw => FileShelf::within(&self.file, tool),
            _ => FileShelf::beside(self.file.final_path(), tool),
        }
    }

    /// Returns how far earlier runs came.
    pub(crate) fn rescue<'a>(
        &self,
        shelf: &'a FileShelf<'a>,
        job: &Job<'_>,
        request: &BackupRequest,
    ) -> Result<Rescue<'a>, CopyError> {
        let mut map = untried(job.map);
        let mut prefix = Prefix::default();
        if request.resume == Resume::Yes {
            map = shelf.load(job.map.len())?;
            if job.format == Format::Zstd && self.is_left {
                prefix = Prefix::load(&self.file, &FrameList::new(job.map))?;
            }
        }
        Ok(Rescue {
            shelf,
            policy: request.policy,
            map,
            prefix,
        })
    }

    /// Gives the image its name.
    pub(crate) fn finish(self) -> Result<(), PartialFileError> {
        self.file.finish()
    }

    /// Keeps what there is for another run.
    pub(crate) fn keep(self) -> Result<(), PartialFileError> {
        self.file.keep()
    }
}

/// A raw image with a rescue map is the store itself, made by ddrescue or by an earlier run.
fn take_back(image: &Path, partial: &Path) -> Result<(), OpError> {
    match std::fs::rename(image, partial) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let message = format!("{} can't be gone on with", image.display());
            Err(OpError::new(OpErrorKind::Environment, message).caused_by(error))
        }
    }
}
