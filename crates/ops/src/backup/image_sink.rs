//! An image in a file as the far end of a backup: read back as it is written, of a card that may fail,
//! and resumed where an earlier run left it.

use std::sync::Arc;

use cardkeep_copy::{FileShelf, Output, Rescue, copy_rescuing};
use cardkeep_device::{ImageFiles, Losses};

use crate::backup::failure::told;
use crate::backup::resume::{Reached, maker, reached};
use crate::backup::sink::{BackupSink, BackupSource, Stored, Verified};
use crate::backup::unfinished::Unfinished;
use crate::error::{OpError, OpErrorKind};
use crate::image_manifest::manifest_of;

/// An image in a file.
pub(crate) struct ImageSink {
    files: ImageFiles,
    begun: Option<Begun>,
    /// The image, whole but for its name.
    made: Option<Unfinished>,
}

/// An image that is begun.
struct Begun {
    file: Unfinished,
    shelf: Arc<FileShelf>,
    reached: Reached,
}

impl ImageSink {
    /// Returns the far end that is the image with these files.
    pub(crate) const fn new(files: ImageFiles) -> Self {
        Self {
            files,
            begun: None,
            made: None,
        }
    }
}

impl BackupSink for ImageSink {
    fn begin(&mut self, source: &BackupSource<'_>) -> Result<(), OpError> {
        let plan = source.plan;
        let file = Unfinished::open(&plan.request, &self.files, plan.format)?;
        let maker = maker(source);
        let shelf = Arc::new(file.shelf(&maker));
        let reached = match reached(source, &file, &shelf, &maker) {
            Ok(reached) => reached,
            Err(error) => {
                drop(shelf);
                file.withdraw();
                return Err(error);
            }
        };
        let job = source.job();
        file.begin_map(&shelf, &reached, &job)
            .and_then(|()| file.clear_left(&job))
            .map_err(|error| told(plan, self.files.image(), error))?;
        self.begun = Some(Begun {
            file,
            shelf,
            reached,
        });
        Ok(())
    }

    fn store(&mut self, source: &BackupSource<'_>) -> Result<Stored, OpError> {
        let Begun {
            file,
            shelf,
            reached,
        } = self.begun.take().ok_or_else(|| out_of_turn("begun"))?;
        let plan = source.plan;
        let rescue = Rescue {
            shelf,
            attendant: Arc::clone(&source.attendant),
            policy: plan.request.policy,
            map: reached.map,
            prefix: reached.prefix,
        };
        let manifest = |frames| manifest_of(plan, frames);
        let output = Output::Stored(file.file());
        let (result, rescued) =
            copy_rescuing(&source.job(), rescue, output, &manifest, &source.monitor);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                file.keep();
                return Err(told(plan, self.files.image(), error));
            }
        };
        self.made = Some(file);
        Ok(Stored {
            verified: match outcome.is_verified {
                true => Verified::ReadBack,
                false => Verified::Skipped,
            },
            outcome,
            lost: rescued.lost,
            health: Some(rescued.health),
        })
    }

    fn finish(&mut self, source: &BackupSource<'_>, stored: &Stored) -> Result<(), OpError> {
        let losses = match stored.lost.is_empty() {
            true => Losses::None,
            false => Losses::Some,
        };
        let file = self.made.take().ok_or_else(|| out_of_turn("stored"))?;
        file.finish(losses, &*source.monitor)
    }
}

fn out_of_turn(missing: &str) -> OpError {
    OpError::new(
        OpErrorKind::Internal,
        format!("the image was not {missing}"),
    )
}
