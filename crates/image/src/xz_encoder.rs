//! Pieces of an xz image: one block of the only stream each.
//!
//! liblzma makes a whole stream of each frame; its block is cut out. The block header is written
//! anew with both sizes in it (section 3.1 of the .xz file format 1.2.1), because decoders work
//! in parallel only on blocks that state their sizes.

use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

use crate::Error;
use crate::error::UnsupportedKind;
use crate::frame_encoder::{FRAME_BYTES, FrameEncoder, PieceInfo};
use crate::xz_layout::{self, BlockHeader, CHECK_CRC64_BYTES, HEADER_BYTES, Record};

/// Preset 2 has a dictionary of 2 MiB and takes 17 MiB per encoder by xz's manual: four workers
/// keep within the memory budget. Preset 6 on a frame of 4 MiB takes 48 MiB.
pub(crate) const LEVEL_DEFAULT: i32 = 2;
const LEVEL_MAX: u32 = 9;
/// A dictionary longer than the frame would only take memory.
const DICTIONARY_BYTES_MAX: u32 = FRAME_BYTES as u32;
/// What liblzma's own block header takes for LZMA2 alone, without sizes: size, flags, id, size of
/// properties, dictionary, 3 of padding, CRC32.
const OWN_HEADER_BYTES: usize = 12;
const FILTER_LZMA2: u8 = 0x21;

/// Makes blocks of an xz stream.
pub(crate) struct XzEncoder {
    level: u32,
    stream: Vec<u8>,
}

/// Checks that xz has this level.
///
/// # Errors
/// [`Error::Unsupported`] where it has not.
pub(crate) fn check_level(level: i32) -> Result<u32, Error> {
    u32::try_from(level)
        .ok()
        .filter(|&level| level <= LEVEL_MAX)
        .ok_or_else(|| Error::unsupported(UnsupportedKind::Level(level)))
}

impl XzEncoder {
    /// # Errors
    /// As [`check_level`].
    pub(crate) fn new(level: i32) -> Result<Self, Error> {
        Ok(Self {
            level: check_level(level)?,
            stream: Vec::new(),
        })
    }

    /// Encodes `frame` as a stream of its own.
    fn encode_stream(&mut self, frame: &[u8]) -> Result<(), liblzma::stream::Error> {
        let mut options = LzmaOptions::new_preset(self.level)?;
        if self.level > 3 {
            options.dict_size(DICTIONARY_BYTES_MAX);
        }
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let mut encoder = Stream::new_stream_encoder(&filters, Check::Crc64)?;
        self.stream.clear();
        // LZMA2 stores what it can't compress, 3 bytes more for each 64 KiB.
        self.stream.reserve(frame.len() + frame.len() / 16 + 256);
        loop {
            let rest = &frame[encoder.total_in() as usize..];
            match encoder.process_vec(rest, &mut self.stream, Action::Finish)? {
                Status::StreamEnd => return Ok(()),
                _ => self.stream.reserve(frame.len() / 2 + 256),
            }
        }
    }

    /// Cuts the only block out of the stream: the dictionary's size, the compressed data, the
    /// check.
    fn block(&self) -> Option<(u8, &[u8], &[u8])> {
        let block = self.stream.get(HEADER_BYTES as usize..)?;
        let (header, body) = block.split_at_checked(OWN_HEADER_BYTES)?;
        let dictionary = match header {
            [2, 0, FILTER_LZMA2, 1, dictionary, 0, 0, 0, ..] => *dictionary,
            _ => return None,
        };
        let footer = self.stream.last_chunk::<12>()?;
        let index_len = (cardkeep_block::le_u32(footer, 4) as usize + 1) * 4;
        let body_len = body.len().checked_sub(index_len + footer.len())?;
        let index = &body[body_len..];
        // Index indicator, one record, its unpadded size.
        let (unpadded, _) = xz_layout::parse_integer(index.get(2..)?)?;
        let data_len = (unpadded as usize).checked_sub(OWN_HEADER_BYTES + CHECK_CRC64_BYTES)?;
        let check_at = body_len.checked_sub(CHECK_CRC64_BYTES)?;
        Some((
            dictionary,
            body.get(..data_len)?,
            body.get(check_at..body_len)?,
        ))
    }
}

/// Returns a block header that states both sizes.
fn block_header(dictionary: u8, compressed: u64, uncompressed: u64) -> Vec<u8> {
    let mut header = vec![0, BlockHeader::FLAGS];
    xz_layout::push_integer(&mut header, compressed);
    xz_layout::push_integer(&mut header, uncompressed);
    header.extend([FILTER_LZMA2, 1, dictionary]);
    header.resize(header.len().next_multiple_of(4), 0);
    // Its own size in words, of which the CRC32 is one, less one. OK to cast: a few words.
    header[0] = (header.len() / 4) as u8;
    let crc = crc32fast::hash(&header);
    header.extend(crc.to_le_bytes());
    header
}

impl FrameEncoder for XzEncoder {
    fn encode(&mut self, frame: &[u8], piece: &mut Vec<u8>) -> Result<PieceInfo, Error> {
        self.encode_stream(frame)
            .map_err(|error| Error::codec(error.into()))?;
        let shape = || Error::codec(std::io::Error::other("liblzma made another kind of block"));
        let (dictionary, data, check) = self.block().ok_or_else(shape)?;
        piece.clear();
        piece.extend(block_header(
            dictionary,
            data.len() as u64,
            frame.len() as u64,
        ));
        let unpadded = (piece.len() + data.len() + check.len()) as u64;
        piece.extend(data);
        piece.resize(piece.len().next_multiple_of(4), 0);
        piece.extend(check);
        Ok(PieceInfo::with_unpadded(frame.len(), unpadded))
    }
}

/// The index of the blocks added so far.
#[derive(Debug, Default)]
pub(crate) struct XzBooks {
    records: Vec<Record>,
}

impl XzBooks {
    /// Takes down the next block.
    pub(crate) fn add(&mut self, info: &PieceInfo) {
        self.records.push(Record {
            unpadded: info.unpadded(),
            uncompressed: info.content_len() as u64,
        });
    }

    /// Returns what ends the stream.
    pub(crate) fn epilogue(&self) -> Vec<u8> {
        xz_layout::index_and_footer(&self.records, xz_layout::CHECK_CRC64)
    }
}
