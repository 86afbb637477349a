//! `backup`: a card in, a verified image out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cardkeep_block::{Monitor, ReadAt, State, Trouble, path_text, size_text};
use cardkeep_copy::{
    Attendant, CopyError, FileShelf, FrameList, Health, Job, Limits, ManifestOf, Outcome, Output,
    Rescue, RescueReport, RetryPolicy, Unattended, Verify, copy, copy_rescuing,
};
use cardkeep_device::{ImageFiles, Losses, Machine, Overwrite};
use cardkeep_image::{EncodeOptions, Format};
use cardkeep_resize::medium::{Declined, Length, Smaller, smaller};
use cardkeep_survey::{Place, Scope, Survey, silent_places, survey};

use crate::completeness::{Truncated, check_whole};
use crate::error::{OpError, OpErrorKind, chain};
use crate::fingerprint::{fingerprint, telling_places};
use crate::image_manifest::manifest_of;
use crate::image_name::{check_format_named, free_name};
use crate::lost::{Lost, tell_lost};
use crate::opened::{Opened, OpenedKind};
use crate::precheck::{check_destination, check_holder, check_mounts, check_name};
use crate::returning::{Returning, Slot};
use crate::second_reading::read_again;
use crate::speed::measure;
use crate::unfinished::Unfinished;

/// Where the image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file with this name.
    File(PathBuf),
    /// A file in the current folder, named after the card and the day.
    Named,
    /// A stream: a pipe, another program.
    Stream,
}

/// Whether a mounted card may be unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// It may.
    Yes,
    /// It stays mounted, and is not read.
    No,
}

/// Whether a plan says how long it will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// The card's speed is measured on what would be read anyway.
    Measured,
    /// It is found out soon enough.
    None,
}

/// Whether to go on with what an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It starts anew.
    No,
    /// What an earlier run read of the card, or ddrescue, is not read again.
    Yes,
}

/// Whether the card is read a second time, to see whether it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondReading {
    /// Once is enough.
    No,
    /// All that was copied is read again.
    Yes,
}

/// How far to shrink the image below the card's size, by a filesystem's free blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// How short.
    pub length: Length,
    /// What to do where that can't be done safely.
    pub otherwise: Otherwise,
}

/// What to do with a card that can't be made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Nothing.
    Refuse,
    /// Copy it as it is.
    CopyWhole,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// The card, or any other device or file.
    pub card: PathBuf,
    /// Where the image goes.
    pub target: Target,
    /// The container; by the target's name where `None`.
    pub format: Option<Format>,
    /// The compression level, in the numbers of the format.
    pub level: Option<i32>,
    /// How much of the card is wanted.
    pub scope: Scope,
    /// Whether an existing image may be replaced.
    pub overwrite: Overwrite,
    /// Whether the card may be unmounted.
    pub unmount: Unmount,
    /// How short the image gets; `None` for the card's own length.
    pub shrink: Option<Shrink>,
    /// How hard a card is tried that fails, and what becomes of what it does not give.
    pub policy: RetryPolicy,
    /// Whether to go on with what an earlier run left.
    pub resume: Resume,
    /// How long a card is waited for that vanishes.
    pub patience: Duration,
    /// Whether the image is read back.
    pub verify: Verify,
    /// What becomes of an image that ends before its partitions do. A card is always taken as it is:
    /// what it lacks is told.
    pub truncated: Truncated,
    /// Whether the card is read twice.
    pub second_reading: SecondReading,
    /// Whether to measure the card's speed first, which costs a second or two of reading.
    pub estimate: Estimate,
    /// Today, as `2026-11-22`.
    pub date: String,
    /// Name and version of the program.
    pub tool: String,
    /// How many threads may compress.
    pub cores: usize,
}

