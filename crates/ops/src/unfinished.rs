//! The image while it is made, with what earlier runs left of it.
//!
//! ```text
//!   NAME.partial   the image so far: whole frames, or a raw image with its bytes in place
//!   NAME.rescue    bytes of a card that fails, until a compressed image can be made of them
//!   NAME.map       which bytes those are, in ddrescue's words
//!   NAME.map.old   the same of the image that is being replaced
//! ```

use std::path::Path;

use cardkeep_block::{Extent, ReadAt, State, WriteAt, path_text};
use cardkeep_copy::{Attendant, CopyError, FileShelf, FrameList, Job, Prefix, Rescue, untried};
use cardkeep_device::{Overwrite, PartialFile, PartialFileError, stored_bytes};
use cardkeep_image::Format;

use crate::backup::{BackupRequest, Resume};
use crate::error::{OpError, OpErrorKind};

/// The image while it is made.
pub(crate) struct Unfinished {
    file: PartialFile,
    left: Left,
}

/// What there was of an image before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// What an interrupted run has made of it.
    Begun,
    /// A raw image with a mapfile, of ddrescue's perhaps, which knows no filesystem.
    Store,
}

impl Unfinished {
    /// Opens what an earlier run left of `image`, where that is wanted and there; or begins anew.
    pub(crate) fn open(
        request: &BackupRequest,
        image: &Path,
        format: Format,
        overwrite: Overwrite,
    ) -> Result<Self, OpError> {
        let of_file = |error| OpError::of_partial_file(image, error);
        let partial = PartialFile::partial_path(image);
        if request.resume == Resume::Yes {
            check_map(image)?;
            let may_be_store =
                format == Format::Raw && !partial.exists() && overwrite == Overwrite::Replace;
            if may_be_store && take_back(image, &partial)? {
                return Self::reopen_taken(image, &partial, overwrite);
            }
            if partial.exists() {
                let file = PartialFile::reopen(image, overwrite).map_err(of_file)?;
                let left = Left::Begun;
                return Ok(Self { file, left });
            }
            set_aside(image)?;
        } else if overwrite == Overwrite::Replace {
            return Self::begin_anew(request, image);
        }
        let file = PartialFile::create(image, overwrite).map_err(of_file)?;
        let left = Left::Nothing;
        Ok(Self { file, left })
    }

    /// Begins an image that may replace another one, and what an earlier run left of it.
    fn begin_anew(request: &BackupRequest, image: &Path) -> Result<Self, OpError> {
        let of_file = |error| OpError::of_partial_file(image, error);
        let of_leftover = |error| OpError::of_leftover(image, error);
        let is_left = PartialFile::partial_path(image).symlink_metadata().is_ok();
        // ORDER: the map is set aside, then the partial file is there, then the map goes. By the partial
        // file the map that is set aside is told from one that is left over.
        let file = if is_left {
            let file = PartialFile::reopen(image, Overwrite::Replace).map_err(of_file)?;
            let emptied = file.set_len(0).and_then(|()| file.sync_data());
            emptied.map_err(|error| OpError::of_destination(image, error))?;
            file
        } else {
            set_aside(image)?;
            PartialFile::create(image, Overwrite::Replace).map_err(of_file)?
        };
        let shelf = FileShelf::beside(image, &request.tool);
        shelf.discard().map_err(of_leftover)?;
        let left = Left::Nothing;
        Ok(Self { file, left })
    }

    /// Opens an image that was taken back, or gives it its name back.
    fn reopen_taken(image: &Path, partial: &Path, overwrite: Overwrite) -> Result<Self, OpError> {
        match PartialFile::reopen(image, overwrite) {
            Ok(file) => Ok(Self {
                file,
                left: Left::Store,
            }),
            Err(error) => {
                rename_back(partial, image);
                Err(OpError::of_partial_file(image, error))
            }
        }
    }

    /// Returns how many bytes of the disk an earlier run took for `image`, which are used again.
    pub(crate) fn kept_bytes(request: &BackupRequest, image: &Path) -> u64 {
        let partial = PartialFile::partial_path(image);
        let may_be_store = request.resume == Resume::Yes && FileShelf::map_path(image).exists();
        match partial.exists() {
            false if may_be_store => stored_bytes(image),
            _ => stored_bytes(&partial),
        }
    }

    /// Tells whether nothing of the image was made before.
    pub(crate) fn is_new(&self) -> bool {
        self.left == Left::Nothing
    }

    /// Gives the image its name back where it was taken for a store, and nothing was changed in it.
    pub(crate) fn give_back(self) {
        if self.left == Left::Store {
            rename_back(self.file.path(), self.file.final_path());
        }
    }

    pub(crate) const fn file(&self) -> &PartialFile {
        &self.file
    }

