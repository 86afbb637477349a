//! The files of one image on the disk: looks at them, and takes the steps that the table above asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{BlockError, Operation, WriteAt};

use crate::beside::beside;
use crate::map_note::{MapNote, MapOf};
use crate::partial_file::{Overwrite, PartialFile, check_names};
use crate::partial_file_error::{PartialFileError, PartialFileErrorKind};
use crate::text_file::TextFile;
use crate::transfer::system_error;
use crate::watch::{Watch, Watched};

use super::{
    Event, Found, Losses, NotNow, Origin, Step, StoreKind, finished, next_state, withdrawn,
};

/// A map of as many runs as there can be takes some 20 MB as text.
const MAP_BYTES_MAX: u64 = 64 << 20;

/// The files of one image.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    image: PathBuf,
    watched: Watched,
}

impl ImageFiles {
    /// Returns the files of the image with this name. Nothing is looked at.
    #[must_use]
    pub fn of(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            watched: Watched::default(),
        }
    }

    /// Lets `watch` hear of each change from now on.
    #[must_use]
    pub fn watched_by(self, watch: Arc<dyn Watch>) -> Self {
        Self {
            watched: Watched::by(watch),
            ..self
        }
    }

    /// Returns the name of the finished image.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Returns the name under which the image is made.
    #[must_use]
    pub fn partial(&self) -> PathBuf {
        PartialFile::partial_path(&self.image)
    }

    /// Returns the name of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        beside(&self.image, ".rescue")
    }

    /// Returns the name of the map.
    #[must_use]
    pub fn map(&self) -> PathBuf {
        beside(&self.image, ".map")
    }

    /// Returns the name of the map of an image that is being replaced.
    #[must_use]
    pub fn old_map(&self) -> PathBuf {
        beside(&self.map(), ".old")
    }

    /// Returns the name that the content of a stream would have, unpacked beside the image; it has the
    /// unfinished one as long as it is there.
    #[must_use]
    pub fn unpacked(&self) -> PathBuf {
        beside(&self.image, ".unpacked")
    }

    /// Creates the file for the content of a stream, after removing what an earlier run left of one.
    ///
    /// # Errors
    /// As [`PartialFile::discard_leftover`] and [`PartialFile::create`].
    pub fn create_unpacked(&self) -> Result<PartialFile, PartialFileError> {
        let name = self.unpacked();
        PartialFile::discard_leftover(&name)?;
        PartialFile::create_watched(&name, Overwrite::Refuse, self.watched.clone())
    }

    /// Returns the names of all files that lie beside the image.
    #[must_use]
    pub fn beside(&self) -> Vec<PathBuf> {
        let (map, old) = (self.map(), self.old_map());
        let (new, new_old) = (beside(&map, ".new"), beside(&old, ".new"));
        let unpacked = PartialFile::partial_path(&self.unpacked());
        vec![
            self.partial(),
            self.store(),
            map,
            old,
            new,
            new_old,
            unpacked,
        ]
    }

    /// Looks at what there is. `program` is the first word of the tool that makes the image.
    #[must_use]
    pub fn look(&self, program: &str) -> Found {
        // What can't be looked at counts as not there: creating or opening it says why.
        let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
        let map = is_there(self.map()).then(|| match self.load_map() {
            Ok(Some(text)) => MapNote::read(&text, &self.image, program),
            // What can't be read is not ours.
            _ => MapNote::UNREADABLE,
        });
        Found {
            image: self.image.exists(),
            partial: is_there(self.partial()),
            map,
            old_map: is_there(self.old_map()),
            store: holds_anything(&self.store()),
        }
    }

    /// Returns the text of the map; `None` where there is none.
    ///
    /// # Errors
    /// What the system said.
    pub fn load_map(&self) -> Result<Option<Vec<u8>>, BlockError> {
        self.map_file().load(MAP_BYTES_MAX)
    }

    /// Returns the text of the map of the finished image, be it set aside or not; `None` where it has none.
    /// The image may also be named by its unfinished name.
    ///
    /// # Errors
    /// What the system said.
    pub fn map_of_image(&self) -> Result<Option<Vec<u8>>, BlockError> {
        if self.image.extension() == Some("partial".as_ref()) {
            return Self::of(self.image.with_extension("")).load_map();
        }
        if self.partial().exists() {
            return self.old_map_file().load(MAP_BYTES_MAX);
        }
        match self.load_map()? {
            Some(text) if MapNote::read(&text, &self.image, "").of == MapOf::Next => {
                self.old_map_file().load(MAP_BYTES_MAX)
            }
            text => Ok(text),
        }
    }

    /// Puts `text` in the place of the map.
    ///
    /// # Errors
    /// What the system said; the old map stays then.
    pub fn save_map(&self, text: &str) -> Result<(), BlockError> {
        self.map_file().replace(text.as_bytes())
    }

    /// Opens the store, and creates it where there is none.
    ///
    /// # Errors
    /// As [`PartialFile::reopen`].
    pub fn open_store(&self) -> Result<PartialFile, PartialFileError> {
        PartialFile::store(&self.store(), &self.image, self.watched.clone())
    }

    /// Begins an image: `event` is [`Event::Make`], [`Event::MakeAnew`] or [`Event::Resume`].
    ///
    /// # Errors
    /// [`BeginError`]. All that was there counts as before.
    pub fn begin(&self, event: Event, program: &str) -> Result<Making, BeginError> {
        check_names(&self.image, Overwrite::Replace)?;
        let found = self.look(program);
        let transition = next_state(found, event).map_err(|why| self.refused(why, found))?;
        let overwrite = match event {
            Event::Make => Overwrite::Refuse,
            Event::Resume { overwrite, .. } if found.map.is_none() => overwrite,
            _ => Overwrite::Replace,
        };
        let mut making = None;
        for step in transition.steps {
            if let Err(error) = self.take_step(step, found, overwrite, &mut making) {
                if let Some(own) = making.filter(|own: &Making| own.origin == Origin::Created) {
                    // Why it could not be begun is the error to tell.
                    drop(own.withdraw(program));
                }
                return Err(error);
            }
        }
        making.ok_or(BeginError::NotNow(NotNow::Left))
    }

    fn take_step(
        &self,
        step: Step,
        found: Found,
        overwrite: Overwrite,
        making: &mut Option<Making>,
    ) -> Result<(), BeginError> {
        match (step, making) {
            (Step::CreatePartial, making) => {
                let watched = self.watched.clone();
                let file = PartialFile::create_watched(&self.image, overwrite, watched)?;
                *making = Some(Making::new(self, file, Origin::Created));
                Ok(())
            }
            (Step::OpenPartial, making) => {
                *making = Some(self.opened(found, overwrite)?);
                Ok(())
            }
            (Step::EmptyPartial, Some(own)) => {
                own.origin = Origin::Emptied;
                let emptied = own.file.set_len(0).and_then(|()| own.file.flush());
                emptied.map_err(BeginError::Empty)
            }
            (step, _) => self.change(step),
        }
    }

    /// Opens what an earlier run left, or what was just taken back, which gets its name back where that fails.
    fn opened(&self, found: Found, overwrite: Overwrite) -> Result<Making, BeginError> {
        let opened = PartialFile::reopen_watched(&self.image, overwrite, self.watched.clone());
        match opened {
            Ok(file) if found.partial => Ok(Making::new(self, file, Origin::Reopened)),
            Ok(file) => Ok(Making::new(self, file, Origin::TakenBack)),
            Err(error) => {
                if !found.partial {
                    // Why nothing was done is the error to tell; it can be resumed under its other name, too.
                    drop(self.change(Step::GiveBack));
                }
                Err(error.into())
            }
        }
    }

    fn refused(&self, why: NotNow, found: Found) -> BeginError {
        let left = || match (found.partial, found.store) {
            (true, _) => self.partial(),
            (false, true) => self.store(),
            (false, false) => self.map(),
        };
        match why {
            NotNow::Exists => PartialFileErrorKind::Exists.at(&self.image).into(),
            NotNow::Left => PartialFileErrorKind::PartialExists.at(&left()).into(),
            why => BeginError::NotNow(why),
        }
    }

    /// Makes a change for which no partial file must be open.
    fn change(&self, step: Step) -> Result<(), BeginError> {
        match step {
            Step::SetMapAside => self.set_map_aside().map_err(BeginError::SetAside),
            Step::TakeBack => self.take_back(),
            Step::GiveBack => self
                .rename(&self.partial(), &self.image)
                .map_err(BeginError::TakeBack),
            _ => self.remove(step).map_err(BeginError::Leftover),
        }
    }

    /// Makes one of the changes that remove something, or say that it may be removed.
    fn remove(&self, step: Step) -> Result<(), BlockError> {
        match step {
            Step::RemoveStore => TextFile::new(self.store())
                .watched(self.watched.clone())
                .remove(),
            Step::RemoveMap => self.map_file().remove(),
            Step::RemoveOldMap => self.old_map_file().remove(),
            Step::SweepMap => self.map_file().sweep(),
            Step::OwnMap => self.own_map(),
            // These need the partial file.
            _ => Ok(()),
        }
    }

    fn set_map_aside(&self) -> Result<(), BlockError> {
        match self.map_of_image()? {
            Some(text) => self.old_map_file().replace(&text),
            // It may be left of an image that is no more.
            None => self.old_map_file().remove(),
        }
    }

    fn own_map(&self) -> Result<(), BlockError> {
        match self.load_map()?.and_then(|text| MapNote::owned_text(&text)) {
            Some(owned) => self.map_file().replace(&owned),
            None => Ok(()),
        }
    }

    fn take_back(&self) -> Result<(), BeginError> {
        // A link would be renamed in place of what it leads to.
        if self.image.is_symlink() {
            return Err(BeginError::Link);
        }
        self.rename(&self.image, &self.partial())
            .map_err(BeginError::TakeBack)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), BlockError> {
        let renamed = self.watched.rename_no_replace(from, to);
        renamed
            .and_then(|()| self.watched.flush_folder(to))
            .map_err(|error| system_error(Operation::Write, error))
    }

    fn map_file(&self) -> TextFile {
        TextFile::new(self.map()).watched(self.watched.clone())
    }

    fn old_map_file(&self) -> TextFile {
        TextFile::new(self.old_map()).watched(self.watched.clone())
    }
}

