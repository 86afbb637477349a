//! A gzip image: one member (RFC 1952) whose deflate stream is joined from pieces.
//!
//! ```text
//!   header 10 | piece 0 | piece 1 | ... | final empty block 2 | CRC32 4 | ISIZE 4
//! ```
//!
//! One member, because some programs stop after the first. Each piece begins without a memory of
//! the one before and ends with a sync flush, an empty stored block (RFC 1951, 3.2.4), that is,
//! at a byte's boundary: that is what lets them be made apart and put side by side.

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::Error;
use crate::error::UnsupportedKind;
use crate::frame_encoder::{FrameEncoder, PieceInfo};

/// gzip's own default.
pub(crate) const LEVEL_DEFAULT: i32 = 6;
const LEVEL_MAX: u32 = 9;

/// ID1 ID2, CM = deflate, FLG = nothing, MTIME = unknown, XFL = 0, OS = unknown: no clock and no
/// name, so that the same content gives the same bytes (RFC 1952, 2.3).
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// BFINAL = 1, BTYPE = 01 (fixed codes), end of block (RFC 1951, 3.2.3 and 3.2.6).
const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// Makes pieces of a deflate stream. Takes some 270 KB.
pub(crate) struct GzipEncoder {
    deflate: Compress,
}

/// Checks that gzip has this level.
///
/// # Errors
/// [`Error::Unsupported`] where it has not.
pub(crate) fn check_level(level: i32) -> Result<u32, Error> {
    u32::try_from(level)
        .ok()
        .filter(|&level| level <= LEVEL_MAX)
        .ok_or_else(|| Error::unsupported(UnsupportedKind::Level(level)))
}

impl GzipEncoder {
    /// # Errors
    /// As [`check_level`].
    pub(crate) fn new(level: i32) -> Result<Self, Error> {
        let level = Compression::new(check_level(level)?);
        Ok(Self {
            deflate: Compress::new(level, false),
        })
    }
}

impl FrameEncoder for GzipEncoder {
    fn encode(&mut self, frame: &[u8], piece: &mut Vec<u8>) -> Result<PieceInfo, Error> {
        piece.clear();
        // Fixed codes take up to 9 bits for a byte; the flush takes 5 bytes more.
        let bound = frame.len() + frame.len() / 8 + 64;
        piece.reserve(bound);
        self.deflate.reset();
        loop {
            // OK to cast: no more than the frame's length was taken in.
            let rest = &frame[self.deflate.total_in() as usize..];
            let status = self
                .deflate
                .compress_vec(rest, piece, FlushCompress::Sync)
                .map_err(|error| Error::codec(error.into()))?;
            let all_in = self.deflate.total_in() == frame.len() as u64;
            if all_in && piece.len() < piece.capacity() {
                break;
            }
            if status == Status::BufError && piece.len() < piece.capacity() {
                return Err(Error::codec(std::io::ErrorKind::InvalidData.into()));
            }
            piece.reserve(bound);
        }
        Ok(PieceInfo::new(frame.len(), crc32fast::hash(frame)))
    }
}

/// What the member's trailer needs of the pieces added so far.
#[derive(Debug, Default)]
pub(crate) struct GzipBooks {
    crc: crc32fast::Hasher,
    content_len: u64,
}

impl GzipBooks {
    /// Takes down the next piece.
    pub(crate) fn add(&mut self, info: &PieceInfo) {
        let len = info.content_len() as u64;
        let piece = crc32fast::Hasher::new_with_initial_len(info.checksum(), len);
        self.crc.combine(&piece);
        self.content_len = self.content_len.saturating_add(len);
    }

    /// Returns what ends the member.
    pub(crate) fn epilogue(&self) -> Vec<u8> {
        let mut bytes = FINAL_BLOCK.to_vec();
        bytes.extend(self.crc.clone().finalize().to_le_bytes());
        // ISIZE is the length modulo 2^32 by definition (RFC 1952, 2.3.1).
        bytes.extend((self.content_len as u32).to_le_bytes());
        bytes
    }
}
