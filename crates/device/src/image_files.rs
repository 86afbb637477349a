//! The files of one image: which there are, what they mean, and all that creates, renames or removes
//! them.
//!
//! Main types: [`ImageFiles`], which looks at them and begins an image, and [`Making`], which ends one.
//!
//! ```text
//!   NAME           a finished image, always whole
//!   NAME.partial   the image that is made: whole frames, or a raw image with its bytes in place
//!   NAME.rescue    the store: bytes of a card that fails, until a compressed image can be made of them
//!   NAME.map       which bytes the store or a raw NAME.partial holds, or which NAME lacks: a mapfile
//!   NAME.map.old   NAME's map while NAME.map belongs to NAME.partial, which is to replace NAME
//!   NAME.map.new   a map that is being written; a crash may leave it
//! ```
//!
//! (`NAME.unpacked.partial`, the content of a stream that a smaller image is made of, has no part in this: the
//! run that makes it removes it, or the next one does.)
//!
//! Which of them exist is the state. How a run begins:
//!
//! ```text
//!   state      files there       make      make anew (--force)       resume
//!   Free       none              create    create                    create
//!   Spare      a map of ours     create    create, clear             create
//!   Kept       a store, or the   refused   create, clear             create
//!              map of another program
//!   Whole      NAME              refused   set aside, create         refused
//!   Lossy      NAME, its map     refused   set aside, create, clear  raw: take back, open; others:
//!                                                                    set aside, create
//!   Orphaned   NAME, the map of  refused   set aside, create, clear  raw: refused; others:
//!              a lost partial                                        set aside, create
//!   Begun      NAME.partial      refused   open, empty, clear        open, sweep
//!   Replacing  NAME,             refused   open, empty, clear        open, sweep; refused without a map
//!              NAME.partial
//! ```
//!
//! "Clear" removes the store and, where no image has the name, the map; where one has, the run saves a map
//! at once. A store without its map is never resumed. How a run goes on and ends, from Begun and Replacing:
//!
//! ```text
//!   event          steps                                                to
//!   save the map   NAME.map is replaced as a whole                      the same
//!   keep bytes     NAME.rescue is created, NAME.map saved, and then     the same
//!                  NAME.rescue gets its length
//!   finish whole   name, remove store, old map, map                     Whole
//!   finish lossy   name, own the map, remove old map                    Lossy
//!   withdraw       remove what was created, or give back what was taken what there was
//!   fail, crash    none                                                 the same
//! ```
//!
//! Each step is durable before the next one. The order of the steps keeps these promises after every
//! single one of them, which the tests check by stopping there:
//!
//! * NAME is the old image or the new one, whole, and its map is the one that [`ImageFiles::map_of_image`]
//!   finds: NAME.map.old while there is a partial file, or while NAME.map says that its image is to
//!   replace another one; NAME.map otherwise.
//! * Bytes of a card are removed only when an image that holds them has its name, or with `--force`.
//! * What other programs made is removed only with `--force`, or as a resumed part of a finished image.

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

/// A map of as many runs as there can be takes some 20 MB as text.
const MAP_BYTES_MAX: u64 = 64 << 20;

/// Which files of an image there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `NAME`.
    pub image: bool,
    /// `NAME.partial`.
    pub partial: bool,
    /// `NAME.map`, with what it says of itself.
    pub map: Option<MapNote>,
    /// `NAME.map.old`.
    pub old_map: bool,
    /// `NAME.rescue`, with anything in it: an empty one was just created.
    pub store: bool,
}

/// What that means: see the table at the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesState {
    /// There is nothing.
    Free,
    /// Only a map of this program is left, and nothing that it describes.
    Spare,
    /// Bytes of a card are kept, or a map of another program.
    Kept,
    /// The image is finished.
    Whole,
    /// The image is finished, and its map says what it lacks.
    Lossy,
    /// The image is finished, and the map describes another one, which is gone.
    Orphaned,
    /// An image is being made, or was interrupted.
    Begun,
    /// So it is, and will replace the one that has the name.
    Replacing,
}

/// Where bytes are kept that a failing card gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the raw image itself.
    Image,
    /// In `NAME.rescue`.
    Beside,
}

