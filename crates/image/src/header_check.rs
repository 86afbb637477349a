//! Whether each frame of an image can be decoded at all, by the frames' headers: within the bound of
//! memory, with filters that are known, and without a dictionary. Nothing is decoded.
//!
//! What a restore would find in the middle of a card is found before the card is touched.

use cardkeep_block::{BlockError, Extent, ReadAt};
use liblzma::stream::{Action, Error as XzError, Stream};

use crate::decoder::MEMORY_BYTES_MAX;
use crate::error::{CorruptKind, UnsupportedKind};
use crate::xz_layout::{self, BlockHeader};
use crate::{Error, Index, zstd_frame};

/// So much is read where a header is looked for: frames of zeros lie close together.
const WINDOW_BYTES: u64 = 64 * 1024;
/// The .xz file format 1.2.1, section 3.1: size, flags, and the CRC32 at the end.
const XZ_FIXED_BYTES: usize = 2;
const XZ_CRC_BYTES: usize = 4;
/// Section 3.1.2: which sizes are there.
const XZ_HAS_COMPRESSED: u8 = 0x40;
const XZ_HAS_UNCOMPRESSED: u8 = 0x80;

impl Index {
    /// Reads the header of each frame in the file on `medium`, and checks that such a frame can be decoded
    /// in bounded memory. Images with a manifest were made by this program, which keeps the bounds; theirs
    /// are not read. `is_stopped` is asked between frames.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a frame that takes too much memory or a dictionary;
    /// [`Error::Corrupt`] at the frame's offset for a header that is none; [`Error::Io`] where the medium
    /// can't be read.
    pub fn check_headers(
        &self,
        medium: &impl ReadAt,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        if self.manifest.is_some() {
            return Ok(());
        }
        let mut window = Window::default();
        let mut filters = Vec::new();
        for entry in self.table.entries() {
            if is_stopped() {
                return Ok(());
            }
            let head = window.load(medium, entry.compressed)?;
            let result = match self.xz_check() {
                Some(check) => check_xz(check, head, &mut filters),
                None => check_zstd(head),
            };
            result.map_err(|error| error.at(entry.compressed.start()))?;
        }
        Ok(())
    }
}

/// A part of the file in memory.
#[derive(Default)]
struct Window {
    extent: Extent,
    bytes: Vec<u8>,
}

impl Window {
    /// Returns the first bytes of what lies at `place`: enough for any header.
    fn load(&mut self, medium: &impl ReadAt, place: Extent) -> Result<&[u8], BlockError> {
        let header_len = place.len().min(BlockHeader::BYTES_MAX);
        let header = Extent::between(place.start(), place.start().saturating_add(header_len));
        if !self.extent.covers(header) {
            let end = header.start().saturating_add(WINDOW_BYTES);
            let end = end.min(medium.len()).max(header.end());
            self.extent = Extent::between(header.start(), end);
            // OK to cast: bounded by WINDOW_BYTES and a header's length.
            let len = self.extent.len() as usize;
            self.bytes = medium.read_vec(header.start(), len)?;
        }
        // OK to cast: offsets in a window in memory.
        let from = (header.start() - self.extent.start()) as usize;
        Ok(&self.bytes[from..from + header.len() as usize])
    }
}

fn check_zstd(head: &[u8]) -> Result<(), Error> {
    match zstd_frame::has_dictionary(head) {
        Some(false) => Ok(()),
        Some(true) => Err(Error::unsupported(UnsupportedKind::Dictionary)),
        None => Err(no_header("no zstd frame begins here")),
    }
}

/// Checks the header of a block in a stream with this check. `accepted` are the filters of the last one
/// that was found to be decodable.
fn check_xz(check: u8, head: &[u8], accepted: &mut Vec<u8>) -> Result<(), Error> {
    let header = xz_header(head).ok_or_else(|| no_header("no xz block begins here"))?;
    let filters = filters_of(header).ok_or_else(|| no_header("the header of a block is cut"))?;
    if !accepted.is_empty() && filters == *accepted {
        return Ok(());
    }
    match try_header(check, header) {
        Ok(()) => {
            *accepted = filters.to_vec();
            Ok(())
        }
        Err(XzError::MemLimit) => Err(Error::unsupported(UnsupportedKind::Memory)),
        Err(XzError::Mem) => Err(Error::codec(XzError::Mem.into())),
        Err(error) => Err(Error::corrupt(CorruptKind::FrameData(error.to_string()))),
    }
}

/// Lets the decoder see a block's header and nothing else: it takes its memory then, or refuses to.
fn try_header(check: u8, header: &[u8]) -> Result<(), XzError> {
    let mut decoder = Stream::new_stream_decoder(MEMORY_BYTES_MAX, 0)?;
    let stream_header = xz_layout::stream_header(check);
    decoder.process(&stream_header, &mut [], Action::Run)?;
    decoder.process(header, &mut [0; 1], Action::Run)?;
    Ok(())
}

