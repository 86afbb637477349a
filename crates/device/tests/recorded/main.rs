//! Recorded machines: the device list, the verdicts and the way from paths to devices, on
//! machines that nobody has at hand.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod hostile;
mod lists;
mod machine;
mod paths;
mod report;
