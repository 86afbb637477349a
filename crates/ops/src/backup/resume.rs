//! What earlier runs have of a card, and whether it is this very card, as it was then.

use std::path::Path;
use std::sync::Arc;

use cardkeep_block::{RescueMap, path_text};
use cardkeep_copy::{CopyError, FileShelf, FrameList, Prefix, Rescue, Shelf};
use cardkeep_survey::{Scope, silent_places};

use crate::backup::failure::told;
use crate::backup::plan::BackupPlan;
use crate::backup::request::Resume;
use crate::backup::sink::BackupSource;
use crate::backup::unfinished::Unfinished;
use crate::error::{OpError, OpErrorKind};
use crate::fingerprint::{fingerprint, telling_places};

/// How far earlier runs came.
pub(crate) struct Reached {
    /// What the store holds, and what failed.
    pub(crate) map: RescueMap,
    /// What of the image is whole.
    pub(crate) prefix: Prefix,
}

/// Returns how far earlier runs came, where they were with this very card. `maker` is what a mapfile of it says.
pub(crate) fn reached(
    source: &BackupSource<'_>,
    file: &Unfinished,
    shelf: &Arc<FileShelf>,
    maker: &str,
) -> Result<Reached, OpError> {
    let (plan, image) = (source.plan, file.files().image());
    if plan.request.resume == Resume::Yes {
        check_maker(plan, shelf, maker, image)?;
    }
    let job = source.job();
    let reached = file.reached(shelf, &job, &plan.request);
    let reached = reached.map_err(|error| match error {
        CopyError::Image(_) => told(plan, &file.files().map(), error),
        error => told(plan, image, error),
    })?;
    let rescue = Rescue {
        shelf: Arc::clone(shelf) as Arc<dyn Shelf>,
        attendant: Arc::clone(&source.attendant),
        policy: plan.request.policy,
        map: reached.map,
        prefix: reached.prefix,
    };
    check_same(source, &rescue, image)?;
    let Rescue { map, prefix, .. } = rescue;
    Ok(Reached { map, prefix })
}

/// Refuses to resume with another card, or with one that was used meanwhile.
fn check_same(source: &BackupSource<'_>, rescue: &Rescue<'_>, image: &Path) -> Result<(), OpError> {
    let (plan, job) = (source.plan, source.job());
    let mut telling = telling_places(plan.contents());
    if plan.request.resume == Resume::Yes {
        telling.extend(silent_places(&*job.source, plan.contents()));
    }
    let changed = rescue
        .find_change(&*job.source, &FrameList::new(&job.map), &telling)
        .map_err(|error| told(plan, image, error))?;
    match changed {
        Some(changed) => Err(changed_meanwhile(plan).caused_by(format!("it differs at {changed}"))),
        None => Ok(()),
    }
}

/// Refuses to resume with a mapfile that was made of another card, or of what this one was before.
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

/// Returns what a mapfile says of its maker: the program, and a mark of the card as it is.
pub(crate) fn maker(source: &BackupSource<'_>) -> String {
    let request = &source.plan.request;
    let places = telling_places(source.plan.contents());
    let tool = &request.tool;
    // What is finished of one is not of the other: the map calls free space finished.
    let scope = match request.scope {
        Scope::UsedOnly => "",
        Scope::Everything => " as a whole",
    };
    match fingerprint(&*source.medium, &places) {
        Some(card) => format!("{tool}{OF_CARD}{card}{scope}"),
        None => tool.clone(),
    }
}

fn changed_meanwhile(plan: &BackupPlan) -> OpError {
    let message = format!(
        "{} changed since the backup was interrupted",
        path_text(&plan.card)
    );
    OpError::new(OpErrorKind::Refused, message)
        .hint("was it used since, is it another card, or was --everything given only once?")
        .hint("--force instead of --resume starts over")
}
