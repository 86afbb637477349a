//! What is found out before a long copy rather than by it: mounts, names, room.

use std::path::{Path, PathBuf};

use cardkeep_block::{State, path_text};
use cardkeep_device::{
    Device, Guard, Machine, Overwrite, Verdict, free_space, max_file_bytes, verdict,
};
use cardkeep_image::{Format, INDEXED_BYTES_MAX};
use cardkeep_survey::Survey;

use crate::backup::Unmount;
use crate::error::{OpError, OpErrorKind};

/// A card that changes while it is read gives an image of no moment at all.
pub(crate) fn check_mounts(
    machine: &dyn Machine,
    device: &Device,
    unmount: Unmount,
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
    let place = path_text(&mount.target);
    let message = format!(
        "{} is mounted read-write at {place}",
        path_text(&device.path)
    );
    let refused = OpError::new(OpErrorKind::Refused, message);
    if let Verdict::Guarded(guards) = verdict(device)
        && let Some(guard) = guards.iter().find(|guard| is_system(guard))
    {
        let reason = format!("{guard}: it changes while it is read, and is never unmounted");
        return Err(refused
            .hint(reason)
            .hint("take the card out and back it up on another machine"));
    }
    if unmount == Unmount::No {
        return Err(refused
            .hint("writes to it during the backup would make the image inconsistent")
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
pub(crate) fn check_name(image: &Path, overwrite: Overwrite) -> Result<(), OpError> {
    if overwrite == Overwrite::Refuse && image.symlink_metadata().is_ok() {
        let message = format!("{} already exists", path_text(image));
        return Err(OpError::new(OpErrorKind::Usage, message)
            .hint("choose another name, or let --force replace it once the new one is complete"));
    }
    Ok(())
}

/// An image on the card that is read would change it while it is read.
pub(crate) fn check_holder(
    machine: &dyn Machine,
    device: Option<&Device>,
    image: &Path,
) -> Result<(), OpError> {
    let Some(device) = device else { return Ok(()) };
    // Where the holder can't be told, the mount check has the last word: a card that holds the
    // image is mounted read-write.
    let holders = machine.devices_holding(image).unwrap_or_default();
    if holders.contains(&device.name) {
        let message = format!("{} would lie on the card that is read", path_text(image));
        return Err(OpError::new(OpErrorKind::Refused, message).hint("choose another disk"));
    }
    Ok(())
}

/// Finds out before the long copy what would spoil it. `kept_bytes` are on the disk already.
pub(crate) fn check_destination(
    card: &Path,
    survey: &Survey,
    (image, kept_bytes): (&Path, u64),
    format: Format,
) -> Result<(), OpError> {
    let folder = folder_of(image);
    if !folder.is_dir() {
        let message = format!("there is no folder {}", path_text(&folder));
        return Err(OpError::new(OpErrorKind::Usage, message).hint("create it, or choose another"));
    }
    if same_file(card, image) {
        let message = "the image can't replace the file that is read";
        return Err(OpError::new(OpErrorKind::Refused, message));
    }
    match format {
        Format::Raw => check_room(survey, &folder, kept_bytes),
        Format::Zstd if survey.len > INDEXED_BYTES_MAX => {
            let message = format!(
                "an image in .img.zst holds {INDEXED_BYTES_MAX} bytes at most, and this medium has {}",
                survey.len
            );
            Err(OpError::new(OpErrorKind::Usage, message)
                .hint("make another kind of image: `--format raw`, `gz` or `xz`"))
        }
        // Only the size of a raw image is known beforehand.
        _ => Ok(()),
    }
}

/// Tells what a raw image needs, before it is written.
fn check_room(survey: &Survey, folder: &Path, kept_bytes: u64) -> Result<(), OpError> {
    if let Some(most) = max_file_bytes(folder).filter(|&most| most < survey.len) {
        let message = format!(
            "the image will have {} bytes, but files in {} can have at most {most}",
            survey.len,
            path_text(folder)
        );
        return Err(OpError::new(OpErrorKind::Environment, message)
            .hint("compress it (.img.zst), or choose a disk with another filesystem"));
    }
    let needed = survey.map.bytes(State::Used).saturating_sub(kept_bytes);
    match free_space(folder) {
        Ok(free) if free < needed => {
            let message = format!(
                "the image needs {needed} bytes{}, but only {free} are free in {}",
                if kept_bytes > 0 { " more" } else { "" },
                path_text(folder)
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
