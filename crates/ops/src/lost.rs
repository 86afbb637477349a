//! What a card did not give, by name.

use cardkeep_block::{Extent, Lossy, Monitor, ReadAt, Trouble, size_text};
use cardkeep_survey::{Place, Survey, locate};

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

/// Says what is lost, and what that means.
fn told(place: &Place, when: Lost) -> String {
    let what = place.path.as_deref().or(place.what.as_deref());
    let what = what.unwrap_or("something unknown");
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
