//! What an image says about itself at its end: where its frames are, and the manifest.

use cardkeep_block::{Extent, ReadAt};

use crate::error::CorruptKind;
use crate::frame_scan::scan_frames_within;
use crate::manifest::FRAME_BYTES_MAX;
use crate::seek_table::SeekTable;
use crate::xz_layout::{self, HEADER_BYTES, XzStream};
use crate::{Error, Format, FrameDecoder, FrameEntry, FrameTable, Manifest, manifest_frame};

/// A compressed frame is longer than its content by less than this where nothing can be gained.
pub(crate) const FRAME_FILE_BYTES_MAX: u64 = FRAME_BYTES_MAX + FRAME_BYTES_MAX / 64;

/// Where the frames of an image lie, and what the image says about its medium.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Index {
    /// The frames; the blocks, in an xz image.
    pub table: FrameTable,
    /// The manifest; `None` in images that others made.
    pub manifest: Option<Manifest>,
    codec: Codec,
}

/// What the frames are.
#[derive(Clone, Copy, Debug)]
enum Codec {
    Zstd,
    /// Blocks of streams with this check.
    Xz {
        check: u8,
    },
}

impl Index {
    /// Returns the container that the frames are in.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self.codec {
            Codec::Zstd => Format::Zstd,
            Codec::Xz { .. } => Format::Xz,
        }
    }

    /// Returns a decoder of this image's frames.
    ///
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub fn decoder(&self) -> Result<FrameDecoder, Error> {
        match self.codec {
            Codec::Zstd => FrameDecoder::zstd(),
            Codec::Xz { check } => Ok(FrameDecoder::xz(check)),
        }
    }

    /// Returns the check's id, where the frames are blocks of xz.
    pub(crate) const fn xz_check(&self) -> Option<u8> {
        match self.codec {
            Codec::Zstd => None,
            Codec::Xz { check } => Some(check),
        }
    }

    fn zstd(table: FrameTable, manifest: Option<Manifest>) -> Self {
        Self {
            table,
            manifest,
            codec: Codec::Zstd,
        }
    }
}

/// Reads and validates the index at the end of a zstd or xz image, in a few reads; `None` where
/// it has none and must be read from its beginning.
///
/// A zstd image without a seek table has one too, made by stepping from frame to frame, where all
/// its frames state how long their content is and none holds more than 64 MiB: parallel
/// compressors make such files. Like every concatenation of frames it is whole as far as anybody
/// can tell, even if a copy ended between two frames.
///
/// The frames tile the content; those of an image with a manifest are the manifest's. An xz block
/// is as long as its maker liked, the whole content if he used one thread: bound
/// [`FrameEntry::content`] and [`FrameEntry::compressed`] before taking memory for a frame. Each
/// can be decoded without any other, by as many [`Index::decoder`]s at once as there are threads.
///
/// # Errors
/// [`Error::Corrupt`] where there is an index and it contradicts itself or the file,
/// [`Error::Unsupported`] where it is of a newer version or larger than any honest one, and
/// [`Error::Io`] where the medium fails.
pub fn load_index(medium: &impl ReadAt) -> Result<Option<Index>, Error> {
    // OK to cast: at most DETECT_BYTES.
    let head_len = medium.len().min(Format::DETECT_BYTES as u64) as usize;
    let head = medium.read_vec(0, head_len)?;
    load_index_of(Format::detect(&head), medium)
}

/// Does the work of [`load_index`] for an image of a known format.
pub(crate) fn load_index_of(format: Format, medium: &impl ReadAt) -> Result<Option<Index>, Error> {
    match format {
        Format::Zstd => load_zstd_index(medium),
        Format::Xz => Ok(xz_layout::load_streams(medium)?.and_then(|streams| xz_index(&streams))),
        _ => Ok(None),
    }
}

fn load_zstd_index(medium: &impl ReadAt) -> Result<Option<Index>, Error> {
    let Some(seek_table) = SeekTable::load(medium)? else {
        return Ok(scanned_table(medium)?.map(|table| Index::zstd(table, None)));
    };
    let table = seek_table.frames;
    let Some(extent) = seek_table.last_skippable else {
        return Ok(Some(Index::zstd(table, None)));
    };
    let manifest = manifest_frame::load(medium, extent)?;
    if let Some(manifest) = &manifest
        && !agree(&table, manifest)
    {
        let what = "the seek table has other frames".to_owned();
        return Err(Error::corrupt(CorruptKind::Manifest(what)).at(extent.start()));
    }
    Ok(Some(Index::zstd(table, manifest)))
}

/// Returns the frames of a file without a seek table; `None` where one can't be decoded alone in
/// bounded memory.
fn scanned_table(medium: &impl ReadAt) -> Result<Option<FrameTable>, Error> {
    let scan = scan_frames_within(medium, FRAME_BYTES_MAX)?;
    let is_small = |entry: &FrameEntry| entry.compressed.len() <= FRAME_FILE_BYTES_MAX;
    let is_whole = scan.end == medium.len() && !scan.table.entries().is_empty();
    let is_useful = is_whole && scan.table.entries().iter().all(is_small);
    Ok(is_useful.then_some(scan.table))
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

/// Returns the blocks of all streams; `None` where the streams have different checks, which
/// nobody makes, or more content than there can be.
fn xz_index(streams: &[XzStream]) -> Option<Index> {
    let check = streams.first()?.check;
    let mut entries = Vec::new();
    let mut content_offset = 0;
    for stream in streams {
        if stream.check != check {
            return None;
        }
        let mut file_offset = stream.start.checked_add(HEADER_BYTES)?;
        for record in &stream.records {
            let compressed = Extent::new(file_offset, record.file_len()?)?;
            let content = Extent::new(content_offset, record.uncompressed)?;
            (file_offset, content_offset) = (compressed.end(), content.end());
            if !content.is_empty() {
                entries.push(FrameEntry {
                    compressed,
                    content,
                    checksum: None,
                });
            }
        }
    }
    Some(Index {
        table: FrameTable::new(entries),
        manifest: None,
        codec: Codec::Xz { check },
    })
}
