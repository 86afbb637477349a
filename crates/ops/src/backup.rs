//! `backup`: a card in, a verified image out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cardkeep_block::{Monitor, ReadAt, State};
use cardkeep_copy::{Job, Limits, Outcome, Output, Verify, copy};
use cardkeep_device::{
    Device, Guard, Machine, Overwrite, PartialFile, Verdict, free_space, max_file_bytes, verdict,
};
use cardkeep_image::{
    EncodeOptions, Format, FrameDigest, Manifest, PartitionEntry, SourceIdentity,
};
use cardkeep_survey::{Scope, Survey, survey};

use crate::error::{OpError, OpErrorKind};
use crate::image_name::free_name;
use crate::opened::{Opened, OpenedKind};
use crate::speed::measure;

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

/// Whether a plan says how long it will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// The card's speed is measured on what would be read anyway.
    Measured,
    /// It is found out soon enough.
    None,
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
    pub unmount: bool,
    /// Whether the image is read back.
    pub verify: Verify,
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
    /// Where the image goes; `None` for a stream.
    pub image: Option<PathBuf>,
    /// The container.
    pub format: Format,
    /// How fast the card reads, in bytes per second.
    pub speed: Option<u64>,
    /// The sizes of the pipeline.
    pub limits: Limits,
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
    /// How long it took, from the first byte copied to the last one verified.
    pub elapsed: Duration,
}

impl BackupPlan {
    /// Returns the bytes that will be read (gaps that are read through not counted).
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.survey.map.bytes(State::Used)
    }

    /// Returns the bytes that will be left out because nobody will miss them.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.survey.map.bytes(State::Free)
    }

    /// Returns the bytes that are known to be zero, or become so: journals for the most part.
    #[must_use]
    pub fn zero_bytes(&self) -> u64 {
        self.survey.map.bytes(State::Zero)
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
    // ORDER: mounts before opening. That a disk is in use says more than that it can't be opened.
    // A path that names no device, such as an image, has no mounts.
    let device = machine.device_of_path(&request.card).ok().flatten();
    if let Some(device) = &device {
        check_mounts(machine, device, &request)?;
    }
    let opened = Opened::open(machine, &request.card)?;
    if let OpenedKind::Image { .. } = opened.kind {
        return Err(OpError::new(
            OpErrorKind::Usage,
            format!("{} is a compressed image already", request.card.display()),
        )
        .hint("name a card or a raw image"));
    }
    if opened.content.len() == 0 {
        let message = format!(
            "{} is empty, or no card is in the reader",
            request.card.display()
        );
        return Err(OpError::new(OpErrorKind::Usage, message));
    }
    let survey = survey(&opened.content, opened.sector_bytes, request.scope, monitor);
    let format = format_of(&request)?;
    let image = match &request.target {
        Target::File(path) => Some(path.clone()),
        Target::Named => {
            let host = survey.identity.hostname.as_deref();
            Some(free_name(host, &request.date, format.extension()))
        }
        Target::Stream => None,
    };
    if let Some(image) = &image {
        check_name(image, request.overwrite)?;
        check_holder(machine, device.as_ref(), image)?;
        check_destination(&opened, &survey, image, format)?;
    }
    let speed = match request.estimate {
        Estimate::Measured => measure(&opened.content, &survey.map),
        Estimate::None => None,
    };
    let limits = Limits::for_cores(request.cores);
    Ok(BackupPlan {
        opened,
        survey,
        image,
        format,
        speed,
        limits,
        request,
    })
}

fn format_of(request: &BackupRequest) -> Result<Format, OpError> {
    if let Some(format) = request.format {
        return Ok(format);
    }
    let Target::File(path) = &request.target else {
        return Ok(Format::Zstd);
    };
    match Format::from_name(path) {
        Some(format @ (Format::Raw | Format::Zstd | Format::Gzip | Format::Xz)) => Ok(format),
        _ => Err(OpError::new(
            OpErrorKind::Usage,
            format!("what kind of image is {} to be?", path.display()),
        )
        .hint("end its name in .img, .img.zst, .img.gz or .img.xz, or say --format")),
    }
}