/// What will be done: to be shown before it is.
pub struct BackupPlan {
    /// The card, opened.
    pub opened: Opened,
    /// What is on it.
    pub survey: Survey,
    /// The shorter medium that goes into the image in its place.
    pub shrunk: Option<Box<Smaller>>,
    /// Where the image goes; `None` for a stream.
    pub image: Option<PathBuf>,
    /// The container.
    pub format: Format,
    /// How fast the card reads, in bytes per second.
    pub speed: Option<u64>,
    /// The sizes of the pipeline.
    pub limits: Limits,
    /// The image's files; `None` for a stream.
    files: Option<ImageFiles>,
    /// What `opened` reads.
    slot: Arc<Slot>,
    request: BackupRequest,
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

/// What was done.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The image; `None` for a stream.
    pub image: Option<PathBuf>,
    /// What the copy did.
    pub outcome: Outcome,
    /// How it was verified.
    pub verified: Verified,
    /// What could not be read, by name; empty for a card that did not fail. A file with two names is
    /// there twice.
    pub lost: Vec<Place>,
    /// How many bytes that are.
    pub lost_bytes: u64,
    /// What read differently a second time.
    pub unstable: Vec<Place>,
    /// How well the card reads; `None` for a stream, whose card must not fail.
    pub health: Option<Health>,
    /// How long it took, from the first byte copied to the last one verified.
    pub elapsed: Duration,
}

impl BackupPlan {
    /// Lets `watch` hear of each change to the image's files.
    #[cfg(test)]
    pub(crate) fn watch(&mut self, watch: Arc<dyn cardkeep_device::Watch>) {
        self.files = self.files.take().map(|files| files.watched_by(watch));
    }

    pub(crate) const fn request(&self) -> &BackupRequest {
        &self.request
    }

    /// Returns what will be in the image.
    #[must_use]
    pub fn contents(&self) -> &Survey {
        match &self.shrunk {
            Some(shrunk) => &shrunk.survey,
            None => &self.survey,
        }
    }

    /// Returns the medium that is copied.
    pub(crate) fn content(&self) -> &dyn ReadAt {
        match &self.shrunk {
            Some(shrunk) => &shrunk.view,
            None => &self.opened.content,
        }
    }

    /// Returns the bytes that will be read (gaps that are read through not counted).
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.contents().map.bytes(State::Used)
    }

    /// Returns the bytes that will be left out because nobody will miss them.
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

/// Looks at the card and the destination, and says what a backup will do.
///
/// # Errors
/// [`OpErrorKind::Refused`] where the card is mounted read-write or the image would lie on the
/// card, [`OpErrorKind::Usage`] and [`OpErrorKind::Environment`] where the destination won't do.
pub fn plan(
    machine: &dyn Machine,
    request: BackupRequest,
    monitor: &dyn Monitor,
) -> Result<BackupPlan, OpError> {
    format_of(&request)?;
    // ORDER: mounts before opening. That a disk is in use says more than that it can't be opened.
    // A path that names no device, such as an image, has no mounts.
    let device = machine.device_of_path(&request.card).ok().flatten();
    if let Some(device) = &device {
        check_mounts(machine, device, request.unmount)?;
    }
    let opened = open_card(machine, &request.card, monitor)?;
    opened.tell_losses(monitor);
    let survey = survey(&opened.content, opened.sector_bytes, request.scope, monitor);
    let image = match &request.target {
        Target::File(path) => Some(path.clone()),
        Target::Named => {
            let host = survey.identity.hostname.as_deref();
            Some(free_name(
                host,
                &request.date,
                format_of(&request)?.extension(),
            ))
        }
        Target::Stream => None,
    };
    if let Some(image) = &image {
        check_name(image, overwrite_of(&request, image))?;
        check_holder(machine, device.as_ref(), image)?;
    }
    planned((opened, survey), image, request, monitor)
}