fn holds_anything(path: &Path) -> bool {
    // What can't be looked at is not known to hold anything.
    let metadata = path.symlink_metadata();
    metadata.is_ok_and(|metadata| metadata.len() > 0)
}

/// Why an image could not be begun.
#[derive(Debug)]
#[non_exhaustive]
pub enum BeginError {
    /// The partial file could not be created or opened.
    Partial(PartialFileError),
    /// What there is forbids it.
    NotNow(NotNow),
    /// The image that is to be resumed is a link.
    Link,
    /// The map of the image that will be replaced could not be set aside.
    SetAside(BlockError),
    /// The raw image that is to be resumed could not get its unfinished name.
    TakeBack(BlockError),
    /// What an earlier run left could not be emptied.
    Empty(BlockError),
    /// What an earlier run left could not be removed.
    Leftover(BlockError),
}

impl From<PartialFileError> for BeginError {
    fn from(error: PartialFileError) -> Self {
        Self::Partial(error)
    }
}

/// An image that is being made. Dropping it leaves all files for a later resume.
#[derive(Debug)]
pub struct Making {
    files: ImageFiles,
    file: Arc<PartialFile>,
    origin: Origin,
}

/// A file that an image no longer needs, and that could not be removed.
#[derive(Debug)]
pub struct LeftOver {
    /// What was to be done.
    pub step: Step,
    /// What the system said.
    pub error: BlockError,
}

