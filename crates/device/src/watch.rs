//! Single changes to files and folders, each of which can be watched, and stopped.
//!
//! Main type: [`Watched`]. A program that dies leaves its files as they were after one of its changes.
//! A test that lets every change after the n-th fail sees what such a program leaves, for each n.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::as_named::{open_as_named, sync_folder};
use crate::renaming::rename_no_replace;

/// What is about to be done to a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An empty file is created.
    Create,
    /// Bytes are written, or zeroed.
    Write,
    /// The length is set.
    Resize,
    /// What was written is made durable.
    Flush,
    /// The file gets another name.
    Rename,
    /// The name is removed.
    Remove,
    /// The names in the file's folder are made durable.
    FlushFolder,
}

/// Hears of each change before it is made.
pub trait Watch: Send + Sync + std::fmt::Debug {
    /// Is called before `change` is made to the file at `path`.
    ///
    /// # Errors
    /// Where the change must not be made: its caller gets this error.
    fn before(&self, change: Change, path: &Path) -> io::Result<()>;
}

/// Makes changes, and lets them be watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Option<Arc<dyn Watch>>);

impl Watched {
    /// Returns what makes changes that `watch` hears of.
    pub(crate) fn by(watch: Arc<dyn Watch>) -> Self {
        Self(Some(watch))
    }

    /// Announces a change that the caller makes itself.
    pub(crate) fn before(&self, change: Change, path: &Path) -> io::Result<()> {
        match &self.0 {
            Some(watch) => watch.before(change, path),
            None => Ok(()),
        }
    }

    /// Creates a file that must not be there yet.
    pub(crate) fn create(&self, options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        self.before(Change::Create, path)?;
        open_as_named(options.write(true).create_new(true), path)
    }

    /// Writes a whole small file that was just created.
    pub(crate) fn write_all(&self, mut file: &File, path: &Path, content: &[u8]) -> io::Result<()> {
        self.before(Change::Write, path)?;
        file.write_all(content)
    }

    /// Makes content and length of a file durable.
    pub(crate) fn flush(&self, file: &File, path: &Path) -> io::Result<()> {
        self.before(Change::Flush, path)?;
        file.sync_all()
    }

    /// Renames a file, which replaces what has the new name.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Change::Rename, from)?;
        std::fs::rename(from, to)
    }

    /// Renames a file unless the new name is taken.
    pub(crate) fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Change::Rename, from)?;
        rename_no_replace(from, to)
    }

    /// Removes a name; answers whether it was there.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<bool> {
        if path.symlink_metadata().is_err() {
            return Ok(false);
        }
        self.before(Change::Remove, path)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Makes the names in the folder of `path` durable.
    pub(crate) fn flush_folder(&self, path: &Path) -> io::Result<()> {
        self.before(Change::FlushFolder, path)?;
        sync_folder(path)
    }
}
