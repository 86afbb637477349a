//! The image while it is made, with what earlier runs left of it. Which files that are, and all that
//! creates and removes them, is in [`ImageFiles`].

use std::sync::Arc;

use cardkeep_block::{Extent, Monitor, ReadAt, State, Trouble, WriteAt, path_text};
use cardkeep_copy::{CopyError, FileShelf, FrameList, Job, Prefix, untried};
use cardkeep_device::{
    BeginError, Event, ImageFiles, LeftOver, Losses, Making, NotNow, Origin, Overwrite,
    PartialFile, Step, StoreKind, stored_bytes,
};
use cardkeep_image::Format;

use crate::backup::request::{BackupRequest, Resume};
use crate::backup::resume::Reached;
use crate::error::{OpError, OpErrorKind};

/// The image while it is made.
pub(crate) struct Unfinished {
    making: Making,
    store: StoreKind,
    program: String,
}

impl Unfinished {
    /// Opens what an earlier run left of an image, where that is wanted and there; or begins anew.
    pub(crate) fn open(
        request: &BackupRequest,
        files: &ImageFiles,
        format: Format,
    ) -> Result<Self, OpError> {
        let store = match format {
            Format::Raw => StoreKind::Image,
            _ => StoreKind::Beside,
        };
        let overwrite = request.overwrite;
        let event = match (request.resume, overwrite) {
            (Resume::Yes, _) => Event::Resume { store, overwrite },
            (Resume::No, Overwrite::Replace) => Event::MakeAnew,
            (Resume::No, Overwrite::Refuse) => Event::Make,
        };
        let program = request.tool.split_whitespace().next().unwrap_or_default();
        let making = files.begin(event, program);
        Ok(Self {
            making: making.map_err(|error| not_begun(files, error))?,
            store,
            program: program.to_owned(),
        })
    }

    /// Returns how many bytes of the disk an earlier run took for an image, which are used again.
    pub(crate) fn kept_bytes(request: &BackupRequest, files: &ImageFiles) -> u64 {
        let partial = files.partial();
        let may_be_store = request.resume == Resume::Yes && files.map().exists();
        match partial.exists() {
            false if may_be_store => stored_bytes(files.image()),
            _ => stored_bytes(&partial),
        }
    }

    /// Tells whether nothing of the image was made before.
    fn is_new(&self) -> bool {
        matches!(self.making.origin(), Origin::Created | Origin::Emptied)
    }

    /// Makes undone what opening has done, where nothing was changed in it.
    pub(crate) fn withdraw(self) {
        // Why it is not made is the error to tell; what stays can be resumed.
        drop(self.making.withdraw(&self.program));
    }

    pub(crate) fn file(&self) -> &PartialFile {
        self.making.file()
    }

    /// Returns where bytes are kept that a failing card gave.
    pub(crate) fn shelf(&self, tool: &str) -> FileShelf {
        let files = self.making.files().clone();
        match self.store {
            StoreKind::Image => FileShelf::within(files, Arc::clone(self.making.file()), tool),
            StoreKind::Beside => FileShelf::beside(files, tool),
        }
    }

    /// Returns the files that it is one of.
    pub(crate) const fn files(&self) -> &ImageFiles {
        self.making.files()
    }

    /// Returns how far earlier runs came.
    pub(crate) fn reached(
        &self,
        shelf: &FileShelf,
        job: &Job<'_>,
        request: &BackupRequest,
    ) -> Result<Reached, CopyError> {
        let mut map = untried(&job.map);
        let mut prefix = Prefix::default();
        if request.resume == Resume::Yes {
            map = shelf.load(job.map.len())?;
            if self.store == StoreKind::Beside && self.making.origin() == Origin::Reopened {
                // What the cache holds may never have reached the disk: a failed write leaves it there.
                let reader = self.file().reader().map_err(CopyError::Destination)?;
                prefix = Prefix::load(&reader, &FrameList::new(&job.map), job.format)?;
                // Frames that were made of a store hold zeros in its holes, be it there or not.
                prefix = prefix.before_rescued(&shelf.told(job.map.len())?, &job.map);
            }
        }
        Ok(Reached { map, prefix })
    }

    /// Zeros what must be zero in what an earlier run left, now that it is known to be this card's.
    pub(crate) fn clear_left(&self, job: &Job<'_>) -> Result<(), CopyError> {
        match (self.making.origin(), self.store) {
            (Origin::TakenBack, _) => self.clear(job, &[State::Zero]),
            // What a disk that was pulled out never wrote reads as what it held before, where its
            // filesystem has no holes.
            (Origin::Reopened, StoreKind::Image) => self.clear(job, &[State::Zero, State::Free]),
            _ => Ok(()),
        }
    }

