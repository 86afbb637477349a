//! The destination image while it is being written: `NAME.partial`, renamed when it is whole.
//!
//! Main type: [`PartialFile`]. A file under the final name is always a finished one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{BlockError, Extent, Operation, ReadAt, WriteAt};

use crate::as_named::open_as_named;
use crate::beside::beside;
use crate::partial_file_error::{PartialFileError, PartialFileErrorKind};
use crate::platform::{opening, writing};
use crate::shared_folder::is_planted;
use crate::source::Source;
use crate::transfer::{read_covering, system_error, write_all};
use crate::user;
use crate::watch::{Change, Watched};

/// What to do about a file that already has the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it alone: creating fails, and so does finishing where it appeared meanwhile.
    Refuse,
    /// Replace it, at the moment the new one is whole and not before.
    Replace,
}

/// An image being written under the name `<final>.partial`.
///
/// Dropping it leaves the partial file for a later resume, as [`PartialFile::keep`] does.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    partial: PathBuf,
    destination: PathBuf,
    overwrite: Overwrite,
    /// Whether a flush has failed.
    is_in_doubt: Mutex<bool>,
    watched: Watched,
}

/// Where a partial file lies, what it will be called, and who hears of its changes.
struct Place<'a> {
    partial: PathBuf,
    final_path: &'a Path,
    overwrite: Overwrite,
    watched: Watched,
}

impl PartialFile {
    /// Creates the empty `<final_path>.partial` and locks it against other runs. Under sudo it is
    /// given to the user who called sudo.
    ///
    /// # Errors
    /// [`PartialFileErrorKind::Exists`] where the final name is taken and may not be replaced,
    /// [`PartialFileErrorKind::NotAFile`] where it is taken by a folder or device,
    /// [`PartialFileErrorKind::PartialExists`] where an earlier run left a partial file, and
    /// [`PartialFileErrorKind::Medium`] for what the system said.
    pub fn create(final_path: &Path, overwrite: Overwrite) -> Result<Self, PartialFileError> {
        Self::create_watched(final_path, overwrite, Watched::default())
    }

