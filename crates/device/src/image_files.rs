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

mod on_disk;

use crate::map_note::{MapNote, MapOf};
use crate::partial_file::Overwrite;

pub use on_disk::{BeginError, ImageFiles, LeftOver, Making};

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

#[cfg(test)]
mod tests;
