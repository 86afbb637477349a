//! The shelf of an image in a file: `NAME.rescue` and `NAME.map` beside it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cardkeep_block::{
    BlockError, BlockErrorKind, Extent, Operation, ReadAt, RescueMap, RescueStatus,
};
use cardkeep_device::{
    FsKind, PartialFile, PartialFileError, TextFile, beside, filesystem_of, free_space,
    max_file_bytes,
};
use cardkeep_image::{Format, Mapfile, RescuePhase};

use crate::destination::Destination;
use crate::error::CopyError;
use crate::rescue::shelf::Shelf;

/// A map of as many runs as there can be takes some 20 MB as text.
const MAPFILE_BYTES_MAX: u64 = 64 << 20;

/// What stands before the maker's name in a mapfile's first line.
const MADE_BY: &str = "Created by ";

/// Stands at the end of that line while there is another image with the name that the one of the map will
/// have.
const REPLACING: &str = ", replacing";

/// The shelf of an image in a file.
pub struct FileShelf<'a> {
    image: PathBuf,
    tool: String,
    mapfile: TextFile,
    store: Store<'a>,
    /// Whether another image has the name meanwhile.
    is_replacing: bool,
}

enum Store<'a> {
    /// A file of its own, made when first wanted.
    Beside(OnceLock<PartialFile>),
    /// The raw image itself.
    Image(&'a PartialFile),
}

impl<'a> FileShelf<'a> {
    /// Returns the shelf beside `image`, written by the program `tool`: name and version.
    #[must_use]
    pub fn beside(image: &Path, tool: &str) -> Self {
        Self::new(image, tool, Store::Beside(OnceLock::new()))
    }

    /// Returns the shelf whose store is the unfinished raw image `file`.
    #[must_use]
    pub fn within(file: &'a PartialFile, tool: &str) -> Self {
        Self::new(file.final_path(), tool, Store::Image(file))
    }

    fn new(image: &Path, tool: &str, store: Store<'a>) -> Self {
        Self {
            image: image.to_path_buf(),
            tool: tool.to_owned(),
            mapfile: TextFile::new(Self::map_path(image)),
            store,
            is_replacing: image.exists(),
        }
    }

    /// Returns the name of the mapfile.
    #[must_use]
    pub fn map_path(image: &Path) -> PathBuf {
        beside(image, ".map")
    }

