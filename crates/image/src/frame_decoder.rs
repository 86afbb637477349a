//! Decodes one frame that lies in memory into memory.

use liblzma::stream::{Action, Error as XzError, Status, Stream};

use crate::Error;
use crate::error::{CorruptKind, UnsupportedKind};
use crate::stream::MEMORY_BYTES_MAX;
use crate::xz_layout;

/// Decodes single frames, in any order. One per thread: takes some 160 KB for zstd, and what the
/// dictionary takes for xz.
pub struct FrameDecoder {
    codec: Codec,
}

enum Codec {
    Zstd(zstd::bulk::Decompressor<'static>),
    Xz { check: u8 },
}

impl FrameDecoder {
    /// Returns a decoder of zstd frames.
    ///
    /// # Errors
    /// [`Error::Io`] where memory is short.
    pub fn zstd() -> Result<Self, Error> {
        let zstd = zstd::bulk::Decompressor::new().map_err(Error::codec)?;
        Ok(Self {
            codec: Codec::Zstd(zstd),
        })
    }

    /// Returns a decoder of blocks from xz streams with this check.
    pub(crate) const fn xz(check: u8) -> Self {
        Self {
            codec: Codec::Xz { check },
        }
    }

    /// Decodes `compressed`, which must fill `content` exactly. No more than that is ever
    /// written, whatever the frame claims; a checksum in the frame is enforced.
    ///
    /// # Errors
    /// [`Error::Corrupt`], without an offset, where the frame is damaged or holds more or less;
    /// [`Error::Unsupported`] where an xz block wants too much memory. The content is
    /// unspecified then.
    pub fn decode(&mut self, compressed: &[u8], content: &mut [u8]) -> Result<(), Error> {
        let len = match &mut self.codec {
            Codec::Zstd(zstd) => zstd
                .decompress_to_buffer(compressed, content)
                .map_err(|error| Error::corrupt(CorruptKind::FrameData(error.to_string())))?,
            Codec::Xz { check } => {
                decode_block(*check, compressed, content).map_err(block_error)?
            }
        };
        if len != content.len() {
            return Err(Error::corrupt(CorruptKind::FrameLen));
        }
        Ok(())
    }
}

fn block_error(error: XzError) -> Error {
    match error {
        XzError::MemLimit => Error::unsupported(UnsupportedKind::Memory),
        XzError::Mem => Error::codec(error.into()),
        other => Error::corrupt(CorruptKind::FrameData(other.to_string())),
    }
}

/// Decodes the block as the first one of a stream whose index is never looked at; returns the
/// content's length. The block's check is at its end, so it has been compared once all of the
/// block is taken in.
fn decode_block(check: u8, block: &[u8], content: &mut [u8]) -> Result<usize, XzError> {
    let mut decoder = Stream::new_stream_decoder(MEMORY_BYTES_MAX, 0)?;
    let header = xz_layout::stream_header(check);
    decoder.process(&header, &mut [], Action::Run)?;
    let mut status = Status::Ok;
    let taken = |decoder: &Stream| (decoder.total_in() as usize).saturating_sub(header.len());
    while taken(&decoder) < block.len() && status == Status::Ok {
        let output = &mut content[decoder.total_out() as usize..];
        // The second call without progress answers another status.
        status = decoder.process(&block[taken(&decoder)..], output, Action::Run)?;
    }
    if taken(&decoder) < block.len() {
        return Err(XzError::Data);
    }
    Ok(decoder.total_out() as usize)
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameDecoder").finish_non_exhaustive()
    }
}
