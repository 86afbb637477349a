//! What a backup will do, as data; and what is open for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{Extent, Monitor, ReadAt, State, Trouble, path_text, size_text, with_causes};
use cardkeep_copy::Limits;
use cardkeep_device::{Device, ImageFiles, Machine};
use cardkeep_image::Format;
use cardkeep_resize::Declined;
use cardkeep_resize::medium::{Shrunk, Smaller, smaller};
use cardkeep_survey::{Survey, survey};

use crate::backup::request::{BackupRequest, Estimate, Otherwise, Shrink, Target};
use crate::backup::unfinished::Unfinished;
use crate::completeness::check_whole;
use crate::error::{OpError, OpErrorKind};
use crate::image_name::free_name;
use crate::input::{Input, InputKind};
use crate::precheck::{check_destination, check_holder, check_mounts, check_name};
use crate::returning::Slot;
use crate::speed::measure;

/// What will be done, as data: to be shown before it is.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    /// The path of the card, or of what else is read.
    pub card: PathBuf,
    /// What it is.
    pub kind: InputKind,
    /// The sector size in bytes that its partition table counts in.
    pub sector_bytes: u32,
    /// What is on it.
    pub survey: Survey,
    /// What of its used bytes could not be read when it was made, where it is an image.
    pub lost_before: Vec<Extent>,
    /// The shorter medium that goes into the image in its place.
    pub shrunk: Option<Box<Shrunk>>,
    /// Where the image goes; `None` for a stream.
    pub image: Option<PathBuf>,
    /// The container.
    pub format: Format,
    /// How fast the card reads, in bytes per second.
    pub speed: Option<u64>,
    /// The sizes of the pipeline.
    pub limits: Limits,
    /// What was wanted.
    pub request: BackupRequest,
}

/// A plan, with all that is open for it.
pub struct BackupSession {
    /// What will be done.
    pub plan: BackupPlan,
    /// The medium that is copied: what `slot` holds, or a shorter one made of it.
    content: Arc<dyn ReadAt>,
    /// What the card is read from.
    slot: Arc<Slot>,
    /// The image's files; `None` for a stream.
    files: Option<ImageFiles>,
}

impl BackupPlan {
    /// Returns the device that is read, where it is one that the machine knows.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match &self.kind {
            InputKind::Card(device) => Some(device),
            _ => None,
        }
    }

    /// Returns what will be in the image.
    #[must_use]
    pub fn contents(&self) -> &Survey {
        match &self.shrunk {
            Some(shrunk) => &shrunk.survey,
            None => &self.survey,
        }
    }

    /// Returns the bytes that will be read (gaps that are read through not counted).
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.contents().map.bytes(State::Used)
    }

    /// Returns the bytes that will be left out because they are free.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.contents().map.bytes(State::Free)
    }

    /// Returns the bytes that are known to be zero, or become so: journals for the most part.
    #[must_use]
    pub fn zero_bytes(&self) -> u64 {
        self.contents().map.bytes(State::Zero)
    }
}

impl BackupSession {
    /// Lets `watch` hear of each change to the image's files.
    #[cfg(test)]
    pub(crate) fn watch(&mut self, watch: Arc<dyn cardkeep_device::Watch>) {
        self.files = self.files.take().map(|files| files.watched_by(watch));
    }

    /// Returns the medium that is copied.
    pub(crate) const fn content(&self) -> &Arc<dyn ReadAt> {
        &self.content
    }

    /// Returns what the card is read from.
    pub(crate) const fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Returns the image's files; `None` for a stream.
    pub(crate) const fn files(&self) -> Option<&ImageFiles> {
        self.files.as_ref()
    }
}

/// Looks at the card and the destination, and says what a backup will do.
///
/// # Errors
/// [`OpErrorKind::Refused`] where the card is mounted read-write or the image would lie on the
/// card, [`OpErrorKind::Usage`] and [`OpErrorKind::Environment`] where the destination won't do.
pub fn plan(
    machine: &dyn Machine,
    request: BackupRequest,
    monitor: &dyn Monitor,
) -> Result<BackupSession, OpError> {
    request.container()?;
    // ORDER: mounts before opening. That a disk is in use says more than that it can't be opened.
    // A path that names no device, such as an image, has no mounts.
    let device = machine.device_of_path(&request.card).ok().flatten();
    if let Some(device) = &device {
        check_mounts(machine, device, request.unmount)?;
    }
    let opened = open_card(machine, &request.card, monitor)?;
    let content = opened.random_content()?;
    opened.tell_losses(content.len(), monitor);
    let survey = survey(&content, opened.sector_bytes, request.scope, monitor);
    let image = match &request.target {
        Target::File(path) => Some(path.clone()),
        Target::Named => {
            let host = survey.identity.hostname.as_deref();
            let extension = request.container()?.extension();
            Some(free_name(host, &request.date, extension))
        }
        Target::Stream => None,
    };
    if let Some(image) = &image {
        check_name(image, request.overwrite_of(image))?;
        check_holder(machine, device.as_ref(), image)?;
    }
    let looked = Looked { opened, survey };
    looked.planned(image, request, monitor)
}