/// A card that changes while it is read gives an image of no moment at all.
fn check_mounts(
    machine: &dyn Machine,
    device: &Device,
    request: &BackupRequest,
) -> Result<(), OpError> {
    let mut written = device
        .mounts
        .iter()
        .chain(
            device
                .partitions
                .iter()
                .flat_map(|partition| &partition.mounts),
        )
        .filter(|mount| !mount.read_only);
    let Some(mount) = written.next() else {
        return Ok(());
    };
    let place = mount.target.display();
    let message = format!("{} is mounted read-write at {place}", device.path.display());
    let refused = OpError::new(OpErrorKind::Refused, message);
    if let Verdict::Guarded(guards) = verdict(device)
        && let Some(guard) = guards.iter().find(|guard| is_system(guard))
    {
        let reason = format!("{guard}: it changes while it is read, and is never unmounted");
        return Err(refused
            .hint(reason)
            .hint("take the card out and back it up on another machine"));
    }
    if !request.unmount {
        return Err(refused
            .hint("what is written to it meanwhile would tear the image")
            .hint("--unmount unmounts it first"));
    }
    machine.unmount(device).map_err(|error| {
        let hint = error.hint.clone();
        OpError::new(
            OpErrorKind::Environment,
            format!("{place} can't be unmounted"),
        )
        .hint(hint)
        .caused_by(error)
    })
}

fn is_system(guard: &Guard) -> bool {
    matches!(
        guard,
        Guard::SystemDisk { .. } | Guard::SwapInUse { .. } | Guard::MemberOf(_)
    )
}

/// Creating the file would tell the same, but a plan that is only shown creates none.
fn check_name(image: &Path, overwrite: Overwrite) -> Result<(), OpError> {
    if overwrite == Overwrite::Refuse && image.symlink_metadata().is_ok() {
        let message = format!("{} already exists", image.display());
        return Err(OpError::new(OpErrorKind::Usage, message)
            .hint("choose another name, or let --force replace it once the new one is whole"));
    }
    Ok(())
}

/// An image on the card that is read would change it while it is read.
fn check_holder(
    machine: &dyn Machine,
    device: Option<&Device>,
    image: &Path,
) -> Result<(), OpError> {
    let Some(device) = device else { return Ok(()) };
    // Where the holder can't be told, the mount check has the last word: a card that holds the
    // image is mounted read-write.
    let holders = machine.devices_holding(image).unwrap_or_default();
    if holders.contains(&device.name) {
        let message = format!("{} would lie on the card that is read", image.display());
        return Err(OpError::new(OpErrorKind::Refused, message).hint("choose another disk"));
    }
    Ok(())
}

/// Finds out before the long copy what would spoil it.
fn check_destination(
    opened: &Opened,
    survey: &Survey,
    image: &Path,
    format: Format,
) -> Result<(), OpError> {
    let folder = folder_of(image);
    if !folder.is_dir() {
        let message = format!("there is no folder {}", folder.display());
        return Err(OpError::new(OpErrorKind::Usage, message).hint("make it, or choose another"));
    }
    if same_file(&opened.path, image) {
        let message = "the image can't replace the file that is read";
        return Err(OpError::new(OpErrorKind::Refused, message));
    }
    if format != Format::Raw {
        return Ok(());
    }
    // Only the size of a raw image is known beforehand.
    if let Some(most) = max_file_bytes(&folder).filter(|&most| most < survey.len) {
        let message = format!(
            "the image will have {} bytes, and files in {} can have {most} at the most",
            survey.len,
            folder.display()
        );
        return Err(OpError::new(OpErrorKind::Environment, message)
            .hint("compress it (.img.zst), or choose a disk with another filesystem"));
    }
    let needed = survey.map.bytes(State::Used);
    match free_space(&folder) {
        Ok(free) if free < needed => {
            let message = format!(
                "the image needs {needed} bytes, and {free} are free in {}",
                folder.display()
            );
            Err(OpError::new(OpErrorKind::Environment, message)
                .hint("free some space, choose another disk, or compress it (.img.zst)"))
        }
        // Unknown free space is found out when it is used up.
        _ => Ok(()),
    }
}

