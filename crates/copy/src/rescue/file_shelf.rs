//! The shelf of an image in a file: `NAME.rescue` and `NAME.map` beside it.

use std::sync::{Arc, OnceLock};

use cardkeep_block::{
    BlockError, BlockErrorKind, Extent, Operation, ReadAt, RescueMap, RescueStatus,
};
use cardkeep_device::{
    FsKind, ImageFiles, MapNote, PartialFile, PartialFileError, filesystem_of, free_space,
    max_file_bytes,
};
use cardkeep_image::{Format, Mapfile, RescuePhase};

use crate::destination::Destination;
use crate::error::CopyError;
use crate::rescue::shelf::Shelf;

/// The shelf of an image in a file.
pub struct FileShelf {
    files: ImageFiles,
    tool: String,
    store: Store,
    /// Whether another image has the name meanwhile.
    is_replacing: bool,
}

enum Store {
    /// A file of its own, made when first wanted.
    Beside(OnceLock<PartialFile>),
    /// The raw image itself.
    Image(Arc<PartialFile>),
}

impl FileShelf {
    /// Returns the shelf beside an image, written by the program `tool`: name and version.
    #[must_use]
    pub fn beside(files: ImageFiles, tool: &str) -> Self {
        Self::new(files, tool, Store::Beside(OnceLock::new()))
    }

    /// Returns the shelf whose store is the unfinished raw image `file`.
    #[must_use]
    pub fn within(files: ImageFiles, file: Arc<PartialFile>, tool: &str) -> Self {
        Self::new(files, tool, Store::Image(file))
    }

    fn new(files: ImageFiles, tool: &str, store: Store) -> Self {
        Self {
            is_replacing: files.image().exists(),
            files,
            tool: tool.to_owned(),
            store,
        }
    }

    /// Returns what of a finished image with `len` bytes of content was not read when it was made, as the
    /// map beside it says; nothing where it has none.
    ///
    /// # Errors
    /// As [`FileShelf::load`].
    pub fn lost_of_image(
        files: &ImageFiles,
        format: Format,
        len: u64,
    ) -> Result<Vec<Extent>, CopyError> {
        let own = files.map_of_image().map_err(CopyError::Destination)?;
        let text = match (own, files.image().canonicalize()) {
            (Some(text), _) => Some(text),
            // A link may have no map, but what it leads to one.
            (None, Ok(target)) => ImageFiles::of(target)
                .map_of_image()
                .map_err(CopyError::Destination)?,
            // What has no path of its own, such as a pipe, has nothing beside it.
            (None, Err(_)) => None,
        };
        let Some(text) = text else {
            return Ok(Vec::new());
        };
        let map = Mapfile::parse(&text, len)?.map;
        let lost = map.unfinished_in(Extent::between(0, len)).filter(|run| {
            // What a store lacks that nobody tried may have gone into the compressed image before.
            format == Format::Raw || run.status != RescueStatus::NonTried
        });
        Ok(lost.map(|run| run.extent).collect())
    }

    /// Returns how far earlier runs came with a medium of `len` bytes: nowhere, where there is no
    /// mapfile, or not the store that it speaks of.
    ///
    /// # Errors
    /// [`CopyError::Image`] where the mapfile is damaged, [`CopyError::Destination`] where it or
    /// the store can't be read.
    pub fn load(&self, len: u64) -> Result<RescueMap, CopyError> {
        let told = self.told(len)?;
        let is_there = match &self.store {
            Store::Image(file) => file.len() >= len,
            Store::Beside(_) if !self.files.store().exists() => false,
            Store::Beside(_) => self.own().map_err(CopyError::Destination)?.len() >= len,
        };
        Ok(if is_there {
            told
        } else {
            RescueMap::new(len, RescueStatus::NonTried)
        })
    }

    /// Returns what the mapfile says of a medium of `len` bytes, whether or not the store that it speaks of
    /// is there: nothing, where there is no mapfile.
    ///
    /// # Errors
    /// As [`FileShelf::load`].
    pub fn told(&self, len: u64) -> Result<RescueMap, CopyError> {
        match self.files.load_map().map_err(CopyError::Destination)? {
            Some(text) => Ok(Mapfile::parse(&text, len)?.map),
            None => Ok(RescueMap::new(len, RescueStatus::NonTried)),
        }
    }

    /// Saves that the image is being made, and how far earlier runs came: a later run may then replace what
    /// this one may.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(&self, map: &RescueMap) -> Result<(), BlockError> {
        self.save(&Mapfile {
            position: 0,
            phase: RescuePhase::Copying,
            pass: 1,
            map: map.clone(),
        })
    }

    /// Returns who made the mapfile, as it says; `None` where there is none, or it does not say so.
    ///
    /// # Errors
    /// What the system said.
    pub fn maker(&self) -> Result<Option<String>, BlockError> {
        Ok(self
            .files
            .load_map()?
            .and_then(|text| MapNote::maker(&text)))
    }

    fn own(&self) -> Result<&PartialFile, BlockError> {
        match &self.store {
            Store::Image(file) => Ok(file),
            Store::Beside(cell) => {
                if let Some(file) = cell.get() {
                    return Ok(file);
                }
                let file = self.files.open_store().map_err(block_error)?;
                Ok(cell.get_or_init(|| file))
            }
        }
    }
}

impl Shelf for FileShelf {
    fn store(&self) -> Result<&dyn Destination, BlockError> {
        self.own().map(|file| file as &dyn Destination)
    }

    fn save(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        let mark = match self.is_replacing {
            true => MapNote::replacing(),
            false => "",
        };
        let text = mapfile.to_text(&format!("{}{mark}", self.tool));
        self.files.save_map(&text)
    }

    fn finish(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        let mark = match self.is_replacing {
            true => MapNote::replacing_this(self.files.image()),
            false => String::new(),
        };
        let text = mapfile.to_text(&format!("{}{mark}", self.tool));
        self.files.save_map(&text)
    }

    fn is_begun(&self) -> bool {
        self.files.map().symlink_metadata().is_ok()
    }

    fn has_room(&self, len: u64, bytes: u64) -> bool {
        if self.is_image() {
            return true;
        }
        let Some(folder) = self.files.image().parent() else {
            return false;
        };
        let can_be_so_long = max_file_bytes(folder).is_none_or(|most| len <= most);
        let needed = match filesystem_of(folder) {
            // Without holes a file takes all its length; what can't be told may be such a one.
            Ok(FsKind::Fat | FsKind::Exfat | FsKind::Hfs) | Err(_) => len.max(bytes),
            Ok(_) => bytes,
        };
        // Where the room can't be told, the image is taken not to fit.
        // The image takes no more than what it is made of, give or take its index.
        can_be_so_long && free_space(folder).is_ok_and(|free| free / 2 > needed)
    }

    fn is_image(&self) -> bool {
        matches!(self.store, Store::Image(_))
    }
}

fn block_error(error: PartialFileError) -> BlockError {
    let kind = error
        .medium_error()
        .map_or(BlockErrorKind::Busy, BlockError::kind);
    BlockError::new(kind, Operation::Open).caused_by(error)
}