/// How a run got its partial file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It created it.
    Created,
    /// It emptied what an earlier run left.
    Emptied,
    /// It opened what an earlier run left.
    Reopened,
    /// It took back a raw image with a map, of ddrescue perhaps, which knows no filesystem.
    TakenBack,
}

/// Whether an image lacks anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// It holds all that was wanted.
    None,
    /// Its map says what it lacks.
    Some,
}

/// What happens to the files of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An image is made that replaces nothing.
    Make,
    /// An image is made that may replace another one, and what an earlier run left.
    MakeAnew,
    /// An image is made of what an earlier run left.
    Resume {
        /// Where its bytes are kept.
        store: StoreKind,
        /// Whether an image without a map may be replaced, too.
        overwrite: Overwrite,
    },
    /// The image is whole.
    Finish {
        /// Whether it lacks anything.
        losses: Losses,
        /// Where bytes were kept.
        store: StoreKind,
    },
    /// The run ends before it has changed any content.
    Withdraw(Origin),
}

/// One change, durable when the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The map of `NAME` is copied to `NAME.map.old`; one that is there is removed where `NAME` has none.
    SetMapAside,
    /// `NAME.partial` is created, empty.
    CreatePartial,
    /// `NAME.partial` is opened and locked.
    OpenPartial,
    /// `NAME.partial` loses its content.
    EmptyPartial,
    /// `NAME.partial` is removed.
    RemovePartial,
    /// `NAME` becomes `NAME.partial`.
    TakeBack,
    /// `NAME.partial` becomes `NAME`, unless that name was taken meanwhile.
    GiveBack,
    /// `NAME.partial`, which is whole, becomes `NAME`.
    Name,
    /// `NAME.map` no longer says that its image is to replace another one.
    OwnMap,
    /// `NAME.rescue` is removed.
    RemoveStore,
    /// `NAME.map` is removed.
    RemoveMap,
    /// `NAME.map.old` is removed.
    RemoveOldMap,
    /// `NAME.map.new` is removed, which a crash has left.
    SweepMap,
}

/// Why an event is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// There is an image, which may not be replaced.
    Exists,
    /// There is something that an earlier run or another program left.
    Left,
    /// There is a store without its map: nobody knows what of it is content.
    NoMap,
    /// The map describes an image that was to replace this one, and is gone.
    Orphaned,
}

/// What an event changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What there is then.
    pub to: Found,
}

impl Found {
    /// Returns what it means.
    #[must_use]
    pub fn state(&self) -> FilesState {
        let is_of_others = |note: MapNote| !note.is_ours;
        match (self.image, self.partial) {
            (false, true) => FilesState::Begun,
            (true, true) => FilesState::Replacing,
            (false, false) if self.store || self.map.is_some_and(is_of_others) => FilesState::Kept,
            (false, false) if self.map.is_some() => FilesState::Spare,
            (false, false) => FilesState::Free,
            (true, false) => match self.map.map(|note| note.of) {
                None => FilesState::Whole,
                Some(MapOf::Image) => FilesState::Lossy,
                Some(MapOf::Next) => FilesState::Orphaned,
            },
        }
    }

    /// Returns what there is after a step.
    #[must_use]
    pub fn after(self, step: Step) -> Self {
        let mut found = self;
        match step {
            Step::SetMapAside => {
                found.old_map = match self.state() {
                    FilesState::Lossy => true,
                    FilesState::Orphaned | FilesState::Replacing => self.old_map,
                    _ => false,
                };
            }
            Step::CreatePartial => found.partial = true,
            Step::RemovePartial => found.partial = false,
            Step::TakeBack => (found.image, found.partial) = (false, true),
            Step::GiveBack => (found.image, found.partial) = (true, false),
            Step::Name => {
                (found.image, found.partial) = (true, false);
                // It names the image that it replaces, which is no longer there.
                found.map = self.map.map(MapNote::owned);
            }
            Step::OwnMap => found.map = self.map.map(MapNote::owned),
            Step::RemoveStore => found.store = false,
            Step::RemoveMap => found.map = None,
            Step::RemoveOldMap => found.old_map = false,
            Step::OpenPartial | Step::EmptyPartial | Step::SweepMap => {}
        }
        found
    }
}

