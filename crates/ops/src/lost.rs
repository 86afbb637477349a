//! What a card did not give, by name.

use cardkeep_block::{Extent, Monitor, Trouble, size_text};
use cardkeep_survey::{Place, locate};

use crate::backup::BackupPlan;

/// As many are told one by one: nobody reads more.
const TOLD_MAX: usize = 100;

/// Finds out what lost bytes belong to, and tells the monitor.
pub(crate) fn lost_places(plan: &BackupPlan, lost: &[Extent], monitor: &dyn Monitor) -> Vec<Place> {
    if lost.is_empty() {
        return Vec::new();
    }
    let places = locate(plan.content(), plan.contents(), lost, monitor);
    for place in places.iter().take(TOLD_MAX) {
        monitor.trouble(Trouble::new(told(place)).at(place.extent));
    }
    if let Some(more) = places.len().checked_sub(TOLD_MAX).filter(|&more| more > 0) {
        monitor.trouble(Trouble::new(format!(
            "and {more} more places can't be read"
        )));
    }
    places
}

/// Says what is lost, and what that means.
fn told(place: &Place) -> String {
    let what = place.path.as_deref().or(place.what.as_deref());
    let what = what.unwrap_or("something unknown");
    let partition = match place.partition {
        Some(number) if number > 0 => format!(" in partition {number}"),
        _ => String::new(),
    };
    format!(
        "can't be read: {} of {what}{partition}: {}",
        size_text(place.extent.len()),
        place.loss()
    )
}