/// Returns the whole header of the block that `head` begins with, where its checksum is right.
fn xz_header(head: &[u8]) -> Option<&[u8]> {
    // A size of 0 marks the index.
    let words = usize::from(*head.first()?);
    let header = head.get(..(words + 1) * 4).filter(|_| words > 0)?;
    let (fields, crc) = header.split_last_chunk::<XZ_CRC_BYTES>()?;
    (crc32fast::hash(fields) == u32::from_le_bytes(*crc)).then_some(header)
}

/// Returns the description of the filters in a header, with how many there are: section 3.1.5.
fn filters_of(header: &[u8]) -> Option<Vec<u8>> {
    let flags = *header.get(1)?;
    let fields = header.get(XZ_FIXED_BYTES..header.len().checked_sub(XZ_CRC_BYTES)?)?;
    let mut rest = fields;
    for size in [XZ_HAS_COMPRESSED, XZ_HAS_UNCOMPRESSED] {
        if flags & size != 0 {
            rest = xz_layout::parse_integer(rest)?.1;
        }
    }
    let count = flags & !(XZ_HAS_COMPRESSED | XZ_HAS_UNCOMPRESSED);
    let end = rest
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);
    Some([&[count], &rest[..end]].concat())
}

fn no_header(what: &str) -> Error {
    Error::corrupt(CorruptKind::FrameData(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::seek_table::SeekTableBuilder;
    use crate::xz_layout::{self, HEADER_BYTES, Record};
    use crate::{Error, load_index};
    use cardkeep_block::MemoryMedium;
    use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

    /// A stream of one block whose dictionary has this size.
    fn block(dictionary_bytes: u32) -> Vec<u8> {
        let mut options = LzmaOptions::new_preset(0).unwrap();
        options.dict_size(4096);
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let mut encoder = Stream::new_stream_encoder(&filters, Check::Crc64).unwrap();
        let mut stream = Vec::with_capacity(4096);
        let status = encoder.process_vec(&[7; 1000], &mut stream, Action::Finish);
        assert_eq!(status.unwrap(), Status::StreamEnd);
        // Section 5.3.1: 2^n or 2^n + 2^(n-1).
        let code = (dictionary_bytes.ilog2() - 12) * 2;
        let start = HEADER_BYTES as usize;
        assert_eq!(stream[start + 2..start + 4], [0x21, 1]);
        stream[start + 4] = code as u8;
        let crc = crc32fast::hash(&stream[start..start + 8]);
        stream[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
        stream
    }

    fn check(file: &[u8]) -> Result<(), Error> {
        let medium = MemoryMedium::from_bytes(file);
        let index = load_index(&medium).unwrap().unwrap();
        index.check_headers(&medium, &|| false)
    }

    #[test]
    fn a_later_block_of_xz_that_needs_too_much_memory_is_found_by_its_header() {
        let small = block(1 << 20);
        check(&small).unwrap();
        check(&[&small[..], &small].concat()).unwrap();
        let error = check(&[&small[..], &block(1 << 30)].concat()).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        let mut broken = small.clone();
        broken[HEADER_BYTES as usize + 4] ^= 1;
        let error = check(&[&small[..], &broken].concat()).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
    }

    #[test]
    fn a_block_with_sizes_in_its_header_is_taken_for_what_it_is() {
        let records = [Record {
            unpadded: 12 + 8,
            uncompressed: 5,
        }];
        let mut file = xz_layout::stream_header(4).to_vec();
        // A header that states a filter that there is not.
        let mut header = vec![2, 0xc0, 1, 5, 0x77, 0, 0, 0];
        header.extend(crc32fast::hash(&header).to_le_bytes());
        file.extend(header);
        file.extend([0; 8]);
        file.extend(xz_layout::index_and_footer(&records, 4));
        check(&file).unwrap_err();
    }

    #[test]
    fn a_later_frame_of_zstd_that_needs_a_dictionary_is_found_by_its_header() {
        let frame = zstd::bulk::compress(&[1; 1000], 1).unwrap();
        let dictionary = [b"a dictionary of bytes that are in the frame too".repeat(9)].concat();
        let mut compressor = zstd::bulk::Compressor::with_dictionary(1, &dictionary).unwrap();
        let mut with_dictionary = compressor.compress(&[2; 1000]).unwrap();
        // A raw dictionary has no id: give the frame one (RFC 8878, 3.1.1.1.1.6).
        with_dictionary[4] |= 1;
        with_dictionary.insert(5, 9);
        check(&table_and(&frame, &frame)).unwrap();
        let error = check(&table_and(&frame, &with_dictionary)).unwrap_err();
        assert!(error.to_string().contains("dictionary"), "{error}");
    }

    fn table_and(first: &[u8], second: &[u8]) -> Vec<u8> {
        let mut table = SeekTableBuilder::default();
        table.add(first.len(), 1000, 0).unwrap();
        table.add(second.len(), 1000, 0).unwrap();
        [first, second, &table.encode()].concat()
    }
}