/// What was opened, and what is on it.
pub(crate) struct Looked {
    pub(crate) opened: Input,
    pub(crate) survey: Survey,
}

impl Looked {
    /// Plans the copy of what was opened to `image`.
    pub(crate) fn planned(
        self,
        image: Option<PathBuf>,
        request: BackupRequest,
        monitor: &dyn Monitor,
    ) -> Result<BackupSession, OpError> {
        let Self { opened, survey } = self;
        if !opened.is_device() {
            let name = path_text(&opened.path).to_string();
            let what = (name.as_str(), survey.cut.as_ref());
            check_whole(what, request.truncated, OpErrorKind::Refused)?;
        }
        let format = request.container()?;
        let slot = Arc::new(Slot::new(opened.random_content()?));
        let content = Arc::clone(&slot) as Arc<dyn ReadAt>;
        let opened = opened.reading(Arc::clone(&content));
        let shorter = shorter(&opened, &survey, request.shrink, monitor)?;
        let taken_apart = |it: Smaller| (it.shrunk, it.view as Arc<dyn ReadAt>);
        let (shrunk, view) = shorter.map(taken_apart).unzip();
        let speed = match request.estimate {
            Estimate::Measured => measure(&content, &survey.map),
            Estimate::None => None,
        };
        let session = BackupSession {
            content: view.unwrap_or(content),
            slot,
            files: image.clone().map(ImageFiles::of),
            plan: BackupPlan {
                lost_before: opened.lost(&survey.map),
                card: opened.path,
                kind: opened.kind,
                sector_bytes: opened.sector_bytes,
                survey,
                shrunk: shrunk.map(Box::new),
                image,
                format,
                speed,
                limits: Limits::for_cores(request.cores),
                request,
            },
        };
        if let Some(files) = &session.files {
            let plan = &session.plan;
            let kept_bytes = Unfinished::kept_bytes(&plan.request, files);
            let image = (files.image(), kept_bytes);
            check_destination(&plan.card, plan.contents(), image, format)?;
        }
        Ok(session)
    }
}

/// Makes what was opened shorter, where that is wanted.
fn shorter(
    opened: &Input,
    survey: &Survey,
    wanted: Option<Shrink>,
    monitor: &dyn Monitor,
) -> Result<Option<Smaller>, OpError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let declined = match smaller(&opened.random_content()?, survey, wanted.length, monitor) {
        Ok(smaller) => return Ok(Some(smaller)),
        Err(_) if monitor.is_cancelled() => {
            return Err(OpError::new(OpErrorKind::Interrupted, "stopped"));
        }
        Err(declined) => declined,
    };
    let message = format!("{} can't be made smaller", path_text(&opened.path));
    if wanted.otherwise == Otherwise::CopyWhole {
        let why = with_causes(&declined);
        monitor.trouble(Trouble::new(format!(
            "{message}: {why}; it is copied unchanged"
        )));
        return Ok(None);
    }
    let kind = match &declined {
        Declined::TooShort { .. } => OpErrorKind::Usage,
        _ => OpErrorKind::Refused,
    };
    let error = OpError::new(kind, message);
    let error = match declined {
        Declined::TooShort { least, .. } => error.hint(format!(
            "the smallest possible size is {} ({least} bytes)",
            size_text(least)
        )),
        _ => error.hint(
            "`cardkeep backup` with --or-whole copies a card unchanged if it can't be made smaller",
        ),
    };
    Err(error.caused_by(declined))
}

fn open_card(machine: &dyn Machine, card: &Path, monitor: &dyn Monitor) -> Result<Input, OpError> {
    // ORDER: hold before survey. A map of a card that somebody writes is none.
    let opened = Input::open_held(machine, card, monitor)?;
    if let InputKind::Image { .. } = opened.kind {
        let message = format!("{} is a compressed image already", path_text(card));
        return Err(OpError::new(OpErrorKind::Usage, message).hint("name a card or a raw image"));
    }
    if opened.stored_bytes == Some(0) {
        let message = format!("{} is empty, or no card is in the reader", path_text(card));
        return Err(OpError::new(OpErrorKind::Usage, message));
    }
    Ok(opened)
}