/// Plans the copy of what was opened to `image`.
pub(crate) fn planned(
    (mut opened, survey): (Opened, Survey),
    image: Option<PathBuf>,
    request: BackupRequest,
    monitor: &dyn Monitor,
) -> Result<BackupPlan, OpError> {
    if opened.path.is_file() {
        let name = path_text(&opened.path).to_string();
        let what = (name.as_str(), survey.cut.as_ref());
        check_whole(what, request.truncated, OpErrorKind::Refused)?;
    }
    let format = format_of(&request)?;
    let slot = Arc::new(Slot::new(opened.content));
    opened.content = Arc::clone(&slot) as Arc<dyn ReadAt>;
    let shrunk = shrunk(&opened, &survey, request.shrink, monitor)?;
    let speed = match request.estimate {
        Estimate::Measured => measure(&opened.content, &survey.map),
        Estimate::None => None,
    };
    let limits = Limits::for_cores(request.cores);
    let plan = BackupPlan {
        opened,
        survey,
        shrunk,
        files: image.clone().map(ImageFiles::of),
        image,
        format,
        speed,
        limits,
        slot,
        request,
    };
    if let Some(image) = &plan.image {
        let kept_bytes = Unfinished::kept_bytes(&plan.request, &ImageFiles::of(image));
        let image = (image.as_path(), kept_bytes);
        check_destination(&plan.opened.path, plan.contents(), image, format)?;
    }
    Ok(plan)
}

/// Makes what was opened shorter, where that is wanted.
fn shrunk(
    opened: &Opened,
    survey: &Survey,
    wanted: Option<Shrink>,
    monitor: &dyn Monitor,
) -> Result<Option<Box<Smaller>>, OpError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let declined = match smaller(&opened.content, survey, wanted.length, monitor) {
        Ok(smaller) => return Ok(Some(Box::new(smaller))),
        Err(_) if monitor.is_cancelled() => {
            return Err(OpError::new(OpErrorKind::Interrupted, "stopped"));
        }
        Err(declined) => declined,
    };
    let message = format!("{} can't be made smaller", path_text(&opened.path));
    if wanted.otherwise == Otherwise::CopyWhole {
        let why = chain(&declined);
        monitor.trouble(Trouble::new(format!(
            "{message}: {why}; it is copied as it is"
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
            "{} ({least} bytes) are the least that it fits",
            size_text(least)
        )),
        _ => error.hint("`cardkeep backup` with --or-whole copies a card as it is where it can't be made smaller"),
    };
    Err(error.caused_by(declined))
}

fn open_card(machine: &dyn Machine, card: &Path, monitor: &dyn Monitor) -> Result<Opened, OpError> {
    // ORDER: hold before survey. A map of a card that somebody writes is none.
    let opened = Opened::open_held(machine, card, monitor)?;
    if let OpenedKind::Image { .. } = opened.kind {
        let message = format!("{} is a compressed image already", path_text(card));
        return Err(OpError::new(OpErrorKind::Usage, message).hint("name a card or a raw image"));
    }
    if opened.content.len() == 0 {
        let message = format!("{} is empty, or no card is in the reader", path_text(card));
        return Err(OpError::new(OpErrorKind::Usage, message));
    }
    Ok(opened)
}

pub(crate) fn format_of(request: &BackupRequest) -> Result<Format, OpError> {
    let Target::File(path) = &request.target else {
        return Ok(request.format.unwrap_or(Format::Zstd));
    };
    if let Some(format) = request.format {
        check_format_named(path, format)?;
        return Ok(format);
    }
    match Format::from_name(path) {
        Some(format @ (Format::Raw | Format::Zstd | Format::Gzip | Format::Xz)) => Ok(format),
        _ => Err(OpError::new(
            OpErrorKind::Usage,
            format!("what kind of image is {} to be?", path_text(path)),
        )
        .hint("end its name in .img, .img.zst, .img.gz or .img.xz, or say --format")),
    }
}