    /// Does the work of [`PartialFile::create`]; `watched` makes all changes.
    pub(crate) fn create_watched(
        final_path: &Path,
        overwrite: Overwrite,
        watched: Watched,
    ) -> Result<Self, PartialFileError> {
        let partial = check_names(final_path, overwrite)?;
        let created = watched.create(OpenOptions::new().read(true), &partial);
        let file = created.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => PartialFileErrorKind::PartialExists.at(&partial),
            _ => failed(&partial, Operation::Open, error),
        })?;
        user::give_to_sudo_user(&file).map_err(|e| failed(&partial, Operation::Open, e))?;
        // What its name tells of other files must not outlive them, nor they it.
        let flushed = watched.flush_folder(&partial);
        flushed.map_err(|e| failed(&partial, Operation::Flush, e))?;
        let place = Place {
            partial,
            final_path,
            overwrite,
            watched,
        };
        Self::locked(file, place)
    }

    /// Opens the partial file that an earlier run left for `final_path`, to resume it.
    ///
    /// # Errors
    /// As [`PartialFile::create`]; [`PartialFileErrorKind::InUse`] where another run holds it.
    pub fn reopen(final_path: &Path, overwrite: Overwrite) -> Result<Self, PartialFileError> {
        Self::reopen_watched(final_path, overwrite, Watched::default())
    }

    /// Does the work of [`PartialFile::reopen`]; `watched` makes all changes.
    pub(crate) fn reopen_watched(
        final_path: &Path,
        overwrite: Overwrite,
        watched: Watched,
    ) -> Result<Self, PartialFileError> {
        let partial = check_names(final_path, overwrite)?;
        let mut options = OpenOptions::new();
        let opened = open_as_named(options.read(true).write(true), &partial);
        let file = opened.map_err(|error| failed(&partial, Operation::Open, error))?;
        check_own(&file, &partial)?;
        let place = Place {
            partial,
            final_path,
            overwrite,
            watched,
        };
        Self::locked(file, place)
    }

    /// Opens the file at `path`, which keeps what was read of a failing card until the image
    /// `final_path` can be made of it; creates it where there is none, as [`PartialFile::create`] does.
    ///
    /// # Errors
    /// As [`PartialFile::reopen`], but for [`PartialFileErrorKind::Exists`].
    pub(crate) fn store(
        path: &Path,
        final_path: &Path,
        watched: Watched,
    ) -> Result<Self, PartialFileError> {
        let mut options = OpenOptions::new();
        let existing = open_as_named(options.read(true).write(true), path);
        let file = match existing {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = watched.create(OpenOptions::new().read(true), path);
                let file = file.map_err(|error| failed(path, Operation::Open, error))?;
                user::give_to_sudo_user(&file).map_err(|e| failed(path, Operation::Open, e))?;
                file
            }
            result => result.map_err(|error| failed(path, Operation::Open, error))?,
        };
        check_own(&file, path)?;
        let place = Place {
            partial: path.to_path_buf(),
            final_path,
            overwrite: Overwrite::Refuse,
            watched,
        };
        Self::locked(file, place)
    }

    /// Removes the partial file that an earlier run left for `final_path`; none is no error.
    ///
    /// # Errors
    /// [`PartialFileErrorKind::InUse`] where another run still writes it, else what the system said.
    pub fn discard_leftover(final_path: &Path) -> Result<(), PartialFileError> {
        match Self::reopen(final_path, Overwrite::Replace) {
            Ok(leftover) => leftover.abandon(),
            Err(error) if !exists(&error.path) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the name under which an unfinished `final_path` is written.
    #[must_use]
    pub fn partial_path(final_path: &Path) -> PathBuf {
        beside(final_path, ".partial")
    }

    fn locked(file: File, place: Place<'_>) -> Result<Self, PartialFileError> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(PartialFileErrorKind::InUse.at(&place.partial));
            }
            // A filesystem without locks (some network shares) is no reason to refuse a backup.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // ORDER: lock before look. Who held it may have ended since it was opened, and what was
        // opened may be a finished image by now.
        if !is_still_named(&file, &place.partial) {
            return Err(PartialFileErrorKind::InUse.at(&place.partial));
        }
        Ok(Self {
            file,
            partial: place.partial,
            destination: place.final_path.to_path_buf(),
            overwrite: place.overwrite,
            is_in_doubt: Mutex::new(false),
            watched: place.watched,
        })
    }

    /// Returns the path of the partial file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Returns the name that the file will have when it is finished.
    #[must_use]
    pub fn final_path(&self) -> &Path {
        &self.destination
    }

    /// Sets the length in bytes; what is added reads as zero and takes no room where the
    /// filesystem knows sparse files.
    ///
    /// # Errors
    /// [`cardkeep_block::BlockErrorKind::NoSpace`] where the filesystem can't hold a file of that length.
    pub fn set_len(&self, len: u64) -> Result<(), BlockError> {
        let allowed = self.watched.before(Change::Resize, &self.partial);
        let result = allowed.and_then(|()| self.file.set_len(len));
        result.map_err(|error| system_error(Operation::Write, error))
    }

    /// Returns once the content written so far is on the disk.
    ///
    /// # Errors
    /// What the system reported; what was written before is in doubt then, and stays so: all later
    /// flushes fail, from any caller.
    pub fn sync_data(&self) -> Result<(), BlockError> {
        let result = self.synced(File::sync_data);
        result.map_err(|error| system_error(Operation::Flush, error))
    }

    /// Flushes. The system tells of a lost write once, to the first who asks: a second flush, be it another
    /// thread's, would succeed and call durable what is not (fsync(2), "EIO").
    fn synced(&self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        // ORDER: one flush at a time, so that none begins between the failure of another and the note of it.
        let mut is_in_doubt = self
            .is_in_doubt
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *is_in_doubt {
            return Err(io::Error::other("an earlier flush has failed"));
        }
        let allowed = self.watched.before(Change::Flush, &self.partial);
        let synced = allowed.and_then(|()| sync(&self.file));
        synced.inspect_err(|_| *is_in_doubt = true)
    }

    /// Starts to write `extent` to the disk without waiting, so that the last flush is short.
    ///
    /// # Errors
    /// What the system reported.
    pub fn start_writeback(&self, extent: Extent) -> Result<(), BlockError> {
        let result = opening::start_writeback(&self.file, extent);
        result.map_err(|error| system_error(Operation::Write, error).at(extent))
    }

    /// Drops what of `extent` is already on the disk from the page cache: an image is not read
    /// again soon, and other programs want the memory.
    ///
    /// # Errors
    /// What the system reported.
    pub fn drop_cache(&self, extent: Extent) -> Result<(), BlockError> {
        let result = opening::drop_cache(&self.file, extent);
        result.map_err(|error| system_error(Operation::Flush, error).at(extent))
    }

    /// Returns an independent handle that reads what is on the disk, past the page cache as far
    /// as the system allows. Waits until all that was written is there.
    ///
    /// # Errors
    /// What the system reported on flushing or opening.
    pub fn reader(&self) -> Result<Source, BlockError> {
        self.sync_data()?;
        Source::open_uncached(&self.partial)
    }

    /// Makes the content durable and gives the file its final name.
    ///
    /// # Errors
    /// [`PartialFileErrorKind::Exists`] where a file with that name appeared meanwhile and may
    /// not be replaced, else what the system said. The partial file stays then.
    pub fn finish(self) -> Result<(), PartialFileError> {
        self.rename_to_final()
    }

    /// Does the work of [`PartialFile::finish`] while others may still hold the file; nobody must
    /// write to it any more.
    pub(crate) fn rename_to_final(&self) -> Result<(), PartialFileError> {
        let partial = &self.partial;
        // ORDER: content before name. A name that outlives a crash must not name half an image.
        self.flush_all()?;
        let renamed = match self.overwrite {
            Overwrite::Replace => self.watched.rename(partial, &self.destination),
            Overwrite::Refuse => self.watched.rename_no_replace(partial, &self.destination),
        };
        renamed.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => PartialFileErrorKind::Exists.at(&self.destination),
            _ => failed(partial, Operation::Write, error),
        })?;
        let flushed = self.watched.flush_folder(&self.destination);
        flushed.map_err(|error| failed(&self.destination, Operation::Flush, error))
    }

    /// Removes the partial file.
    ///
    /// # Errors
    /// What the system said.
    pub fn abandon(self) -> Result<(), PartialFileError> {
        self.remove_name()
    }

    /// Does the work of [`PartialFile::abandon`] while others may still hold the file.
    pub(crate) fn remove_name(&self) -> Result<(), PartialFileError> {
        let removed = self.watched.remove(&self.partial);
        removed
            .map(|_| ())
            .map_err(|error| failed(&self.partial, Operation::Write, error))
    }

    /// Leaves the partial file for a later [`PartialFile::reopen`], its content durable.
    ///
    /// # Errors
    /// What the system reported; the file stays all the same.
    pub fn keep(self) -> Result<(), PartialFileError> {
        self.flush_all()
    }

    /// Makes content and length durable.
    pub(crate) fn flush_all(&self) -> Result<(), PartialFileError> {
        let synced = self.synced(File::sync_all);
        synced.map_err(|error| failed(&self.partial, Operation::Flush, error))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Closing would release the lock only once a child process that is just being started has
        // dropped its copy of the descriptor. Where there was no lock there is none to release.
        self.file.unlock().unwrap_or(());
    }
}

