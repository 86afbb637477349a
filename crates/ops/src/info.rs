//! `info`: all that can be learnt of a card or an image without copying it.

use std::path::Path;

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_device::{Machine, Verdict, verdict};
use cardkeep_survey::{Scope, Survey, survey};

use crate::error::OpError;
use crate::input::{ContentRule, Input, Prescan, prescan};
use crate::speed::measure;

/// What was learnt.
pub struct InfoReport {
    /// What was looked at.
    pub opened: Input,
    /// What is on it.
    pub survey: Survey,
    /// Whether the device may be written; `None` for files.
    pub verdict: Option<Verdict>,
    /// How fast it reads, in bytes per second.
    pub speed: Option<u64>,
    /// What else there is to say of the image, in words.
    pub notes: Vec<String>,
}

/// Looks at a card, an image or a pipe.
///
/// # Errors
/// [`OpError`] where it can't be opened.
pub fn info(
    machine: &dyn Machine,
    path: &Path,
    rule: ContentRule,
    monitor: &dyn Monitor,
) -> Result<InfoReport, OpError> {
    let opened = Input::open(machine, path, rule, monitor)?;
    let Some(content) = opened.shared_content() else {
        return info_of_stream(opened, monitor);
    };
    let sector_bytes = opened.sector_bytes;
    let survey = survey(&content, sector_bytes, Scope::UsedOnly, monitor);
    let speed = opened.device().and_then(|_| measure(&content, &survey.map));
    let verdict = opened.device().map(verdict);
    opened.tell_losses(content.len(), monitor);
    debug_assert_eq!(survey.len, content.len(), "the survey is of this medium");
    Ok(InfoReport {
        opened,
        survey,
        verdict,
        speed,
        notes: Vec::new(),
    })
}

/// Looks at what can only be read from its beginning on, by reading all of it.
fn info_of_stream(opened: Input, monitor: &dyn Monitor) -> Result<InfoReport, OpError> {
    let how = Prescan {
        scope: Scope::UsedOnly,
        room: None,
        check: None,
    };
    let scanned = prescan(&opened, how, monitor)?;
    opened.tell_losses(scanned.len, monitor);
    let mut notes = opened.stream_notes.all();
    notes.insert(
        0,
        "it can only be read in order, so all of it was read".to_owned(),
    );
    Ok(InfoReport {
        opened,
        survey: scanned.survey,
        verdict: None,
        speed: None,
        notes,
    })
}
