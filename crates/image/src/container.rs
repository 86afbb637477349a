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
use crate::frame_encoder::{FrameEncoder, PieceInfo};
use crate::gzip_encoder::{self, GzipBooks, GzipEncoder};
use crate::seek_table::SeekTableBuilder;
use crate::xz_encoder::{self, XzBooks, XzEncoder};
use crate::xz_layout;
use crate::zstd_encoder::{self, ZstdEncoder};
use crate::{Error, Format, Manifest, ScannedPiece, manifest_frame};

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
    Gzip(GzipBooks),
    Xz(XzBooks),
}

impl Container {
    /// Returns an empty container.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the format can't be written or has no such level.
    pub fn new(format: Format, options: &EncodeOptions) -> Result<Self, Error> {
        let (books, level) = match format {
            Format::Zstd => {
                let level = options.level.unwrap_or(zstd_encoder::LEVEL_DEFAULT);
                zstd_encoder::check_level(level)?;
                (Books::Zstd(SeekTableBuilder::default()), level)
            }
            Format::Gzip => {
                let level = options.level.unwrap_or(gzip_encoder::LEVEL_DEFAULT);
                gzip_encoder::check_level(level)?;
                (Books::Gzip(GzipBooks::default()), level)
            }
            Format::Xz => {
                let level = options.level.unwrap_or(xz_encoder::LEVEL_DEFAULT);
                xz_encoder::check_level(level)?;
                (Books::Xz(XzBooks::default()), level)
            }
            other @ (Format::Raw | Format::Bzip2 | Format::Zip | Format::Tar) => {
                let kind = UnsupportedKind::Writing(other.extension());
                return Err(Error::unsupported(kind));
            }
        };
        Ok(Self { books, level })
    }

    /// Returns a compressor for one more thread. It takes about 3 MB (zstd), 0.3 MB (gzip) or
    /// 25 MB (xz) at the default level.
    ///
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub fn encoder(&self) -> Result<Box<dyn FrameEncoder>, Error> {
        Ok(match &self.books {
            Books::Zstd(_) => Box::new(ZstdEncoder::new(self.level)?),
            Books::Gzip(_) => Box::new(GzipEncoder::new(self.level)?),
            Books::Xz(_) => Box::new(XzEncoder::new(self.level)?),
        })
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
            Books::Gzip(_) => gzip_encoder::HEADER.to_vec(),
            Books::Xz(_) => xz_layout::stream_header(xz_layout::CHECK_CRC64).to_vec(),
        }
    }

    /// Takes down that `piece` comes next in the file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the container can't hold so many or so large pieces.
    pub fn add(&mut self, piece: &[u8], info: &PieceInfo) -> Result<(), Error> {
        match &mut self.books {
            Books::Zstd(table) => table.add(piece.len(), info.content_len(), info.checksum()),
            Books::Gzip(books) => {
                books.add(info);
                Ok(())
            }
            Books::Xz(books) => {
                books.add(info);
                Ok(())
            }
        }
    }

    /// Takes down that a piece which was written earlier comes next in the file: [`Self::add`] for
    /// a backup that goes on.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn adopt(&mut self, piece: &ScannedPiece) -> Result<(), Error> {
        let info = &piece.info;
        match &mut self.books {
            Books::Zstd(table) => {
                let unsupported = |_| Error::unsupported(UnsupportedKind::Writing("unfinished"));
                let len = usize::try_from(piece.entry.compressed.len()).map_err(unsupported)?;
                table.add(len, info.content_len(), info.checksum())?;
            }
            Books::Gzip(books) => books.add(info),
            Books::Xz(books) => books.add(info),
        }
        Ok(())
    }

    /// Returns what the file ends with, behind the last piece. To be called once. Only zstd
    /// images have a place for the manifest.
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
            Books::Gzip(books) => Ok(books.epilogue()),
            Books::Xz(books) => Ok(books.epilogue()),
        }
    }
}
