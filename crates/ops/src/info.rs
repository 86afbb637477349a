//! `info`: all that can be learnt of a card or an image without copying it.

use std::path::Path;
use std::sync::Arc;

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_device::{Machine, Source, Verdict, verdict};
use cardkeep_image::{Format, StreamNotes};
use cardkeep_survey::{Scope, Survey, survey};

use crate::admission::{Admitted, ContentRule, admit};
use crate::error::OpError;
use crate::lost::tell_lost_bytes;
use crate::opened::{Opened, OpenedKind};
use crate::restore::{Prescan, prescan};
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
    /// What else there is to say of the image, in words.
    pub notes: Vec<String>,
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
    let Some(opened) = Opened::try_open(machine, path, monitor)? else {
        return info_of_stream(path, monitor);
    };
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
        notes: Vec::new(),
    })
}

/// Looks at an image that can only be read from its beginning on, by reading all of it.
fn info_of_stream(path: &Path, monitor: &dyn Monitor) -> Result<InfoReport, OpError> {
    let source = Source::open(path).map_err(|error| OpError::of_source(path, error))?;
    let source = Arc::new(source);
    let notes = StreamNotes::default();
    let format = match admit(path, &source, ContentRule::Known)? {
        Admitted::Stream(format) => format,
        Admitted::Indexed(index) => index.format(),
        Admitted::Raw => Format::Raw,
    };
    let how = Prescan {
        format,
        notes: &notes,
        scope: Scope::UsedOnly,
        room: None,
        check: None,
    };
    let scanned = prescan(path, &source, how, monitor)?;
    tell_lost_bytes(path, (format, scanned.len), monitor);
    let mut notes = notes.all();
    notes.insert(
        0,
        "it can only be read in order, so all of it was read".to_owned(),
    );
    Ok(InfoReport {
        opened: Opened {
            path: path.to_path_buf(),
            kind: OpenedKind::Image {
                format,
                manifest: None,
            },
            content: Arc::new(scanned.prefix),
            sector_bytes: 512,
            stored_bytes: source.len(),
        },
        survey: scanned.survey,
        verdict: None,
        speed: None,
        notes,
    })
}
