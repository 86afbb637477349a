//! Decodes one frame that lies in memory into memory.

use crate::Error;
use crate::error::CorruptKind;

/// Decodes single frames, in any order. One per thread; takes some 160 KB.
pub struct FrameDecoder {
    zstd: zstd::bulk::Decompressor<'static>,
}

impl FrameDecoder {
    /// Returns a decoder of zstd frames.
    ///
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub fn zstd() -> Result<Self, Error> {
        let zstd = zstd::bulk::Decompressor::new().map_err(Error::encoder)?;
        Ok(Self { zstd })
    }

    /// Decodes `compressed`, which must fill `content` exactly. No more than that is ever
    /// written or allocated, whatever the frame claims; a checksum in the frame is enforced.
    ///
    /// # Errors
    /// [`Error::Corrupt`], without an offset, where the frame is damaged or holds more or less.
    /// The content is unspecified then.
    pub fn decode(&mut self, compressed: &[u8], content: &mut [u8]) -> Result<(), Error> {
        let len = self
            .zstd
            .decompress_to_buffer(compressed, content)
            .map_err(|error| Error::corrupt(CorruptKind::FrameData(error.to_string())))?;
        if len != content.len() {
            return Err(Error::corrupt(CorruptKind::FrameLen));
        }
        Ok(())
    }
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameDecoder").finish_non_exhaustive()
    }
}
