//! Copying cards that fail: what can be read is in the image, what can't is named and zero, and
//! nothing is read twice, whenever and however it ends.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

mod away;
mod bad_sectors;
mod bench;
mod files;
mod interrupted;
mod order;
mod threads;
