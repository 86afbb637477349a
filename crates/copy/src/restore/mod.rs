//! Putting content onto cards: from an original, by way of frames, to any number of cards at once.
//!
//! ```text
//!   original ──frames──▶ feed ──▶ card A: write in order, flush, read back, head last
//!   read or decode       (window)  card B: the same, at its own pace
//! ```
//!
//! The order of writes is what makes a torn-out card harmless: the first MiB is wiped before
//! anything else is written, and gets its content only when all the rest was read back and found
//! right. Until then no card looks as if it could boot.

mod card;
mod delta;
mod feed;
mod frame;
mod head;
mod in_order;
mod indexed;
mod layout;
mod ledger;
mod medium;
mod mending;
mod original;
mod stream;
mod verifying;

use std::sync::Arc;

use cardkeep_block::{BufferPool, Monitor, ReadWriteAt};
use cardkeep_image::FRAME_BYTES;

use crate::error::CopyError;
use crate::restore::card::{AT_ONCE, CardJob};
use crate::restore::feed::Feed;
use crate::restore::in_order::in_flight;

pub use card::{Outcome as RestoreOutcome, WriteMode};
pub use frame::Frame;
pub use head::HEAD_BYTES;
pub use indexed::IndexedOriginal;
pub use layout::Layout;
pub use medium::MediumOriginal;
pub use original::{Original, Take, Wanted};
pub use stream::{Ending, Knowledge, OpenStream, StreamOriginal};

/// Frames that may wait for cards.
const WINDOW: usize = 3;
/// Frames that wait for a card that fell behind and reads the original on its own.
const WINDOW_ALONE: usize = 2;

/// One card that gets the content.
pub struct Recipient<'a> {
    /// The card. What it reads must come from the medium, not from a cache.
    pub card: &'a dyn ReadWriteAt,
    /// Who hears how far it is.
    pub monitor: &'a dyn Monitor,
}

/// How cards are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What is written of what the card should hold.
    pub mode: WriteMode,
    /// Whether all of it is read back before the card is made bootable.
    pub verify: bool,
}

/// Puts what `original` holds onto all cards, each at its own pace, and returns what became of
/// each, in their order. Cards must be at least as long as what the original holds.
pub fn restore(
    original: &dyn Original,
    recipients: &[Recipient<'_>],
    options: RestoreOptions,
) -> Vec<Result<RestoreOutcome, CopyError>> {
    let feed = Feed::new(recipients.len(), WINDOW, original.is_repeatable());
    // ORDER: all buffers before the first write.
    let pool = match pool_for(WINDOW, recipients.len(), original) {
        Ok(pool) => pool,
        Err(bytes) => {
            let failed = recipients.iter();
            return failed.map(|_| Err(CopyError::NoMemory { bytes })).collect();
        }
    };
    std::thread::scope(|scope| {
        let delivering = scope.spawn(|| deliver(original, Wanted::From(0), &pool, &feed));
        let feed = &feed;
        let jobs = recipients.iter().enumerate().map(|(place, recipient)| {
            let job = CardJob::new(original, recipient, options);
            scope.spawn(move || {
                let seat = feed.seat(place);
                let result = job.run(feed, place);
                drop(seat);
                result
            })
        });
        let threads: Vec<_> = jobs.collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, Result<RestoreOutcome, CopyError>>| {
                let died = CopyError::Internal("the thread of a card died");
                thread.join().unwrap_or(Err(died))
            };
        let results = threads.into_iter().map(join).collect();
        // That it died every card was told.
        delivering.join().unwrap_or(());
        results
    })
}

/// Lets the original fill the feed, and tells it how that ended.
fn deliver(original: &dyn Original, wanted: Wanted<'_>, pool: &Arc<BufferPool>, feed: &Feed) {
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
fn pool_for(window: usize, cards: usize, original: &dyn Original) -> Result<Arc<BufferPool>, u64> {
    let of_card = in_flight(AT_ONCE);
    let count = window + cards * of_card + original.frames_under_way();
    match BufferPool::try_full(count, FRAME_BYTES) {
        Some(pool) => Ok(Arc::new(pool)),
        None => Err((count as u64).saturating_mul(FRAME_BYTES as u64)),
    }
}
