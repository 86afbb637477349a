//! The crate against the system that the tests run on: its disks, loop devices and filesystems.

#![cfg(target_os = "linux")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod attached;
mod child_process;
mod lab;
mod partial_file;
mod source;
mod this_machine;
