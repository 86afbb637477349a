//! What an image says about itself at its end: where its frames are, and the manifest.

use cardkeep_block::ReadAt;

use crate::error::CorruptKind;
use crate::seek_table::SeekTable;
use crate::{Error, FrameDecoder, FrameTable, Manifest, manifest_frame};

/// Where the frames of an image lie, and what the image says about its medium.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Index {
    /// The frames.
    pub table: FrameTable,
    /// The manifest; `None` in images that others made.
    pub manifest: Option<Manifest>,
}

impl Index {
    /// Returns a decoder of this image's frames.
    ///
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub fn decoder(&self) -> Result<FrameDecoder, Error> {
        FrameDecoder::zstd()
    }
}

/// Reads and validates the index at the end of an image, in a few reads; `None` where it has
/// none and must be read from its beginning.
///
/// The frames tile the file and the content; those of an image with a manifest are the
/// manifest's.
///
/// # Errors
/// [`Error::Corrupt`] where there is an index and it contradicts itself or the file,
/// [`Error::Unsupported`] where it is of a newer version or larger than any honest one, and
/// [`Error::Io`] where the medium fails.
pub fn load_index(medium: &impl ReadAt) -> Result<Option<Index>, Error> {
    let Some(seek_table) = SeekTable::load(medium)? else {
        return Ok(None);
    };
    let table = seek_table.frames;
    let Some(extent) = seek_table.last_skippable else {
        return Ok(Some(Index {
            table,
            manifest: None,
        }));
    };
    let manifest = manifest_frame::load(medium, extent)?;
    if let Some(manifest) = &manifest
        && !agree(&table, manifest)
    {
        let what = "the seek table has other frames".to_owned();
        return Err(Error::corrupt(CorruptKind::Manifest(what)).at(extent.start()));
    }
    Ok(Some(Index { table, manifest }))
}

/// Tells whether the table's frames are those of the manifest.
fn agree(table: &FrameTable, manifest: &Manifest) -> bool {
    table.entries().len() == manifest.frames.len()
        && table
            .entries()
            .iter()
            .enumerate()
            .all(|(index, entry)| entry.content == manifest.frame_extent(index))
}
