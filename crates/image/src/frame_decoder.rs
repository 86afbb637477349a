//! Decodes one frame that lies in memory into memory.

use liblzma::stream::{Action, Error as XzError, Status, Stream};

use crate::decoder::MEMORY_BYTES_MAX;
use crate::error::{CorruptKind, UnsupportedKind};
use crate::xz_layout;
use crate::{Error, Format};

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

    /// Returns a decoder of the pieces of images that this program makes in `format`, which is one whose
    /// pieces can be decoded on their own.
    ///
    /// # Errors
    /// As [`FrameDecoder::zstd`].
    pub fn of_pieces(format: Format) -> Result<Self, Error> {
        match format {
            Format::Xz => Ok(Self::xz(xz_layout::CHECK_CRC64)),
            _ => Self::zstd(),
        }
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

/// A block header of 8 bytes with reserved flags set (.xz file format 1.2.1, section 3.1.2). Only
/// a decoder that has finished the block before, and compared its check, reads it as one, and
/// answers [`XzError::Options`]; within a block it is data, and wrong at that.
fn header_that_none_supports() -> [u8; 8] {
    let mut header = [1, 0x3c, 0, 0, 0, 0, 0, 0];
    let crc = crc32fast::hash(&header[..4]);
    header[4..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Decodes the block as the first one of a stream whose index is never looked at; returns the
/// content's length.
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
    match decoder.process(&header_that_none_supports(), &mut [], Action::Run) {
        Err(XzError::Options) => Ok(decoder.total_out() as usize),
        _ => Err(XzError::Data),
    }
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameDecoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::FrameDecoder;
    use crate::xz_layout::CHECK_CRC64;
    use crate::{Container, EncodeOptions, Error, Format};

    const CONTENT: &[u8] = b"a frame of a card, a frame of a card, a frame of a card";

    /// Returns a frame that holds [`CONTENT`], and its decoder.
    fn frame(format: Format) -> (Vec<u8>, FrameDecoder) {
        let container = Container::new(format, &EncodeOptions::default()).unwrap();
        let mut piece = Vec::new();
        container
            .encoder()
            .unwrap()
            .encode(CONTENT, &mut piece)
            .unwrap();
        let decoder = match format {
            Format::Zstd => FrameDecoder::zstd().unwrap(),
            _ => FrameDecoder::xz(CHECK_CRC64),
        };
        (piece, decoder)
    }

    fn check_damaged(decoder: &mut FrameDecoder, frame: &[u8], content_len: usize) {
        let error = decoder
            .decode(frame, &mut vec![0; content_len])
            .unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
    }

    #[test]
    fn a_frame_must_fill_its_content_exactly() {
        for format in [Format::Zstd, Format::Xz] {
            let (frame, mut decoder) = frame(format);
            let mut content = vec![0; CONTENT.len()];
            decoder.decode(&frame, &mut content).unwrap();
            assert_eq!(content, CONTENT);
            check_damaged(&mut decoder, &frame, CONTENT.len() + 1);
            check_damaged(&mut decoder, &frame, CONTENT.len() - 1);
            check_damaged(&mut decoder, &frame, 0);
        }
    }

    #[test]
    fn a_frame_must_be_whole_and_alone() {
        for format in [Format::Zstd, Format::Xz] {
            let (frame, mut decoder) = frame(format);
            for len in 0..frame.len() {
                check_damaged(&mut decoder, &frame[..len], CONTENT.len());
            }
            let followed = [&frame[..], b"rubbish!"].concat();
            check_damaged(&mut decoder, &followed, CONTENT.len());
        }
    }
}
