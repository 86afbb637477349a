//! Filesystems made by mke2fs, made smaller by a view, judged by e2fsck, dumpe2fs and the kernel.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a broken premise ends the test, as it should"
)]

mod damage;
mod image;
mod live;
mod options;
mod random;
mod sizes;
