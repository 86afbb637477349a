//! Pieces of an image read back.

use cardkeep_block::{AlignedBuffer, BUFFER_ALIGNMENT, Extent, ReadAt};
use cardkeep_image::FrameDecoder;

use crate::error::CopyError;

/// The piece that was last found to decode to zeros, and their number: most frames of a large
/// card are just this one, and equal bytes need not be decoded again.
#[derive(Default)]
pub(crate) struct ZeroPiece {
    bytes: Vec<u8>,
    len: usize,
}

impl ZeroPiece {
    /// Tells whether `bytes` decode to zeros that fill `content`, whose bytes may change.
    pub(crate) fn holds_zeros(
        &mut self,
        bytes: &[u8],
        content: &mut [u8],
        decoder: &mut FrameDecoder,
    ) -> bool {
        if self.len == content.len() && self.bytes == bytes {
            return true;
        }
        // A piece that can't be decoded holds no zeros; the caller tells of it.
        let is_zero =
            decoder.decode(bytes, content).is_ok() && content.iter().all(|&byte| byte == 0);
        if is_zero {
            *self = Self {
                bytes: bytes.to_vec(),
                len: content.len(),
            };
        }
        is_zero
    }
}

/// No compressor makes a frame longer than this; an index that says so lies.
const PIECE_BYTES_MAX: u64 = 2 * FRAME_BYTES_MAX;
/// The longest frame that an image with a manifest may have.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// Small pieces are read together: hundreds of frames of zeros fit one request.
const WINDOW_BYTES: u64 = 64 * 1024;

/// Reads pieces with aligned requests, so that direct I/O needs no detour, and small neighbours at
/// once.
pub(crate) struct PieceWindow {
    buffer: AlignedBuffer,
    window: Extent,
}

impl PieceWindow {
    pub(crate) fn new() -> Self {
        Self {
            buffer: AlignedBuffer::new(0),
            window: Extent::default(),
        }
    }

    /// Forgets what was read: the file has changed since.
    pub(crate) fn forget(&mut self) {
        self.window = Extent::default();
    }

    /// Returns the bytes of `piece`. What lies behind `limit` is not read ahead.
    pub(crate) fn load(
        &mut self,
        reader: &dyn ReadAt,
        piece: Extent,
        limit: u64,
    ) -> Result<&[u8], CopyError> {
        if piece.len() > PIECE_BYTES_MAX {
            let len = piece.len();
            return Err(CopyError::Index(format!("it has a piece of {len} bytes")));
        }
        if !self.window.covers(piece) {
            self.read(reader, piece, limit)?;
        }
        let skip = (piece.start() - self.window.start()) as usize;
        Ok(&self.buffer[skip..skip + piece.len() as usize])
    }

    fn read(&mut self, reader: &dyn ReadAt, piece: Extent, limit: u64) -> Result<(), CopyError> {
        let alignment = BUFFER_ALIGNMENT as u64;
        let aligned = |offset: u64| offset.div_ceil(alignment).saturating_mul(alignment);
        let start = piece.start() / alignment * alignment;
        let ahead = start.saturating_add(WINDOW_BYTES).min(aligned(limit));
        let end = aligned(piece.end()).max(ahead).min(reader.len());
        let size = Extent::between(start, end).len() as usize;
        self.forget();
        if self.buffer.len() < size {
            self.buffer = AlignedBuffer::new(size);
        }
        let target = &mut self.buffer[..size];
        reader
            .read_at(start, target)
            .map_err(CopyError::Destination)?;
        self.window = Extent::between(start, end);
        if self.window.covers(piece) {
            return Ok(());
        }
        Err(CopyError::Index("a piece lies past its end".to_owned()))
    }
}