    /// Returns where bytes are kept that a failing card gave.
    pub(crate) fn shelf(&self, tool: &str, format: Format) -> FileShelf<'_> {
        match format {
            Format::Raw => FileShelf::within(&self.file, tool),
            _ => FileShelf::beside(self.file.final_path(), tool),
        }
    }

    /// Returns how far earlier runs came.
    pub(crate) fn rescue<'a>(
        &self,
        (shelf, attendant): (&'a FileShelf<'a>, &'a dyn Attendant),
        job: &Job<'_>,
        request: &BackupRequest,
    ) -> Result<Rescue<'a>, CopyError> {
        let mut map = untried(job.map);
        let mut prefix = Prefix::default();
        if request.resume == Resume::Yes {
            map = shelf.load(job.map.len())?;
            if job.format != Format::Raw && self.left == Left::Begun {
                // What the cache holds may never have reached the disk: a failed write leaves it there.
                let reader = self.file.reader().map_err(CopyError::Destination)?;
                prefix = Prefix::load(&reader, &FrameList::new(job.map), job.format)?;
                // Frames that were made of a store hold zeros in its holes, be it there or not.
                prefix = prefix.before_rescued(&shelf.told(job.map.len())?, job.map);
            }
        }
        Ok(Rescue {
            shelf,
            attendant,
            policy: request.policy,
            map,
            prefix,
        })
    }

    /// Zeros what must be zero in what an earlier run left, now that it is known to be this card's.
    pub(crate) fn clear_left(&self, job: &Job<'_>) -> Result<(), CopyError> {
        match (self.left, job.format) {
            (Left::Store, _) => self.clear(job, &[State::Zero]),
            // What a disk that was pulled out never wrote reads as what it held before, where its
            // filesystem has no holes.
            (Left::Begun, Format::Raw) => self.clear(job, &[State::Zero, State::Free]),
            _ => Ok(()),
        }
    }

    /// Zeros what is in these states: a journal's old log, which others have copied, must be zero in an
    /// image, and what is free should be.
    fn clear(&self, job: &Job<'_>, states: &[State]) -> Result<(), CopyError> {
        let runs = job.map.runs().filter(|run| states.contains(&run.state));
        for extent in runs.map(|run| run.extent) {
            let end = extent.end().min(self.file.len());
            let place = Extent::between(extent.start().min(end), end);
            self.file
                .write_zeros(place)
                .map_err(CopyError::Destination)?;
        }
        Ok(())
    }

    /// Gives the image its name.
    pub(crate) fn finish(self) -> Result<(), PartialFileError> {
        self.file.finish()
    }

    /// Keeps what there is for another run.
    pub(crate) fn keep(self) -> Result<(), PartialFileError> {
        self.file.keep()
    }
}

/// Without its map nobody knows what of a store is content, and which frames were made with holes.
fn check_map(image: &Path) -> Result<(), OpError> {
    let (store, map) = (PartialFile::rescue_path(image), FileShelf::map_path(image));
    if !store.exists() || map.exists() {
        return Ok(());
    }
    let message = format!(
        "{} is there, but not {}",
        path_text(&store),
        path_text(&map)
    );
    Err(OpError::new(OpErrorKind::Usage, message)
        .hint("put it back; or start anew, with --force in place of --resume"))
}

fn set_aside(image: &Path) -> Result<(), OpError> {
    let set = FileShelf::set_aside(image);
    set.map_err(|error| OpError::of_destination(&FileShelf::map_path(image), error))
}

/// Gives an image its name back.
fn rename_back(partial: &Path, image: &Path) {
    // Why nothing was done is the error to tell; under its other name it is gone on with, too.
    drop(std::fs::rename(partial, image));
}

/// Makes a raw image with a rescue map the unfinished one: it is the store itself, made by ddrescue or by an
/// earlier run. Tells whether there is one.
fn take_back(image: &Path, partial: &Path) -> Result<bool, OpError> {
    // A link would be renamed in place of what it leads to.
    if image.is_symlink() {
        let message = format!("{} is a link", path_text(image));
        return Err(OpError::new(OpErrorKind::Usage, message).hint("name the image itself"));
    }
    let is_orphaned = FileShelf::is_orphaned(image);
    if image.exists() && is_orphaned.map_err(|error| OpError::of_leftover(image, error))? {
        let (map, partial) = (FileShelf::map_path(image), path_text(partial));
        let message = format!("{} speaks of {partial}, which is gone", path_text(&map));
        let hint = "--force in place of --resume starts anew";
        return Err(OpError::new(OpErrorKind::Usage, message).hint(hint));
    }
    match std::fs::rename(image, partial) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let message = format!("{} can't be gone on with", path_text(image));
            Err(OpError::new(OpErrorKind::Environment, message).caused_by(error))
        }
    }
}
