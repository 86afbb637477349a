//! From the original into a feed, in the memory that was set aside for it.

use std::sync::Arc;

use cardkeep_block::BufferPool;
use cardkeep_image::FRAME_BYTES;

use crate::restore::feed::Feed;
use crate::restore::in_order::in_flight;
use crate::restore::original::{Original, Wanted};

/// Frames that may wait for cards.
pub(crate) const WINDOW: usize = 3;
/// Frames that wait for a card that fell behind and reads the original on its own.
pub(crate) const WINDOW_ALONE: usize = 2;

/// Requests under way at once: the card has the next one when it is done with one. Used extents are
/// short on an aged card (half a megabyte on the lab's), and a busy machine wakes threads late.
pub(crate) const AT_ONCE: usize = 3;

/// Lets the original fill the feed, and tells it how that ended.
pub(crate) fn deliver(
    original: &dyn Original,
    wanted: Wanted<'_>,
    pool: &Arc<BufferPool>,
    feed: &Feed,
) {
    let filling = feed.filling();
    let result = original.deliver(wanted, pool, &mut |frame| Ok(feed.push(frame)));
    feed.end(result);
    drop(filling);
    // Reading back needs the memory of what is not on its way any more.
    pool.close();
}

/// Returns a pool in which nobody waits for a buffer forever: each place where a frame can wait
/// has one.
///
/// # Errors
/// How many bytes that would be, where there is no memory for them.
pub(crate) fn pool_for(
    window: usize,
    cards: usize,
    original: &dyn Original,
) -> Result<Arc<BufferPool>, u64> {
    let of_card = in_flight(AT_ONCE);
    let count = window + cards * of_card + original.frames_under_way();
    match BufferPool::try_full(count, FRAME_BYTES) {
        Some(pool) => Ok(Arc::new(pool)),
        None => Err((count as u64).saturating_mul(FRAME_BYTES as u64)),
    }
}