/// Does what the plan says. `stream` takes the image where its target is a stream.
///
/// # Errors
/// [`OpError`]. No file has the image's name then. What was written of it stays beside it for
/// [`Resume::Yes`], where that can go on with it.
pub fn apply(
    machine: &dyn Machine,
    plan: &BackupPlan,
    stream: &mut (dyn Write + Send),
    monitor: &dyn Monitor,
) -> Result<BackupReport, OpError> {
    let started = Instant::now();
    let returning = plan.opened.device().map(|device| {
        let wait = (telling_places(&plan.survey), plan.request.patience);
        let read = (&*plan.slot, plan.content());
        Returning::new((machine, device), read, wait, monitor)
    });
    let (source, attendant): (&dyn ReadAt, &dyn Attendant) = match &returning {
        Some(returning) => (returning, returning),
        None => (plan.content(), &Unattended),
    };
    let job = Job {
        source,
        map: &plan.contents().map,
        format: plan.format,
        options: options(plan.request.level),
        verify: plan.request.verify,
        limits: plan.limits,
    };
    let manifest = |frames| manifest_of(plan, frames);
    let Some(image) = &plan.image else {
        let outcome = copy(&job, Output::Stream(stream), &manifest, monitor)
            .map_err(|error| told(plan, Path::new("the output"), error))?;
        return Ok(BackupReport {
            image: None,
            outcome,
            verified: Verified::Impossible,
            lost: Vec::new(),
            lost_bytes: 0,
            unstable: Vec::new(),
            health: None,
            elapsed: started.elapsed(),
        });
    };
    let (outcome, rescued) = to_file(plan, (&job, attendant), image, &manifest, monitor)?;
    let unstable = match plan.request.second_reading {
        SecondReading::Yes => read_again(plan, image, (&outcome, &rescued.lost), monitor)?,
        SecondReading::No => Vec::new(),
    };
    Ok(BackupReport {
        image: Some(image.clone()),
        verified: if outcome.is_verified {
            Verified::ReadBack
        } else {
            Verified::Skipped
        },
        outcome,
        lost: tell_lost(
            (plan.content(), plan.contents()),
            &rescued.lost,
            Lost::Now,
            monitor,
        ),
        lost_bytes: rescued.lost.iter().map(|extent| extent.len()).sum(),
        unstable,
        health: Some(rescued.health),
        elapsed: started.elapsed(),
    })
}

fn to_file(
    plan: &BackupPlan,
    (job, attendant): (&Job<'_>, &dyn Attendant),
    image: &Path,
    manifest: ManifestOf<'_>,
    monitor: &dyn Monitor,
) -> Result<(Outcome, RescueReport), OpError> {
    let files = plan.files.clone().unwrap_or(ImageFiles::of(image));
    let file = Unfinished::open(&plan.request, &files, job.format)?;
    let card = fingerprint(job.source, &telling_places(plan.contents()));
    let maker = maker(&plan.request, card.as_deref());
    let shelf = file.shelf(&maker);
    let checked = rescue_of_same(plan, (job, attendant), (&file, &shelf, &maker), image);
    let rescue = match checked {
        Ok(rescue) => rescue,
        Err(error) => {
            drop(shelf);
            file.withdraw();
            return Err(error);
        }
    };
    file.begin_map(&shelf, &rescue, job)
        .and_then(|()| file.clear_left(job))
        .map_err(|error| told(plan, image, error))?;
    let (result, rescued) =
        copy_rescuing(job, rescue, Output::Stored(file.file()), manifest, monitor);
    drop(shelf);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            file.keep();
            return Err(told(plan, image, error));
        }
    };
    let losses = match rescued.lost.is_empty() {
        true => Losses::None,
        false => Losses::Some,
    };
    file.finish(losses, monitor)?;
    Ok((outcome, rescued))
}

/// Returns how far earlier runs came, where they were with this very card.
fn rescue_of_same<'a>(
    plan: &BackupPlan,
    (job, attendant): (&Job<'_>, &'a dyn Attendant),
    (file, shelf, maker): (&Unfinished, &'a FileShelf, &str),
    image: &Path,
) -> Result<Rescue<'a>, OpError> {
    if plan.request.resume == Resume::Yes {
        check_maker(plan, shelf, maker, image)?;
    }
    let rescue = file
        .rescue((shelf, attendant), job, &plan.request)
        .map_err(|error| match error {
            CopyError::Image(_) => told(plan, &ImageFiles::of(image).map(), error),
            error => told(plan, image, error),
        })?;
    check_same(plan, job, &rescue, image)?;
    Ok(rescue)
}