    /// Zeros what is in these states: a journal's old log, which others have copied, must be zero in an
    /// image, and what is free should be.
    fn clear(&self, job: &Job<'_>, states: &[State]) -> Result<(), CopyError> {
        let runs = job.map.runs().filter(|run| states.contains(&run.state));
        for extent in runs.map(|run| run.extent) {
            let end = extent.end().min(self.file().len());
            let place = Extent::between(extent.start().min(end), end);
            self.file()
                .write_zeros(place)
                .map_err(CopyError::Destination)?;
        }
        Ok(())
    }

    /// Saves how far the image is, where a map that is there says anything else: it may be of another image,
    /// or of a store that is gone, and must not be believed once there is one of that length again.
    pub(crate) fn begin_map(
        &self,
        shelf: &FileShelf,
        reached: &Reached,
        job: &Job<'_>,
    ) -> Result<(), CopyError> {
        let files = self.making.files();
        let is_there = files.map().exists();
        let is_begun = match self.is_new() {
            true => files.image().exists() || is_there,
            false => is_there && shelf.told(job.map.len())? != reached.map,
        };
        if !is_begun {
            return Ok(());
        }
        if self.store == StoreKind::Beside {
            // ORDER: frames that were made of the store go before the map that tells them from others.
            let file = self.file();
            file.set_len(reached.prefix.stored_bytes())
                .and_then(|()| file.flush())
                .map_err(CopyError::Destination)?;
        }
        shelf.begin(&reached.map).map_err(CopyError::Destination)
    }

    /// Gives the image its name, and removes what it no longer needs.
    pub(crate) fn finish(self, losses: Losses, monitor: &dyn Monitor) -> Result<(), OpError> {
        let files = self.making.files().clone();
        let left = self.making.finish(losses, self.store);
        let left = left.map_err(|error| OpError::of_partial_file(files.image(), error))?;
        for left in left {
            monitor.trouble(Trouble::new(left_over(&files, &left)));
        }
        Ok(())
    }

    /// Keeps what there is for another run.
    pub(crate) fn keep(self) {
        // Why the copy ended is the error to tell, not that this could not be made durable.
        drop(self.making.keep());
    }
}

/// Says what could not be removed.
fn left_over(files: &ImageFiles, left: &LeftOver) -> String {
    let error = &left.error;
    let path = match left.step {
        Step::RemoveOldMap => {
            return format!("the map of the replaced image can't be removed: {error}");
        }
        Step::RemoveStore => files.store(),
        _ => files.map(),
    };
    format!(
        "{} is left, and no longer needed: {error}",
        path_text(&path)
    )
}

/// Returns the error of an image that could not be begun.
fn not_begun(files: &ImageFiles, error: BeginError) -> OpError {
    let image = files.image();
    let anew = "--force instead of --resume starts over";
    match error {
        BeginError::Partial(error) => OpError::of_partial_file(image, error),
        BeginError::NotNow(NotNow::NoMap) => {
            let (store, map) = (files.store(), files.map());
            let (store, map) = (path_text(&store), path_text(&map));
            OpError::new(
                OpErrorKind::Usage,
                format!("{store} is there, but not {map}"),
            )
            .hint("put it back, or start over with --force instead of --resume")
        }
        BeginError::NotNow(_) => {
            let (map, partial) = (files.map(), files.partial());
            let (map, partial) = (path_text(&map), path_text(&partial));
            let message = format!("{map} belongs to {partial}, which is gone");
            OpError::new(OpErrorKind::Usage, message).hint(anew)
        }
        BeginError::Link => {
            let message = format!("{} is a link", path_text(image));
            OpError::new(OpErrorKind::Usage, message).hint("name the image itself")
        }
        BeginError::SetAside(error) => OpError::of_destination(&files.map(), error),
        BeginError::TakeBack(error) => {
            let message = format!("{} can't be resumed", path_text(image));
            OpError::new(OpErrorKind::Environment, message).caused_by(error)
        }
        BeginError::Empty(error) => OpError::of_destination(image, error),
        BeginError::Leftover(error) => OpError::of_leftover(image, error),
        error => OpError::new(OpErrorKind::Internal, format!("{error:?}")),
    }
}

#[cfg(test)]
mod tests;
