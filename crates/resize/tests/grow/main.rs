//! Filesystems made by mke2fs are made larger, and judged by e2fsck, dumpe2fs, resize2fs and the
//! kernel. Only the last needs root.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a broken premise ends the test, as it should"
)]

mod counts;
mod declined;
mod image;
mod kernel;
mod random;
