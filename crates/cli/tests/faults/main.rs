//! `cardkeep restore` and `backup` on block devices that fail: what it says, how it exits, and what it leaves.
//!
//! Every test puts a small image, made by the system's own tools, onto a card full of stale bytes
//! that fails in a declared way, and then looks at the card itself, below every cache. Whatever
//! happens, the card is complete or not bootable, and what the image says is free was not touched.
//!
//! The tests of backups let a card fail while it is read, and hold the image against that of the sound
//! card: what is not lost by name is there.
//!
//! Needs root, loop devices and FUSE, and says so where these are missing. A small matrix runs
//! always, all of it with `CARDKEEP_ORACLE=1`.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

mod changed;
mod clock;
mod failing;
mod fake;
mod image_source;
mod killed;
mod matrix;
mod original;
mod planted;
mod program;
mod refused;
mod rescued;
mod resumed;
mod secret;
mod several;
mod target;
mod together;
mod unstored;
mod writing;
