//! Whether a source is still what it was when an earlier run read it: a card that was used meanwhile,
//! or another one under the same name, must not be mixed with what was read then.
//!
//! A sample is read again: a few places spread over what is done, and those that change whenever a
//! filesystem is mounted.

use std::collections::BTreeSet;

use cardkeep_block::{AlignedBuffer, Extent, ReadAt, RescueStatus, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest};

use crate::against::read_used;
use crate::error::CopyError;
use crate::frames::FrameList;
use crate::rescue::Rescue;

/// Places that are looked at beside those that were named.
const SPREAD: u64 = 4;
/// How much is compared of a place.
const PLACE_BYTES: u64 = 64 * 1024;

impl Rescue<'_> {
    /// Compares a sample of what earlier runs read with `source`, and returns the first place that
    /// differs. `telling` are places that any use of the source changes. What can't be read now is
    /// no difference.
    ///
    /// # Errors
    /// [`CopyError::Destination`] where what was read can't be looked at.
    pub fn find_change(
        &self,
        source: &dyn ReadAt,
        frames: &FrameList<'_>,
        telling: &[Extent],
    ) -> Result<Option<Extent>, CopyError> {
        let count = self.prefix.frame_count() as u64;
        let spread = (0..SPREAD.min(count)).map(|step| (step * count / SPREAD) as usize);
        let told = telling
            .iter()
            .map(|place| place.start() / FRAME_BYTES as u64);
        let told = told
            .filter(|&index| index < count)
            .map(|index| index as usize);
        let mut content = AlignedBuffer::new(FRAME_BYTES);
        // Many places may lie in one frame.
        let indexes: BTreeSet<usize> = told.chain(spread).collect();
        for index in indexes {
            if self.differs(source, frames, index, &mut content) {
                return Ok(Some(frames.extent(index)));
            }
        }
        self.find_change_on_shelf(source, frames, telling)
    }

    /// Tells whether a frame of the image is not what the source holds.
    fn differs(
        &self,
        source: &dyn ReadAt,
        frames: &FrameList<'_>,
        index: usize,
        content: &mut AlignedBuffer,
    ) -> bool {
        let Some(digest) = self.prefix.digests.get(index).copied().flatten() else {
            return false;
        };
        // OK to cast: at most a frame.
        let len = frames.extent(index).len() as usize;
        content.fill(0);
        // What can't be read proves no change.
        read_used(frames, index, source, content).is_ok()
            && FrameDigest::of(&content[..len]) != digest
    }

    fn find_change_on_shelf(
        &self,
        source: &dyn ReadAt,
        frames: &FrameList<'_>,
        telling: &[Extent],
    ) -> Result<Option<Extent>, CopyError> {
        let finished: Vec<Extent> = self
            .map
            .extents(RescueStatus::Finished)
            .flat_map(|extent| frames.map().runs_in(extent).collect::<Vec<_>>())
            .filter(|run| run.state == State::Used)
            .map(|run| run.extent)
            .collect();
        if finished.is_empty() {
            return Ok(None);
        }
        let store = self.shelf.store().and_then(|store| store.settled());
        let store = store.map_err(CopyError::Destination)?;
        let step = finished.len().div_ceil(SPREAD as usize).max(1);
        let spread = finished.iter().step_by(step).copied();
        let told = telling
            .iter()
            .flat_map(|place| finished.iter().map(|own| own.intersection(*place)));
        for place in told.filter(|place| !place.is_empty()).chain(spread) {
            let end = place.end().min(place.start() + PLACE_BYTES);
            let place = Extent::between(place.start(), end);
            let kept = store
                .read_vec(place.start(), place.len() as usize)
                .map_err(CopyError::Destination)?;
            let now = source.read_vec(place.start(), place.len() as usize);
            // What can't be read proves no change.
            if now.is_ok_and(|now| now != kept) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}