/// What is looked at and zeroed at once, in bytes.
const ZERO_PART_BYTES: u64 = 1 << 20;

impl WriteAt for PartialFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let allowed = self.watched.before(Change::Write, &self.partial);
        allowed.map_err(|error| system_error(Operation::Write, error))?;
        write_all(&self.file, offset, data)
    }

    fn write_zeros(&self, extent: Extent) -> Result<(), BlockError> {
        let allowed = self.watched.before(Change::Write, &self.partial);
        allowed.map_err(|error| system_error(Operation::Write, error))?;
        if extent.is_empty() || writing::zero(&self.file, extent) {
            return Ok(());
        }
        // Where a filesystem has no holes, most of what is to be zero is so, and reading is quicker. The
        // disk is asked: what the cache holds may never have got there.
        let reader = self.reader()?;
        let mut content = vec![0; ZERO_PART_BYTES.min(extent.len()) as usize];
        let mut start = extent.start();
        while start < extent.end() {
            let size = ZERO_PART_BYTES.min(extent.end() - start);
            let part = &mut content[..size as usize];
            reader.read_at(start, part)?;
            if part.iter().any(|&byte| byte != 0) {
                part.fill(0);
                self.write_at(start, part)?;
            }
            start += size;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.sync_data()
    }
}

impl ReadAt for PartialFile {
    /// Returns the present length; 0 where the system can't tell.
    fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        let needed = buffer.len();
        read_covering(&self.file, offset, buffer, needed, 1)
    }
}

