//! The far end of a backup: what takes a card's content, whatever it makes of it.
//!
//! Main type: [`BackupSink`]. How an image is made of what is read (frames, containers, the rescue of a
//! card that fails) is the sink's own affair: the backup only hands it what there is to read.

use std::sync::Arc;

use cardkeep_block::{AllocationMap, Extent, Monitor, ReadAt};
use cardkeep_copy::{Attendant, Health, Job, Outcome};
use cardkeep_image::EncodeOptions;

use crate::backup::plan::BackupPlan;
use crate::error::OpError;

/// What a backup reads, with all that is known of it. It owns what it reads, so that any thread may.
pub(crate) struct BackupSource<'a> {
    /// What will be done.
    pub(crate) plan: &'a BackupPlan,
    /// The medium that is stored.
    pub(crate) medium: Arc<dyn ReadAt>,
    /// Which of its bytes matter.
    pub(crate) map: Arc<AllocationMap>,
    /// Waits for a card that vanishes.
    pub(crate) attendant: Arc<dyn Attendant>,
    /// Hears how far it is.
    pub(crate) monitor: Arc<dyn Monitor>,
}

/// What takes the content of a card. The three steps follow each other; after an error nothing more is
/// called, and what a later run can resume stays.
pub(crate) trait BackupSink {
    /// Opens the far end, with what an earlier run left of it. Nothing of the card's content is stored.
    ///
    /// # Errors
    /// Where it can't be opened, or must not be resumed with this card. All is as it was then.
    fn begin(&mut self, source: &BackupSource<'_>) -> Result<(), OpError>;

    /// Reads all that is wanted of the source, and stores it.
    ///
    /// # Errors
    /// Where the source can't be read, or the far end can't be written.
    fn store(&mut self, source: &BackupSource<'_>) -> Result<Stored, OpError>;

    /// Makes what was stored the backup, which it was not until now.
    ///
    /// # Errors
    /// Where that fails: there is no backup then.
    fn finish(&mut self, source: &BackupSource<'_>, stored: &Stored) -> Result<(), OpError>;
}

/// What was stored of a card.
pub(crate) struct Stored {
    /// What the copy did.
    pub(crate) outcome: Outcome,
    /// How it was verified.
    pub(crate) verified: Verified,
    /// Used bytes that could not be read, in address order.
    pub(crate) lost: Vec<Extent>,
    /// How well the card reads; `None` where it must not fail.
    pub(crate) health: Option<Health>,
}

/// How an image was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// All of it was read back from its disk, decoded, and compared with what the card gave.
    ReadBack,
    /// It was not: the user did not want it.
    Skipped,
    /// It could not be: a stream can't be read back.
    Impossible,
}

impl BackupSource<'_> {
    /// Returns what the pipeline into an image is to do.
    pub(crate) fn job(&self) -> Job<'static> {
        let plan = self.plan;
        let mut options = EncodeOptions::default();
        options.level = plan.request.level;
        Job {
            source: Arc::clone(&self.medium),
            map: Arc::clone(&self.map),
            format: plan.format,
            options,
            verify: plan.request.verify,
            limits: plan.limits,
        }
    }
}
