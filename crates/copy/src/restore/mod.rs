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
mod delivery;
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
mod recipient;
mod stream;
mod verifying;

use crate::error::CopyError;
use crate::restore::card::CardJob;
use crate::restore::delivery::{WINDOW, deliver, pool_for};
use crate::restore::feed::Feed;

pub use card::Outcome as RestoreOutcome;
pub use frame::Frame;
pub use head::HEAD_BYTES;
pub use indexed::IndexedOriginal;
pub use layout::Layout;
pub use medium::MediumOriginal;
pub use original::{Original, Take, Wanted};
pub use recipient::{Recipient, RestoreOptions, WriteMode};
pub use stream::{Ending, Knowledge, OpenStream, StreamOriginal};

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
