//! The static program in a machine of its own, with a real kernel, whose USB readers and SD cards are
//! really pulled out while it works.
//!
//! Needs the virtual machine that `cargo xtask lab` makes, and says so where it is missing.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

mod bench;
mod listed;
mod pulled_destination;
mod pulled_source;
mod pulled_target;
