//! What a card did not give, by name.

use std::path::Path;

use cardkeep_block::{
    AllocationMap, Extent, Lossy, Monitor, ReadAt, State, Trouble, path_text, size_text,
    with_causes,
};
use cardkeep_copy::{CopyError, FileShelf};
use cardkeep_device::ImageFiles;
use cardkeep_image::{Format, Manifest};
use cardkeep_survey::{Place, Scope, Survey, locate, survey};

/// As many are told one by one: nobody reads more.
const TOLD_MAX: usize = 100;

/// When it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It can't be read now.
    Now,
    /// It could not be read when the image was made.
    Before,
}

/// Finds out what the bytes `lost` of `medium` belong to, and tells the monitor. `survey` says what is
/// on it.
pub(crate) fn tell_lost(
    (medium, survey): (&dyn ReadAt, &Survey),
    lost: &[Extent],
    when: Lost,
    monitor: &dyn Monitor,
) -> Vec<Place> {
    if lost.is_empty() {
        return Vec::new();
    }
    // Nothing there is worth another try.
    let readable = Lossy::new(medium, lost.to_vec());
    let places = locate(&readable, survey, lost, monitor);
    for place in places.iter().take(TOLD_MAX) {
        monitor.trouble(Trouble::new(told(place, when)).at(place.extent));
    }
    if let Some(more) = places.len().checked_sub(TOLD_MAX).filter(|&more| more > 0) {
        monitor.trouble(Trouble::new(format!("{more} more places are lost")));
    }
    places
}

/// What tells of an image how it was made.
#[derive(Clone, Copy)]
pub(crate) enum Record<'a> {
    /// Its manifest.
    Manifest(&'a Manifest),
    /// The map beside it, for a container that has no manifest.
    Map(Format),
}

/// Tells what could not be read when the image at `path` was made. `content` is what is in it, with the
/// size of its sectors in bytes.
pub(crate) fn tell_lost_before(
    path: &Path,
    record: Record<'_>,
    (content, sector_bytes): (&dyn ReadAt, u32),
    monitor: &dyn Monitor,
) {
    let recorded = recorded(path, record, content.len(), monitor);
    if recorded.is_empty() {
        return;
    }
    let readable = Lossy::new(content, recorded.clone());
    let learnt = survey(&readable, sector_bytes, Scope::UsedOnly, monitor);
    let lost = needed_of(record, recorded, &learnt.map);
    tell_lost((content, &learnt), &lost, Lost::Before, monitor);
}

/// Tells the same of an image that can only be read from its beginning on, where nothing can be looked up.
pub(crate) fn tell_lost_bytes(path: &Path, (format, len): (Format, u64), monitor: &dyn Monitor) {
    let recorded = recorded(path, Record::Map(format), len, monitor);
    let bytes: u64 = recorded.iter().map(|extent| extent.len()).sum();
    if bytes > 0 {
        let message = format!(
            "could not be read when the image was made: {} of it",
            size_text(bytes)
        );
        monitor.trouble(Trouble::new(message));
    }
}

fn recorded(path: &Path, record: Record<'_>, len: u64, monitor: &dyn Monitor) -> Vec<Extent> {
    try_recorded(path, record, len).unwrap_or_else(|error| {
        let map = ImageFiles::of(path).map();
        let message = format!(
            "the list of losses in {} can't be read: {}",
            path_text(&map),
            with_causes(&error)
        );
        monitor.trouble(Trouble::new(message));
        Vec::new()
    })
}

/// Returns what of the lost bytes that an image's record names is missed, where `map` says what is used.
pub(crate) fn needed_of(
    record: Record<'_>,
    recorded: Vec<Extent>,
    map: &AllocationMap,
) -> Vec<Extent> {
    match record {
        Record::Manifest(_) => recorded,
        // It speaks of all of a card.
        Record::Map(_) => {
            let runs = recorded.iter().flat_map(|&lost| map.runs_in(lost));
            let used = runs.filter(|run| run.state == State::Used);
            used.map(|run| run.extent).collect()
        }
    }
}

/// Returns what could not be read when the image at `path`, with `len` bytes of content, was made.
pub(crate) fn try_recorded(
    path: &Path,
    record: Record<'_>,
    len: u64,
) -> Result<Vec<Extent>, CopyError> {
    match record {
        Record::Manifest(manifest) => Ok(manifest.lost.clone()),
        Record::Map(format) => FileShelf::lost_of_image(&ImageFiles::of(path), format, len),
    }
}

/// Says what is lost, and what that means.
fn told(place: &Place, when: Lost) -> String {
    let what = place.name();
    let what = what.as_deref().unwrap_or("something unknown");
    let partition = match place.partition {
        Some(number) if number > 0 => format!(" in partition {number}"),
        _ => String::new(),
    };
    let when = match when {
        Lost::Now => "can't be read",
        Lost::Before => "could not be read when the image was made",
    };
    format!(
        "{when}: {} of {what}{partition}: {}",
        size_text(place.extent.len()),
        place.loss()
    )
}
