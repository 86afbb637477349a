//! Comparing an image with a medium: which of its used bytes differ, and where.

use cardkeep_block::{AlignedBuffer, Extent, Monitor, Phase, ReadAt};
use cardkeep_image::{FRAME_BYTES, FrameDigest};

use crate::error::CopyError;
use crate::frames::FrameList;
use crate::limits::READ_THROUGH_BYTES;
use crate::runs::RequestCost;

/// Differences are told in steps of this size: a medium's smallest unit.
const STEP_BYTES: usize = 512;
/// What bounds the memory of a comparison with a wholly different card.
const EXTENTS_MAX: usize = 100_000;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Where the two differ, in address order, in whole steps of 512 bytes.
    pub extents: Vec<Extent>,
    /// How many bytes of steps differ in all.
    pub bytes: u64,
    /// How many used bytes were compared.
    pub compared_bytes: u64,
}

/// Compares the used bytes of `image` (its content, seen as a medium) with those of `card`.
/// Where `digests` has a frame's digest, the image itself is read only if the card's differs.
///
/// # Errors
/// [`CopyError::Source`] where the card fails, [`CopyError::Destination`] where the image does.
pub fn compare(
    frames: &FrameList<'_>,
    image: &dyn ReadAt,
    digests: Option<&[Option<FrameDigest>]>,
    card: &dyn ReadAt,
    monitor: &dyn Monitor,
) -> Result<Difference, CopyError> {
    let total = (0..frames.count())
        .map(|index| frames.used_bytes(index))
        .sum();
    monitor.phase(Phase::Verify, Some(total));
    let mut difference = Difference::default();
    let mut of_card = AlignedBuffer::new(FRAME_BYTES);
    let mut of_image = AlignedBuffer::new(FRAME_BYTES);
    let mut next = frames.next_used(0);
    while let Some(index) = next {
        if monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        let extent = frames.extent(index);
        let size = extent.len() as usize;
        read_used(frames, index, card, &mut of_card).map_err(CopyError::Source)?;
        let digest = digests.and_then(|digests| digests.get(index).copied().flatten());
        if digest.is_none_or(|digest| digest != FrameDigest::of(&of_card[..size])) {
            read_used(frames, index, image, &mut of_image).map_err(CopyError::Destination)?;
            difference.add(extent.start(), &of_card[..size], &of_image[..size]);
        }
        let used = frames.used_bytes(index);
        difference.compared_bytes += used;
        monitor.advance(Phase::Verify, used);
        next = frames.next_used(index + 1);
    }
    Ok(difference)
}

/// Reads a frame's used bytes; all others are zero.
pub(crate) fn read_used(
    frames: &FrameList<'_>,
    index: usize,
    medium: &dyn ReadAt,
    content: &mut AlignedBuffer,
) -> Result<(), cardkeep_block::BlockError> {
    let start = frames.extent(index).start();
    let cost = RequestCost {
        alignment: medium.alignment() as u64,
        read_through_bytes: READ_THROUGH_BYTES,
    };
    for request in frames.requests(index, cost) {
        let from = (request.start() - start) as usize;
        medium.read_at(
            request.start(),
            &mut content[from..from + request.len() as usize],
        )?;
    }
    frames.clear_unused(index, content);
    Ok(())
}

impl Difference {
    fn add(&mut self, start: u64, one: &[u8], other: &[u8]) {
        let steps = one
            .chunks(STEP_BYTES)
            .zip(other.chunks(STEP_BYTES))
            .enumerate();
        for (index, (a, b)) in steps {
            if a == b {
                continue;
            }
            let from = start + (index * STEP_BYTES) as u64;
            let extent = Extent::between(from, from + a.len() as u64);
            self.bytes += extent.len();
            if let Some(last) = self.extents.last_mut().filter(|last| last.end() == from) {
                *last = Extent::between(last.start(), extent.end());
            } else if self.extents.len() < EXTENTS_MAX {
                self.extents.push(extent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::frames::FrameList;
    use cardkeep_block::{AllocationMap, Extent, MemoryMedium, Run, Silent, State, WriteAt};

    #[test]
    fn only_used_bytes_are_compared_and_differences_have_places() {
        let used = [Run::new(Extent::between(1024, 9 << 20), State::Used)];
        let map = AllocationMap::all(10 << 20, State::Free).replaced(&used);
        let (image, card) = (MemoryMedium::new(10 << 20), MemoryMedium::new(10 << 20));
        card.write_at(0, &[1; 512]).unwrap();
        card.write_at(5_000_000, &[2; 3]).unwrap();
        card.write_at((9 << 20) - 1, &[3; 2]).unwrap();
        let found = compare(&FrameList::new(&map), &image, None, &card, &Silent).unwrap();
        let places: Vec<_> = found.extents.iter().map(|e| (e.start(), e.len())).collect();
        assert_eq!(places, [(4_999_680, 512), ((9 << 20) - 512, 512)]);
        assert_eq!(
            (found.bytes, found.compared_bytes),
            (1024, (9 << 20) - 1024)
        );
    }
}
