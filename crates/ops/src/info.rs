//! `info`: all that can be learnt of a card or an image without copying it.

use std::path::Path;

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_device::{Machine, Verdict, verdict};
use cardkeep_survey::{Scope, Survey, survey};

use crate::error::OpError;
use crate::opened::Opened;
use crate::speed::measure;

/// What was learnt.
pub struct InfoReport {
    /// What was looked at.
    pub opened: Opened,
    /// What is on it.
    pub survey: Survey,
    /// Whether the device may be written; `None` for files.
    pub verdict: Option<Verdict>,
    /// How fast it reads, in bytes per second.
    pub speed: Option<u64>,
}

/// Looks at a card or an image.
///
/// # Errors
/// [`OpError`] where it can't be opened.
pub fn info(
    machine: &dyn Machine,
    path: &Path,
    monitor: &dyn Monitor,
) -> Result<InfoReport, OpError> {
    let opened = Opened::open(machine, path, monitor)?;
    let survey = survey(
        &opened.content,
        opened.sector_bytes,
        Scope::UsedOnly,
        monitor,
    );
    let speed = opened
        .device()
        .and_then(|_| measure(&opened.content, &survey.map));
    let verdict = opened.device().map(verdict);
    opened.tell_losses(monitor);
    debug_assert_eq!(
        survey.len,
        opened.content.len(),
        "the survey is of this medium"
    );
    Ok(InfoReport {
        opened,
        survey,
        verdict,
        speed,
    })
}
