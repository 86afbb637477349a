//! Filesystems made by mke2fs and changed by debugfs, judged by dumpe2fs, debugfs and e2fsck: none
//! of it needs root but the last file's test.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a broken premise ends the test, as it should"
)]

mod copies;
mod image;
mod live;
mod logs;
mod maps;
mod names;
mod seals;