impl Making {
    fn new(files: &ImageFiles, file: PartialFile, origin: Origin) -> Self {
        Self {
            files: files.clone(),
            file: Arc::new(file),
            origin,
        }
    }

    /// Returns the files that it is one of.
    #[must_use]
    pub const fn files(&self) -> &ImageFiles {
        &self.files
    }

    /// Returns the partial file.
    #[must_use]
    pub const fn file(&self) -> &Arc<PartialFile> {
        &self.file
    }

    /// Returns how the run got it.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Gives the image its name, and removes what it no longer needs. Its map, where there is one, must
    /// say by now what it lacks. Returns what could not be removed: the image is finished all the same.
    ///
    /// # Errors
    /// As [`PartialFile::finish`]. Nothing has been removed then.
    pub fn finish(
        self,
        losses: Losses,
        store: StoreKind,
    ) -> Result<Vec<LeftOver>, PartialFileError> {
        let mut left = Vec::new();
        for step in finished(losses, store) {
            if step == Step::Name {
                self.file.rename_to_final()?;
            } else if let Err(error) = self.files.remove(step) {
                left.push(LeftOver { step, error });
            }
        }
        Ok(left)
    }

    /// Makes undone what beginning has done. Nothing may have been written to the partial file.
    ///
    /// # Errors
    /// What the system said.
    pub fn withdraw(self, program: &str) -> Result<(), BeginError> {
        for step in withdrawn(self.files.look(program), self.origin) {
            match step {
                Step::RemovePartial => self.file.remove_name()?,
                step => self.files.change(step)?,
            }
        }
        Ok(())
    }

    /// Leaves all files for a later resume, the partial one's content durable.
    ///
    /// # Errors
    /// What the system said; the files stay all the same.
    pub fn keep(self) -> Result<(), PartialFileError> {
        self.file.flush_all()
    }
}
