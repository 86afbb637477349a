//! A card that is to be written: what it is, what is on it, and whether it may be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{Monitor, ReadAt, Silent, path_text};
use cardkeep_device::{Device, FileTarget, Machine, Source, Verdict, verdict};
use cardkeep_survey::{Scope, Survey, survey};

use crate::error::{OpError, OpErrorKind};
use crate::input::kept_kind;
use crate::restore::fit::Fit;
use crate::restore::telling::of_refusal;

/// A card that is to be written.
#[derive(Clone, Debug)]
pub struct TargetPlan {
    /// The path that it was named by.
    pub path: PathBuf,
    /// The device; `None` for a file in a card's place.
    pub device: Option<Device>,
    /// The file in a card's place, as it was looked at.
    pub file: Option<FileTarget>,
    /// How long it is, in bytes.
    pub len: u64,
    /// Its logical sector size in bytes.
    pub sector_bytes: u32,
    /// What is on it, and will be lost; `None` where it can't be read.
    pub contents: Option<Survey>,
    /// How what is restored lies on it.
    pub fit: Arc<Fit>,
}

/// A card that was looked at.
pub(crate) struct Looked {
    pub(crate) path: PathBuf,
    pub(crate) device: Option<Device>,
    pub(crate) file: Option<FileTarget>,
    pub(crate) len: u64,
    pub(crate) sector_bytes: u32,
}

/// Looks at the card that `path` names, and refuses one that must not be written.
pub(crate) fn look(
    machine: &dyn Machine,
    path: &Path,
    expected_serial: Option<&str>,
) -> Result<Looked, OpError> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        let message = format!("there is no {}", path_text(path));
        OpError::new(OpErrorKind::Usage, message)
            .hint("`cardkeep list` shows the available cards")
            .caused_by(error)
    })?;
    if metadata.is_file() {
        if expected_serial.is_some() {
            return Err(refused(path, "it is a file, which has no serial number"));
        }
        return look_at_file(path);
    }
    let of_source = |error| OpError::of_source(path, error);
    if let Some(number) = machine.partition_of_path(path).map_err(of_source)? {
        let message = format!("{} is partition {number} of a card", path_text(path));
        return Err(OpError::new(OpErrorKind::Usage, message)
            .hint("name the whole card: a restore writes its partition table too"));
    }
    let Some(device) = machine.device_of_path(path).map_err(of_source)? else {
        return Err(refused(path, "it is not a disk that this machine lists"));
    };
    check_device(&device, expected_serial)?;
    Ok(Looked {
        path: path.to_path_buf(),
        len: device.size_bytes,
        sector_bytes: device.sector_bytes,
        device: Some(device),
        file: None,
    })
}

/// Looks at a file that is named as a card, and refuses one that is none: what `*.img.zst` expands to
/// must not cost a backup.
fn look_at_file(path: &Path) -> Result<Looked, OpError> {
    let file = FileTarget::look(path).map_err(|refusal| of_refusal(path, refusal))?;
    if let Some(what) = kept_kind(path)? {
        let why = format!("it is {what}, not a card");
        return Err(refused(path, &why).hint(
            "name a card, or a file that stands in for one: `truncate -s SIZE card.img` makes one",
        ));
    }
    Ok(Looked {
        path: path.to_path_buf(),
        device: None,
        len: file.len,
        sector_bytes: 512,
        file: Some(file),
    })
}

fn check_device(device: &Device, expected_serial: Option<&str>) -> Result<(), OpError> {
    if let Verdict::Guarded(guards) = verdict(device) {
        let message = format!("{} must not be written", path_text(&device.path));
        let error = OpError::new(OpErrorKind::Refused, message);
        return Err(guards
            .iter()
            .fold(error, |error, guard| error.hint(guard.to_string()))
            .hint("`cardkeep list --all` shows every disk and why it is guarded"));
    }
    let Some(expected) = expected_serial else {
        return Ok(());
    };
    let known = [&device.serial, &device.card_id];
    if known
        .into_iter()
        .flatten()
        .any(|own| own.trim() == expected)
    {
        return Ok(());
    }
    let why = match &device.serial {
        Some(own) => format!("its serial number is {own}, not {expected}"),
        None => format!("it reports no serial number, so it may not be {expected}"),
    };
    Err(refused(&device.path, &why))
}

/// Returns what is on a card, where it can be read.
pub(crate) fn contents(looked: &Looked, monitor: &dyn Monitor) -> Option<Survey> {
    // A no is not the end here: the plan can be shown without it, and whoever writes asks by itself.
    let source = Source::open_asking(&looked.path, monitor).ok()?;
    if source.len() == 0 {
        return None;
    }
    // What is wrong with what will be erased is no trouble of this restore.
    let quiet = Quiet(monitor);
    Some(survey(
        &source,
        looked.sector_bytes,
        Scope::UsedOnly,
        &quiet,
    ))
}

/// Passes on nothing but the wish to stop.
struct Quiet<'a>(&'a dyn Monitor);

impl Monitor for Quiet<'_> {
    fn phase(&self, phase: cardkeep_block::Phase, total: Option<u64>) {
        Silent.phase(phase, total);
    }
    fn advance(&self, phase: cardkeep_block::Phase, bytes: u64) {
        Silent.advance(phase, bytes);
    }
    fn trouble(&self, trouble: cardkeep_block::Trouble) {
        Silent.trouble(trouble);
    }
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

pub(crate) fn refused(path: &Path, why: &str) -> OpError {
    let message = format!("{} is not written", path_text(path));
    OpError::new(OpErrorKind::Refused, message).hint(why)
}
