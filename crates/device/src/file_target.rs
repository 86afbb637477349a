//! A regular file that stands in for a card: whether it may be written.
//!
//! Main type: [`FileTarget`].

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::Operation;

use crate::file_id::FileId;
use crate::flock;
use crate::platform::writing;
use crate::refusal::Refusal;
use crate::source::Nature;
use crate::transfer::system_error;

/// A regular file that may stand in for a card, as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct FileTarget {
    /// The path that it was named by.
    pub path: PathBuf,
    /// Its identity, where the platform tells any.
    pub id: Option<FileId>,
    /// Its length in bytes, which stays.
    pub len: u64,
    /// How many names it has: all of them lead to what is written.
    pub name_count: u64,
    /// Keeps the system from giving the number of its inode to another file once it is removed;
    /// `None` where it can't be read.
    _held: Option<Arc<File>>,
}

impl FileTarget {
    /// Looks at a file that may be written in a card's place. A link counts as what it leads to.
    ///
    /// # Errors
    /// [`Refusal`]: where it is not there, is no regular file, serves as a device (a mounted image
    /// does) or may do so, or is used by another process: locked, open for writing, or swapped to.
    pub fn look(path: &Path) -> Result<Self, Refusal> {
        let metadata = std::fs::metadata(path).map_err(|error| of_system(path, error))?;
        expect_regular(path, &metadata)?;
        writing::expect_no_device(path, &metadata)?;
        // One that may not be read may not be written either, as it is read back.
        let held = writing::open_to_look(path).ok();
        let other_user = |file| locked(file).or_else(|| writing::other_user(file));
        if let Some(how) = held.as_ref().and_then(other_user) {
            return Err(Refusal::InUse { how });
        }
        let id = FileId::from_metadata(&metadata);
        // What is held must be what was looked at.
        let opened = held.as_ref().and_then(|file| file.metadata().ok());
        if opened.is_some_and(|opened| FileId::from_metadata(&opened) != id) {
            let what = "another file has its name now".to_owned();
            return Err(Refusal::Changed { what });
        }
        Ok(Self {
            path: path.to_path_buf(),
            id,
            len: metadata.len(),
            name_count: name_count(&metadata),
            _held: held.map(Arc::new),
        })
    }
}

/// Returns how another program has locked a file as a whole, flock(2), in words. The lock that is
/// taken to see it is given back at once.
fn locked(file: &File) -> Option<&'static str> {
    match flock::lock(file, flock::Kind::Exclusive, flock::Patience::NONE) {
        Err(_) => Some("another program holds a lock on it"),
        Ok(()) => {
            // Where no lock could be taken there is none to give back.
            file.unlock().ok();
            None
        }
    }
}

fn of_system(path: &Path, error: std::io::Error) -> Refusal {
    match error.kind() {
        ErrorKind::NotFound => Refusal::NotThere {
            path: path.to_path_buf(),
        },
        _ => Refusal::Machine(system_error(Operation::Open, error)),
    }
}

fn expect_regular(path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    let what = match Nature::of(metadata) {
        Nature::File => return Ok(()),
        Nature::Device => "a device",
        Nature::Other(what) => what,
    };
    let path = path.to_path_buf();
    Err(Refusal::NotAFile { path, what })
}

#[cfg(unix)]
fn name_count(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn name_count(_: &Metadata) -> u64 {
    1
}