/// Refuses to go on with another card, or with one that was used meanwhile.
fn check_same(
    plan: &BackupPlan,
    job: &Job<'_>,
    rescue: &Rescue<'_>,
    image: &Path,
) -> Result<(), OpError> {
    let mut telling = telling_places(plan.contents());
    if plan.request.resume == Resume::Yes {
        telling.extend(silent_places(job.source, plan.contents()));
    }
    let changed = rescue
        .find_change(job.source, &FrameList::new(job.map), &telling)
        .map_err(|error| told(plan, image, error))?;
    match changed {
        Some(changed) => Err(changed_meanwhile(plan).caused_by(format!("it differs at {changed}"))),
        None => Ok(()),
    }
}

/// Refuses to go on with a mapfile that was made of another card, or of what this one was before.
fn check_maker(
    plan: &BackupPlan,
    shelf: &FileShelf,
    maker: &str,
    image: &Path,
) -> Result<(), OpError> {
    let found = shelf
        .maker()
        .map_err(|error| told(plan, image, CopyError::Destination(error)))?;
    let card_of = |maker: &str| maker.split_once(OF_CARD).map(|(_, card)| card.to_owned());
    match (found.as_deref().and_then(card_of), card_of(maker)) {
        (Some(then), Some(now)) if then.trim() != now => Err(changed_meanwhile(plan)),
        _ => Ok(()),
    }
}

/// What stands before the mark of the card in a mapfile's first line.
const OF_CARD: &str = ", of card ";
fn maker(request: &BackupRequest, card: Option<&str>) -> String {
    let tool = &request.tool;
    // What is finished of one is not of the other: the map calls free space finished.
    let scope = match request.scope {
        Scope::UsedOnly => "",
        Scope::Everything => " as a whole",
    };
    match card {
        Some(card) => format!("{tool}{OF_CARD}{card}{scope}"),
        None => tool.clone(),
    }
}

fn changed_meanwhile(plan: &BackupPlan) -> OpError {
    let message = format!(
        "{} is not what it was when the backup was interrupted",
        path_text(&plan.opened.path)
    );
    OpError::new(OpErrorKind::Refused, message)
        .hint("was it used since, is it another card, or was --everything said once and not again?")
        .hint("--force in place of --resume starts anew")
}

/// An image that has a rescue map is not finished: going on with it replaces it.
pub(crate) fn overwrite_of(request: &BackupRequest, image: &Path) -> Overwrite {
    let is_unfinished = request.resume == Resume::Yes && ImageFiles::of(image).map().exists();
    if is_unfinished {
        Overwrite::Replace
    } else {
        request.overwrite
    }
}

/// Returns the error of a copy with what the plan knows of its place.
fn told(plan: &BackupPlan, output: &Path, error: CopyError) -> OpError {
    let place = match &error {
        CopyError::Source(error) => error.extent(),
        _ => None,
    };
    let error = OpError::of_copy(&plan.opened.path, output, error);
    if plan.image.is_some() && can_go_on(error.kind) {
        let hint = match plan.request.overwrite {
            Overwrite::Refuse => {
                "the same command with --resume goes on from there; --force starts anew"
            }
            Overwrite::Replace => {
                "the same command with --resume in place of --force goes on from there"
            }
        };
        return error.hint(hint);
    }
    if error.kind == OpErrorKind::Interrupted {
        return error.hint("no image was written; the same command starts again");
    }
    if plan.image.is_some() && error.kind == OpErrorKind::Mismatch {
        return error
            .hint("the disk does not keep what is written to it: choose another one")
            .hint("--force starts anew on this one");
    }
    let Some(place) = place else { return error };
    match plan.survey.partition_at(place.start()) {
        Some(partition) if partition.number > 0 => error.hint(format!(
            "it happened in partition {} ({})",
            partition.number,
            partition.content.name()
        )),
        _ => error,
    }
}

/// Tells whether what was read until an error is worth keeping.
const fn can_go_on(kind: OpErrorKind) -> bool {
    matches!(
        kind,
        OpErrorKind::Interrupted | OpErrorKind::Environment | OpErrorKind::Medium
    )
}

fn options(level: Option<i32>) -> EncodeOptions {
    let mut options = EncodeOptions::default();
    options.level = level;
    options
}
