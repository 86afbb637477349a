//! Pieces of a zstd image: one frame each, with content size and checksum.

use zstd::zstd_safe::{CParameter, compress_bound};

use crate::Error;
use crate::error::UnsupportedKind;
use crate::frame_encoder::{FrameEncoder, PieceInfo};

/// zstd's own default: faster than a card on one core of a laptop.
pub(crate) const LEVEL_DEFAULT: i32 = 3;
/// Bytes of the `Content_Checksum` that ends a frame (RFC 8878, 3.1.1).
const CHECKSUM_BYTES: usize = 4;

/// Makes zstd frames.
pub(crate) struct ZstdEncoder {
    compressor: zstd::bulk::Compressor<'static>,
}

impl ZstdEncoder {
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub(crate) fn new(level: i32) -> Result<Self, Error> {
        let mut compressor = zstd::bulk::Compressor::new(level).map_err(Error::codec)?;
        for parameter in [
            CParameter::ChecksumFlag(true),
            CParameter::ContentSizeFlag(true),
        ] {
            compressor.set_parameter(parameter).map_err(Error::codec)?;
        }
        Ok(Self { compressor })
    }
}

/// Checks that zstd has this level.
///
/// # Errors
/// [`Error::Unsupported`] where it has not.
pub(crate) fn check_level(level: i32) -> Result<(), Error> {
    if zstd::compression_level_range().contains(&level) {
        Ok(())
    } else {
        Err(Error::unsupported(UnsupportedKind::Level(level)))
    }
}

impl FrameEncoder for ZstdEncoder {
    fn encode(&mut self, frame: &[u8], piece: &mut Vec<u8>) -> Result<PieceInfo, Error> {
        piece.clear();
        piece.reserve(compress_bound(frame.len()));
        self.compressor
            .compress_to_buffer(frame, piece)
            .map_err(Error::codec)?;
        // The frame ends with the very checksum that the seek table wants.
        let checksum = piece
            .last_chunk::<CHECKSUM_BYTES>()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Ok(PieceInfo::new(frame.len(), checksum))
    }
}
