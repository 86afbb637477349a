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

/// Reads a piece with aligned requests, so that direct I/O needs no detour.
pub(crate) fn load_piece<'b>(
    reader: &dyn ReadAt,
    piece: Extent,
    buffer: &'b mut AlignedBuffer,
) -> Result<&'b [u8], CopyError> {
    if piece.len() > PIECE_BYTES_MAX {
        return Err(CopyError::Index(format!(
            "it has a piece of {} bytes",
            piece.len()
        )));
    }
    let alignment = BUFFER_ALIGNMENT as u64;
    let start = piece.start() / alignment * alignment;
    let end = piece
        .end()
        .div_ceil(alignment)
        .saturating_mul(alignment)
        .min(reader.len());
    let size = Extent::between(start, end).len() as usize;
    if buffer.len() < size {
        *buffer = AlignedBuffer::new(size);
    }
    reader
        .read_at(start, &mut buffer[..size])
        .map_err(CopyError::Destination)?;
    let skip = (piece.start() - start) as usize;
    Ok(&buffer[skip..skip + piece.len() as usize])
}