/// Checks that the final name may be used, and returns the partial one.
pub(crate) fn check_names(
    final_path: &Path,
    overwrite: Overwrite,
) -> Result<PathBuf, PartialFileError> {
    match final_path.metadata() {
        Ok(metadata) if !metadata.is_file() => Err(PartialFileErrorKind::NotAFile.at(final_path)),
        Ok(_) if overwrite == Overwrite::Refuse => Err(PartialFileErrorKind::Exists.at(final_path)),
        Ok(_) => Ok(PartialFile::partial_path(final_path)),
        Err(error) if error.kind() == ErrorKind::NotFound && final_path.file_name().is_some() => {
            Ok(PartialFile::partial_path(final_path))
        }
        Err(error) => Err(failed(final_path, Operation::Open, error)),
    }
}

/// Refuses a file that is none, or that others planted: what is written to it would reach them.
fn check_own(file: &File, path: &Path) -> Result<(), PartialFileError> {
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| failed(path, Operation::Open, error))?;
    if !metadata.is_file() {
        return Err(PartialFileErrorKind::NotAFile.at(path));
    }
    if is_planted(&metadata, path) {
        return Err(PartialFileErrorKind::Planted.at(path));
    }
    Ok(())
}

/// Tells whether the name still leads to the open file.
fn is_still_named(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let open = file.metadata().map(identity);
        let named = path.symlink_metadata().map(identity);
        matches!((open, named), (Ok(open), Ok(named)) if open == named)
    }
    #[cfg(not(unix))]
    {
        // An open file can't be renamed there.
        file.metadata().is_ok() && path.exists()
    }
}

fn exists(path: &Path) -> bool {
    // What can't be looked at counts as not there: creating it says why.
    path.symlink_metadata().is_ok()
}

fn failed(path: &Path, operation: Operation, error: io::Error) -> PartialFileError {
    PartialFileError::medium(path, system_error(operation, error))
}

#[cfg(test)]
mod tests {
    use super::{Overwrite, PartialFile, PartialFileErrorKind, Place};
    use crate::watch::Watched;

    /// Catches: a lost write of which one thread is told, and that another one's flush calls durable.
    #[test]
    fn once_a_flush_has_failed_all_do() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("card.img");
        let file = PartialFile::create(&image, Overwrite::Refuse).unwrap();
        file.sync_data().unwrap();
        let lost = file.synced(|_| Err(std::io::Error::other("lost")));
        assert!(lost.is_err());
        assert!(file.sync_data().is_err());
        assert!(file.reader().is_err());
        assert!(file.finish().is_err());
        assert!(!image.exists());
    }

    /// Catches: going on with an image that its own run finished between the opening and the lock.
    #[test]
    fn what_was_finished_after_it_was_opened_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("card.img");
        let partial = PartialFile::partial_path(&image);
        let first = PartialFile::create(&image, Overwrite::Refuse).unwrap();
        let opened = std::fs::File::open(&partial).unwrap();
        first.finish().unwrap();
        let place = Place {
            partial,
            final_path: &image,
            overwrite: Overwrite::Replace,
            watched: Watched::default(),
        };
        let late = PartialFile::locked(opened, place);
        assert_eq!(late.unwrap_err().kind, PartialFileErrorKind::InUse);
    }
}
