//! The container around the pieces: what comes before, between and after them.
//!
//! The work is cut so that the costly part runs in parallel and the cheap part in order:
//!
//! ```text
//!   frame 0 --FrameEncoder--> piece 0 \
//!   frame 1 --FrameEncoder--> piece 1  > in address order: Container::add, then written
//!   frame 2 --FrameEncoder--> piece 2 /
//!   file = prologue | piece 0 | piece 1 | piece 2 | epilogue
//! ```

use crate::error::UnsupportedKind;
use crate::seek_table::SeekTableBuilder;
use crate::zstd_encoder::{self, ZstdEncoder};
use crate::{Error, Format, Manifest, manifest_frame};

/// One thread's compressor: makes the piece of the container that holds a frame.
///
/// A piece depends on nothing but the frame's content and the container's options, so that
/// pieces can be made in any order by any thread, and the same content gives the same bytes.
pub trait FrameEncoder: Send {
    /// Puts into `piece`, which is cleared first, what holds `frame`.
    ///
    /// # Errors
    /// [`Error::Io`] where the compressor fails, which only lack of memory makes it do.
    fn encode(&mut self, frame: &[u8], piece: &mut Vec<u8>) -> Result<PieceInfo, Error>;
}

/// What the container must know of a piece besides its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceInfo {
    content_len: usize,
    checksum: u32,
}

impl PieceInfo {
    pub(crate) const fn new(content_len: usize, checksum: u32) -> Self {
        Self {
            content_len,
            checksum,
        }
    }

    /// Returns the length of the frame's content in bytes.
    #[must_use]
    pub const fn content_len(&self) -> usize {
        self.content_len
    }
}

/// How a container is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// The compression level, in the numbers of the format; its default where `None`.
    pub level: Option<i32>,
}

/// A container being made.
#[derive(Debug)]
pub struct Container {
    books: Books,
    level: i32,
}

/// What each format keeps of the pieces added so far.
#[derive(Debug)]
enum Books {
    Zstd(SeekTableBuilder),
}

impl Container {
    /// Returns an empty container.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the format can't be written or has no such level.
    pub fn new(format: Format, options: &EncodeOptions) -> Result<Self, Error> {
        match format {
            Format::Zstd => {
                let level = options.level.unwrap_or(zstd_encoder::LEVEL_DEFAULT);
                zstd_encoder::check_level(level)?;
                let books = Books::Zstd(SeekTableBuilder::default());
                Ok(Self { books, level })
            }
            other => Err(Error::unsupported(UnsupportedKind::Writing(
                other.extension(),
            ))),
        }
    }

    /// Returns a compressor for one more thread.
    ///
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub fn encoder(&self) -> Result<Box<dyn FrameEncoder>, Error> {
        match &self.books {
            Books::Zstd(_) => Ok(Box::new(ZstdEncoder::new(self.level)?)),
        }
    }

    /// Returns the piece that holds `len` zero bytes: made once, it serves every such frame.
    ///
    /// # Errors
    /// As [`FrameEncoder::encode`].
    pub fn zero_piece(&self, len: usize) -> Result<(Vec<u8>, PieceInfo), Error> {
        let mut piece = Vec::new();
        let info = self.encoder()?.encode(&vec![0; len], &mut piece)?;
        piece.shrink_to_fit();
        Ok((piece, info))
    }

    /// Returns what the file begins with; empty for some formats.
    #[must_use]
    pub fn prologue(&self) -> Vec<u8> {
        match &self.books {
            // The first frame must be an ordinary one: some programs know zstd by it alone.
            Books::Zstd(_) => Vec::new(),
        }
    }

    /// Takes down that `piece` comes next in the file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the container can't hold so many or so large pieces.
    pub fn add(&mut self, piece: &[u8], info: &PieceInfo) -> Result<(), Error> {
        match &mut self.books {
            Books::Zstd(table) => table.add(piece.len(), info.content_len, info.checksum),
        }
    }

    /// Returns what the file ends with, behind the last piece. To be called once.
    ///
    /// # Errors
    /// As [`Manifest::to_json`].
    pub fn epilogue(&mut self, manifest: &Manifest) -> Result<Vec<u8>, Error> {
        match &mut self.books {
            Books::Zstd(table) => {
                let mut bytes = manifest_frame::encode(manifest)?;
                table.add_skippable(bytes.len())?;
                bytes.extend(table.encode());
                Ok(bytes)
            }
        }
    }
}