/// Returns what an event changes, by the table at the head of this file.
///
/// # Errors
/// [`NotNow`] where it must not happen.
pub fn next_state(found: Found, event: Event) -> Result<Transition, NotNow> {
    let steps = match event {
        Event::Make => made(found)?,
        Event::MakeAnew => made_anew(found),
        Event::Resume { store, overwrite } => resumed(found, store, overwrite)?,
        Event::Finish { losses, store } => finished(losses, store),
        Event::Withdraw(origin) => withdrawn(found, origin),
    };
    let to = steps.iter().fold(found, |found, &step| found.after(step));
    Ok(Transition { steps, to })
}

fn made(found: Found) -> Result<Vec<Step>, NotNow> {
    match found.state() {
        FilesState::Free | FilesState::Spare => Ok(vec![Step::CreatePartial]),
        FilesState::Kept | FilesState::Begun => Err(NotNow::Left),
        _ => Err(NotNow::Exists),
    }
}

fn made_anew(found: Found) -> Vec<Step> {
    // ORDER: the map is set aside, then the partial file is there, which says that the old map counts. It
    // is emptied before the map goes: without that nobody knows which of its frames were made of a store
    // with holes.
    let first = match found.state() {
        FilesState::Begun | FilesState::Replacing => {
            [Step::OpenPartial, Step::EmptyPartial].as_slice()
        }
        FilesState::Whole | FilesState::Lossy | FilesState::Orphaned => {
            &[Step::SetMapAside, Step::CreatePartial]
        }
        _ => &[Step::CreatePartial],
    };
    // ORDER: where an image has the name, the map is never missing, but replaced by one that says so:
    // if the partial file is thrown away, the map still tells whose it is.
    let last = match found.image {
        true => [Step::RemoveStore].as_slice(),
        false => &[Step::RemoveStore, Step::RemoveMap],
    };
    [first, last].concat()
}

fn resumed(found: Found, store: StoreKind, overwrite: Overwrite) -> Result<Vec<Step>, NotNow> {
    if found.store && found.map.is_none() {
        return Err(NotNow::NoMap);
    }
    let may_replace = found.map.is_some() || overwrite == Overwrite::Replace;
    match (found.state(), store) {
        (FilesState::Free | FilesState::Spare | FilesState::Kept, _) => {
            Ok(vec![Step::CreatePartial])
        }
        (FilesState::Whole | FilesState::Replacing, _) if !may_replace => Err(NotNow::Exists),
        (FilesState::Begun | FilesState::Replacing, _) => {
            Ok(vec![Step::OpenPartial, Step::SweepMap])
        }
        (FilesState::Lossy, StoreKind::Image) => Ok(vec![Step::TakeBack, Step::OpenPartial]),
        (FilesState::Orphaned, StoreKind::Image) => Err(NotNow::Orphaned),
        (FilesState::Whole | FilesState::Lossy | FilesState::Orphaned, _) => {
            Ok(vec![Step::SetMapAside, Step::CreatePartial])
        }
    }
}

/// The map says already what the image lacks, and which image it replaces.
fn finished(losses: Losses, store: StoreKind) -> Vec<Step> {
    // ORDER: name before removal. What a card gave once it may not give again.
    match (losses, store) {
        (Losses::Some, _) => vec![Step::Name, Step::OwnMap, Step::RemoveOldMap],
        (Losses::None, StoreKind::Image) => vec![Step::Name, Step::RemoveOldMap, Step::RemoveMap],
        (Losses::None, StoreKind::Beside) => vec![
            Step::Name,
            Step::RemoveStore,
            Step::RemoveOldMap,
            Step::RemoveMap,
        ],
    }
}

fn withdrawn(found: Found, origin: Origin) -> Vec<Step> {
    let is_own = found.map.is_some_and(|note| note.of == MapOf::Image);
    match origin {
        // ORDER: the partial file first, which says that the old map counts. Where the map is of
        // another image, the old one stays the only one that NAME has.
        Origin::Created if found.image && is_own => vec![Step::RemovePartial, Step::RemoveOldMap],
        Origin::Created => vec![Step::RemovePartial],
        Origin::TakenBack => vec![Step::GiveBack],
        Origin::Emptied | Origin::Reopened => Vec::new(),
    }
}

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

#[cfg(test)]
mod tests;