fn folder_of(image: &Path) -> PathBuf {
    match image.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Tells whether two paths name one file; one that isn't there names none.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Does what the plan says. `stream` takes the image where its target is a stream.
///
/// # Errors
/// [`OpError`]. No file has the image's name then; what was written of it is removed.
pub fn apply(
    plan: &BackupPlan,
    stream: &mut (dyn Write + Send),
    monitor: &dyn Monitor,
) -> Result<BackupReport, OpError> {
    let started = Instant::now();
    let job = Job {
        source: &plan.opened.content,
        map: &plan.survey.map,
        format: plan.format,
        options: options(plan.request.level),
        verify: plan.request.verify,
        limits: plan.limits,
    };
    let manifest = |frames| manifest_of(plan, frames);
    let card = &plan.opened.path;
    let Some(image) = &plan.image else {
        let outcome = copy(&job, Output::Stream(stream), &manifest, monitor)
            .map_err(|error| OpError::of_copy(card, Path::new("the output"), error))?;
        let verified = Verified::Impossible;
        return Ok(BackupReport {
            image: None,
            outcome,
            verified,
            elapsed: started.elapsed(),
        });
    };
    let overwrite = plan.request.overwrite;
    let of_file = |error| OpError::of_partial_file(image, error);
    if overwrite == Overwrite::Replace {
        PartialFile::discard_leftover(image).map_err(of_file)?;
    }
    let file = PartialFile::create(image, overwrite).map_err(of_file)?;
    let outcome = match copy(&job, Output::Stored(&file), &manifest, monitor) {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = OpError::of_copy(card, image, error);
            // The first error is the one to tell; a leftover has a name that says what it is.
            drop(file.abandon());
            return Err(match error.kind {
                OpErrorKind::Interrupted => error
                    .hint("nothing was left behind; the same command starts again")
                    .hint(format!("no {} was written", image.display())),
                _ => error,
            });
        }
    };
    file.finish().map_err(of_file)?;
    let verified = if outcome.is_verified {
        Verified::ReadBack
    } else {
        Verified::Skipped
    };
    Ok(BackupReport {
        image: Some(image.clone()),
        outcome,
        verified,
        elapsed: started.elapsed(),
    })
}

fn options(level: Option<i32>) -> EncodeOptions {
    let mut options = EncodeOptions::default();
    options.level = level;
    options
}

/// What the image says of its card. Nothing of the reader or the moment: the same card gives the
/// same bytes.
fn manifest_of(plan: &BackupPlan, frames: Vec<Option<FrameDigest>>) -> Manifest {
    let survey = &plan.survey;
    let mut manifest = Manifest::new(plan.request.tool.clone(), survey.map.clone(), frames);
    manifest.sector_bytes = plan.opened.sector_bytes;
    manifest.everything = plan.request.scope == Scope::Everything;
    manifest.clean = Some(survey.is_clean());
    manifest.source = SourceIdentity {
        disk_id: survey.table.as_ref().map(|table| table.disk_id.clone()),
        os: survey.identity.os.clone(),
        hostname: survey.identity.hostname.clone(),
        ..SourceIdentity::default()
    };
    manifest.partitions = survey
        .partitions
        .iter()
        .filter(|entry| entry.number > 0)
        .map(entry)
        .collect();
    manifest
}

fn entry(partition: &cardkeep_survey::Partition) -> PartitionEntry {
    let summary = partition.content.filesystem();
    PartitionEntry {
        number: partition.number,
        start: partition.extent.start(),
        len: partition.extent.len(),
        kind: Some(partition.kind_code.clone()).filter(|code| !code.is_empty()),
        fs: summary.map(|summary| summary.name.clone()),
        label: summary.and_then(|summary| summary.label.clone()),
        uuid: summary.and_then(|summary| summary.uuid.clone()),
    }
}
