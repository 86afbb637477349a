//! Reading a card a second time: what reads differently is unstable, whatever the card says of it.

use std::path::Path;

use cardkeep_block::{AllocationMap, Extent, Monitor, ReadAt, Run, State, Trouble, size_text};
use cardkeep_copy::{CopyError, Difference, FrameList, compare};
use cardkeep_device::Source;
use cardkeep_image::{FRAME_BYTES, FrameDigest};
use cardkeep_survey::{Place, locate};

use crate::backup::{BackupSession, Stored};
use crate::error::OpError;
use crate::input::{ContentRule, Input};

/// As many are told one by one: nobody reads more.
const TOLD_MAX: usize = 100;

/// Reads all that was copied a second time, and tells what reads differently now.
///
/// # Errors
/// Where the image can't be read. If the card can't be read, that is a warning.
pub(crate) fn read_again(
    session: &BackupSession,
    image: &Path,
    stored: &Stored,
    monitor: &dyn Monitor,
) -> Result<Vec<Place>, OpError> {
    let plan = &session.plan;
    let frames = Frames {
        map: &without_lost(&plan.contents().map, &stored.lost),
        digests: &stored.outcome.frames,
    };
    let difference = match compare_with(&**session.content(), image, &frames, monitor) {
        Ok(difference) => difference,
        Err(CopyError::Source(error)) => {
            let message = format!("a place that was read once can't be read again: {error}");
            monitor.trouble(Trouble::new(message));
            return Ok(Vec::new());
        }
        Err(error) => return Err(OpError::of_copy(&plan.card, image, error)),
    };
    if difference.extents.is_empty() {
        return Ok(Vec::new());
    }
    let places = locate(
        &**session.content(),
        plan.contents(),
        &difference.extents,
        monitor,
    );
    for place in places.iter().take(TOLD_MAX) {
        let what = place.name();
        let message = format!(
            "unstable: {} of {} read differently a second time; don't trust this card",
            size_text(place.extent.len()),
            what.as_deref().unwrap_or("something unknown")
        );
        monitor.trouble(Trouble::new(message).at(place.extent));
    }
    if let Some(more) = places.len().checked_sub(TOLD_MAX).filter(|&more| more > 0) {
        let message = format!("unstable: {more} more places read differently a second time");
        monitor.trouble(Trouble::new(message));
    }
    Ok(places)
}

/// What is compared, and what it was when it was copied.
struct Frames<'a> {
    map: &'a AllocationMap,
    digests: &'a [Option<FrameDigest>],
}

fn compare_with(
    card: &dyn ReadAt,
    image: &Path,
    frames: &Frames<'_>,
    monitor: &dyn Monitor,
) -> Result<Difference, CopyError> {
    let source = Source::open(image).map_err(CopyError::Destination)?;
    // Without an index it is known which frames differ, not which sectors.
    let opened = Input::from_file(image, source, ContentRule::Known).ok();
    let opened = opened.and_then(|opened| opened.shared_content());
    let nothing = Nothing(frames.map.len());
    let content: &dyn ReadAt = match &opened {
        Some(content) => content,
        None => &nothing,
    };
    let list = FrameList::new(frames.map);
    compare(&list, content, Some(frames.digests), card, monitor)
}

/// A medium of which every byte counts as another one than the card's: zeros.
struct Nothing(u64);

impl ReadAt for Nothing {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), cardkeep_block::BlockError> {
        self.bounded(offset, buffer.len())?;
        buffer.fill(0);
        Ok(())
    }
}

/// Returns the map without the frames that hold lost bytes: their digests are of zeros.
fn without_lost(map: &AllocationMap, lost: &[Extent]) -> AllocationMap {
    let frame = FRAME_BYTES as u64;
    let frames = lost.iter().map(|extent| {
        let start = extent.start() / frame * frame;
        let end = extent
            .end()
            .div_ceil(frame)
            .saturating_mul(frame)
            .min(map.len());
        Run::new(Extent::between(start, end), State::Free)
    });
    map.replaced(&frames.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::without_lost;
    use cardkeep_block::{AllocationMap, Extent, State};

    #[test]
    fn frames_with_holes_are_not_read_again() {
        let map = AllocationMap::all(10 << 20, State::Used);
        let lost = [Extent::between(5 << 20, (5 << 20) + 512)];
        let left = without_lost(&map, &lost);
        let used: Vec<_> = left.extents(State::Used).collect();
        let expected = [(0, 4 << 20), (8 << 20, 10 << 20)];
        assert_eq!(used, expected.map(|(from, to)| Extent::between(from, to)));
    }
}
