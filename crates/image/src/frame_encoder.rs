//! One thread's part of making an image: from a frame of the medium to a piece of the container.

use crate::Error;

/// Bytes of the medium's address space per frame; the last one may be shorter.
///
/// A reader takes any frame size, so that a change breaks no format. It does change the bytes of
/// new images, and the memory that one frame under way takes.
pub const FRAME_BYTES: usize = 4 << 20;

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
    /// XXH64's low half for zstd, CRC32 for gzip.
    checksum: u32,
    /// The block's length without its padding, for xz.
    unpadded: u64,
}

impl PieceInfo {
    pub(crate) const fn new(content_len: usize, checksum: u32) -> Self {
        Self {
            content_len,
            checksum,
            unpadded: 0,
        }
    }

    pub(crate) const fn with_unpadded(content_len: usize, unpadded: u64) -> Self {
        Self {
            content_len,
            checksum: 0,
            unpadded,
        }
    }

    pub(crate) const fn checksum(&self) -> u32 {
        self.checksum
    }

    pub(crate) const fn unpadded(&self) -> u64 {
        self.unpadded
    }

    /// Returns the length of the frame's content in bytes.
    #[must_use]
    pub const fn content_len(&self) -> usize {
        self.content_len
    }
}
