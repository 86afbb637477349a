//! Restoring in memory: what ends up on cards, in which order, and what becomes of cards that fail.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

mod bad_cards;
mod broken;
mod card;
mod delta;
mod order;
mod originals;
