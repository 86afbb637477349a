//! Reading sources that fail: the good data first, what is lost by name, and nothing twice.
//!
//! ```text
//!   pipeline ──reads in address order──▶ Rescuing ──▶ source, as long as that does not fail
//!                                           │
//!                                           └──▶ Reach: copy, trim, scrape, retry ──▶ Shelf
//! ```
//!
//! Only what the allocation map calls used is read: a bad sector in free space costs nothing.

mod attendant;
mod file_shelf;
mod health;
mod phases;
mod policy;
mod reach;
mod report;
mod same_source;
mod shelf;
mod view;
mod wanted;

use std::sync::Arc;

use cardkeep_block::{AllocationMap, Monitor, ReadAt, RescueMap, RescueStatus};
use cardkeep_image::Format;

pub use attendant::{Attendant, Unattended};
pub use file_shelf::FileShelf;
pub use health::{Health, SlowRead, Stretch};
pub use policy::{Holes, RetryPolicy};
pub use report::RescueReport;
pub use shelf::Shelf;
pub use view::{FailingSource, Rescuing};

use crate::destination::Output;
use crate::error::CopyError;
use crate::job::{Job, ManifestOf};
use crate::outcome::Outcome;
use crate::pipeline::{Start, copy_behind};
use crate::prefix::Prefix;
use crate::rescue::wanted::joined;

/// What a copy of a source that may fail needs besides the job.
pub struct Rescue<'a> {
    /// Where rescued bytes are kept.
    pub shelf: Arc<dyn Shelf + 'a>,
    /// Waits for the source where it vanishes.
    pub attendant: Arc<dyn Attendant + 'a>,
    /// How hard the source is tried.
    pub policy: RetryPolicy,
    /// How far earlier runs came: the shelf's mapfile, or [`untried`].
    pub map: RescueMap,
    /// What an earlier run left of the output, which must be stored and zstd.
    pub prefix: Prefix,
}

/// Returns the rescue map of a source that nobody tried yet.
#[must_use]
pub fn untried(map: &AllocationMap) -> RescueMap {
    RescueMap::new(map.len(), RescueStatus::NonTried)
}

/// Copies like [`crate::copy`], from a source that may fail. On one that does not, the image is the
/// same byte by byte, and the shelf is not asked for its store.
///
/// The manifest that `manifest_of` makes gets what was lost.
///
/// # Errors
/// [`CopyError`]. What was read until then is in the output and on the shelf: see
/// [`Prefix::load`] and [`Shelf`].
pub fn copy_rescuing<'a>(
    job: &Job<'a>,
    rescue: Rescue<'a>,
    output: Output<'_>,
    manifest_of: ManifestOf<'_>,
    monitor: &Arc<dyn Monitor + 'a>,
) -> (Result<Outcome, CopyError>, RescueReport) {
    let shelf = Arc::clone(&rescue.shelf);
    let source = FailingSource {
        source: Arc::clone(&job.source),
        wanted: Arc::clone(&job.map),
        shelf: rescue.shelf,
        attendant: rescue.attendant,
        policy: rescue.policy,
        monitor: Arc::clone(monitor),
        read_through_bytes: job.limits.read_through_bytes,
    };
    let prefix = rescue.prefix.before_rescued(&rescue.map, &job.map);
    let view = cut(&output, job.format, &prefix)
        .and_then(|()| Rescuing::new(source, rescue.map, prefix.content_end()));
    let view = match view {
        Ok(view) => Arc::new(view),
        Err(error) => return (Err(error), RescueReport::nothing(job.map.len())),
    };
    view.go_on();
    let durable = |end| view.durable_to(end);
    let start = Start {
        prefix,
        durable: shelf.is_image().then_some(&durable),
    };
    let with_lost = |frames| {
        let mut manifest = manifest_of(frames);
        manifest.lost.extend(view.lost());
        manifest.lost = joined(manifest.lost);
        manifest
    };
    let job = Job {
        source: Arc::clone(&view) as Arc<dyn ReadAt + 'a>,
        ..job.clone()
    };
    let result = copy_behind(&job, &start, output, &with_lost, &**monitor);
    let result = result.and_then(|outcome| view.finish().map(|()| outcome));
    let result = match view.failure() {
        // The pipeline only knows that it got nothing more to read.
        Some(failure) => Err(failure),
        None => result,
    };
    (result, view.report())
}

/// Cuts off what an earlier run wrote behind the prefix.
fn cut(output: &Output<'_>, format: Format, prefix: &Prefix) -> Result<(), CopyError> {
    let Output::Stored(file) = output else {
        return Ok(());
    };
    if format == Format::Raw {
        return Ok(());
    }
    // ORDER: before anything is read that was lost then. A frame that was made with zeros must not
    // be there when the map says that nothing is lost any more.
    file.set_len(prefix.end)
        .and_then(|()| file.flush())
        .map_err(CopyError::Destination)
}
