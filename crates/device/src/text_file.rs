//! A small file that is replaced as a whole: a crash leaves the old content or the new one.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use cardkeep_block::{BlockError, Operation};

use crate::as_named::open_as_named;
use crate::beside::beside;
use crate::transfer::system_error;
use crate::user;
use crate::watch::Watched;

/// A small file that is replaced as a whole.
#[derive(Clone, Debug)]
pub struct TextFile {
    path: PathBuf,
    readers: Readers,
    watched: Watched,
}

/// Who may read a file that is made, if the process's mask lets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody.
    All,
}

impl TextFile {
    /// Returns the file that has this name, or will have.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: Readers::Owner,
            watched: Watched::default(),
        }
    }

    /// Returns the same file, whose changes `watched` makes.
    pub(crate) fn watched(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    /// Returns the same file, to be made so that everybody may read it: it tells nothing of a card.
    #[must_use]
    pub fn for_everybody(self) -> Self {
        Self {
            readers: Readers::All,
            ..self
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the content; `None` where there is no such file.
    ///
    /// # Errors
    /// What the system said; also where it is longer than `bytes_max`, or no regular file.
    pub fn load(&self, bytes_max: u64) -> Result<Option<Vec<u8>>, BlockError> {
        let mut options = OpenOptions::new();
        let file = match open_as_named(options.read(true), &self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(system_error(Operation::Open, error)),
        };
        let read = || -> io::Result<Vec<u8>> {
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.len() > bytes_max {
                return Err(io::Error::other("it is too long, or no file"));
            }
            let mut content = Vec::new();
            (&file).take(bytes_max).read_to_end(&mut content)?;
            Ok(content)
        };
        let content = read().map_err(|error| system_error(Operation::Read, error))?;
        Ok(Some(content))
    }

    /// Puts `content` in the place of what is there; durable when it returns. Under sudo the file
    /// is given to the user who called sudo.
    ///
    /// # Errors
    /// What the system said; the old content stays then.
    pub fn replace(&self, content: &[u8]) -> Result<(), BlockError> {
        let write = || -> io::Result<()> {
            let (aside, watched) = (self.aside(), &self.watched);
            // A crash may have left one. A link is removed, not followed.
            watched.remove(&aside)?;
            let file = watched.create(&mut OpenOptions::new(), &aside)?;
            if self.readers == Readers::All {
                allow_all_to_read(&file)?;
            }
            user::give_to_sudo_user(&file)?;
            watched.write_all(&file, &aside, content)?;
            // ORDER: content before name. A name that outlives a crash must name all of it.
            watched.flush(&file, &aside)?;
            watched.rename(&aside, &self.path)?;
            watched.flush_folder(&self.path)
        };
        write().map_err(|error| system_error(Operation::Write, error))
    }

    /// Removes the file, and what a crash left of a new one; none is no error. Durable when it returns.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove(&self) -> Result<(), BlockError> {
        let remove = || -> io::Result<()> {
            let was_aside = self.watched.remove(&self.aside())?;
            let was_there = self.watched.remove(&self.path)?;
            match was_aside || was_there {
                true => self.watched.flush_folder(&self.path),
                false => Ok(()),
            }
        };
        remove().map_err(|error| system_error(Operation::Write, error))
    }

    /// Removes what a crash left of a new content; none is no error.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn sweep(&self) -> Result<(), BlockError> {
        let swept = self.watched.remove(&self.aside());
        swept
            .map(|_| ())
            .map_err(|error| system_error(Operation::Write, error))
    }

    fn aside(&self) -> PathBuf {
        beside(&self.path, ".new")
    }
}

/// Lets everybody read a file that was just made.
#[cfg(unix)]
fn allow_all_to_read(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn allow_all_to_read(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}
