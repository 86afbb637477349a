//! What is learnt of a medium in passing, against the survey that can look everywhere. The media
//! are made by mke2fs, debugfs, mkfs.vfat and mtools; one is used by the kernel.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a broken premise ends the test, as it should"
)]

mod card;
mod caution;
mod gain;