    /// Returns what of a finished image with `len` bytes of content was not read when it was made, as the
    /// map beside it says; nothing where it has none.
    ///
    /// # Errors
    /// As [`FileShelf::load`].
    pub fn lost_of_image(image: &Path, format: Format, len: u64) -> Result<Vec<Extent>, CopyError> {
        let own = Self::map_of_image(image).map_err(CopyError::Destination)?;
        let text = match (own, image.canonicalize()) {
            (Some(text), _) => Some(text),
            // A link may have no map, but what it leads to one.
            (None, Ok(target)) => Self::map_of_image(&target).map_err(CopyError::Destination)?,
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

    /// Returns the map of an image, be it set aside or not.
    fn map_of_image(image: &Path) -> Result<Option<Vec<u8>>, BlockError> {
        let load = |file: TextFile| file.load(MAPFILE_BYTES_MAX);
        if image.extension() == Some("partial".as_ref()) {
            return load(TextFile::new(Self::map_path(&image.with_extension(""))));
        }
        if PartialFile::partial_path(image).exists() {
            return load(Self::old_map(image));
        }
        match load(TextFile::new(Self::map_path(image)))? {
            Some(text) if is_of_another(&text) => load(Self::old_map(image)),
            text => Ok(text),
        }
    }

    /// Tells whether the map beside an image speaks of another one, which was to take its place and is
    /// gone.
    ///
    /// # Errors
    /// What the system said.
    pub fn is_orphaned(image: &Path) -> Result<bool, BlockError> {
        let text = TextFile::new(Self::map_path(image)).load(MAPFILE_BYTES_MAX)?;
        let is_gone = !PartialFile::partial_path(image).exists();
        Ok(is_gone && text.is_some_and(|text| is_of_another(&text)))
    }

    /// Returns the map of an image that is being replaced: its own name is the new one's already.
    fn old_map(image: &Path) -> TextFile {
        TextFile::new(beside(&Self::map_path(image), ".old"))
    }

    /// Keeps a copy of the map of a finished image for as long as that is there, whatever becomes of the one
    /// that is made in its place. To be called before that one's file is there.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_aside(image: &Path) -> Result<(), BlockError> {
        if !image.exists() {
            return Ok(());
        }
        match Self::map_of_image(image)? {
            Some(text) => Self::old_map(image).replace(&text),
            // It may be left of an image that is no more.
            None => Self::old_map(image).remove(),
        }
    }

    /// Forgets the map that was set aside: its image has been replaced.
    ///
    /// # Errors
    /// What the system said.
    pub fn forget_old(image: &Path) -> Result<(), BlockError> {
        Self::old_map(image).remove()
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
            Store::Beside(_) if !PartialFile::rescue_path(&self.image).exists() => false,
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
        let text = self.mapfile.load(MAPFILE_BYTES_MAX);
        match text.map_err(CopyError::Destination)? {
            Some(text) => Ok(Mapfile::parse(&text, len)?.map),
            None => Ok(RescueMap::new(len, RescueStatus::NonTried)),
        }
    }

    /// Takes down that the image is being made, and how far earlier runs came: whoever goes on may replace what
    /// this run may.
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

    /// Returns who made the mapfile, as it says; `None` where there is none, or another program's.
    ///
    /// # Errors
    /// What the system said.
    pub fn maker(&self) -> Result<Option<String>, BlockError> {
        let Some(text) = self.mapfile.load(MAPFILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let line = first_line(&text);
        let line = line.strip_suffix(REPLACING).unwrap_or(&line);
        Ok(line.split_once(MADE_BY).map(|(_, maker)| maker.to_owned()))
    }

    /// Removes store and mapfile: the image holds all that they did.
    ///
    /// # Errors
    /// What the system said.
    pub fn discard(self) -> Result<(), BlockError> {
        if let Store::Beside(file) = self.store {
            drop(file);
            TextFile::new(PartialFile::rescue_path(&self.image)).remove()?;
        }
        self.mapfile.remove()
    }

    fn own(&self) -> Result<&PartialFile, BlockError> {
        match &self.store {
            Store::Image(file) => Ok(file),
            Store::Beside(cell) => {
                if let Some(file) = cell.get() {
                    return Ok(file);
                }
                let file = PartialFile::rescue(&self.image).map_err(block_error)?;
                Ok(cell.get_or_init(|| file))
            }
        }
    }
}

impl Shelf for FileShelf<'_> {
    fn store(&self) -> Result<&dyn Destination, BlockError> {
        self.own().map(|file| file as &dyn Destination)
    }

    fn save(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        let mut maker = self.tool.clone();
        if self.is_replacing {
            maker.push_str(REPLACING);
        }
        self.mapfile.replace(mapfile.to_text(&maker).as_bytes())
    }

    fn finish(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        self.mapfile.replace(mapfile.to_text(&self.tool).as_bytes())
    }

    fn has_room(&self, len: u64, bytes: u64) -> bool {
        if self.is_image() {
            return true;
        }
        let Some(folder) = self.image.parent() else {
            return false;
        };
        let can_be_so_long = max_file_bytes(folder).is_none_or(|most| len <= most);
        let needed = match filesystem_of(folder) {
            // Without holes a file takes all its length.
            Ok(FsKind::Fat | FsKind::Exfat | FsKind::Hfs) | Err(_) => len.max(bytes),
            Ok(_) => bytes,
        };
        // The image takes no more than what it is made of, give or take its index.
        can_be_so_long && free_space(folder).is_ok_and(|free| free / 2 > needed)
    }

    fn is_image(&self) -> bool {
        matches!(self.store, Store::Image(_))
    }
}

fn first_line(text: &[u8]) -> Cow<'_, str> {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    String::from_utf8_lossy(line)
}

/// Tells whether the image that has the name is not the one of this map.
fn is_of_another(text: &[u8]) -> bool {
    first_line(text).ends_with(REPLACING)
}

fn block_error(error: PartialFileError) -> BlockError {
    let kind = error
        .medium_error()
        .map_or(BlockErrorKind::Busy, BlockError::kind);
    BlockError::new(kind, Operation::Open).caused_by(error)
}
