//! The parts of an .xz file around its compressed data, after the .xz file format 1.2.1
//! (tukaani.org/xz/xz-file-format.txt; the sections are named below).
//!
//! ```text
//!   stream:  header 12 | block | block | ... | index | footer 12 | padding 4*n
//!   block:   block header | compressed data | padding to 4 | check
//! ```

use cardkeep_block::{ReadAt, le_u32};

use crate::Error;
use crate::error::CorruptKind;
use crate::manifest::FRAMES_MAX;
use crate::zero_tail::zeros_start;

const HEADER_MAGIC: &[u8; 6] = b"\xfd7zXZ\0";
const FOOTER_MAGIC: &[u8; 2] = b"YZ";
pub(crate) const HEADER_BYTES: u64 = 12;
const FOOTER_BYTES: u64 = 12;
/// Section 2.1.1.2: 64 bits of CRC.
pub(crate) const CHECK_CRC64: u8 = 4;
pub(crate) const CHECK_CRC64_BYTES: usize = 8;
/// An index of an honest file with `FRAMES_MAX` blocks is smaller.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// Appends `value`, below 2^63, as a multibyte integer (section 1.2): 7 bits in each byte,
/// lowest first, the top bit telling that more follow.
pub(crate) fn push_integer(bytes: &mut Vec<u8>, value: u64) {
    let mut rest = value;
    while rest >= 0x80 {
        // The truncation keeps the low 7 bits, as meant.
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Returns the multibyte integer that `bytes` begins with, and what follows it.
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // A last byte of zero would be a second way to write the same number.
            let shortest = byte != 0 || index == 0;
            return shortest.then_some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// The header of a block that states both sizes and has one filter (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// How long it is itself.
    pub(crate) bytes: u64,
    /// How long the compressed data is, without padding and check.
    pub(crate) compressed: u64,
    /// How long the content is.
    pub(crate) uncompressed: u64,
}

impl BlockHeader {
    /// Section 3.1.1: a byte counts its words.
    pub(crate) const BYTES_MAX: u64 = 1024;
    /// Section 3.1.2: both sizes are there, and one filter.
    pub(crate) const FLAGS: u8 = 0xC0;

    /// Returns the header that `bytes` begins with; `None` where it is none, or another kind of one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        // A size of 0 marks the index.
        let words = usize::from(*bytes.first()?);
        let header = bytes.get(..(words + 1) * 4).filter(|_| words > 0)?;
        let (fields, crc) = header.split_last_chunk::<4>()?;
        if crc32fast::hash(fields) != u32::from_le_bytes(*crc) || fields[1] != Self::FLAGS {
            return None;
        }
        let (compressed, rest) = parse_integer(&fields[2..])?;
        let (uncompressed, _) = parse_integer(rest)?;
        Some(Self {
            bytes: header.len() as u64,
            compressed,
            uncompressed,
        })
    }
}

/// One block as the index has it (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Block header, compressed data and check, without the padding.
    pub(crate) unpadded: u64,
    /// The content's length.
    pub(crate) uncompressed: u64,
}

impl Record {
    /// Returns how many bytes of the file the block takes.
    pub(crate) fn file_len(self) -> Option<u64> {
        self.unpadded.checked_next_multiple_of(4)
    }
}

/// Returns the stream header of streams with this check (section 2.1.1).
pub(crate) fn stream_header(check: u8) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..6].copy_from_slice(HEADER_MAGIC);
    header[7] = check;
    let crc = crc32fast::hash(&header[6..8]);
    header[8..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Returns the index of the blocks and the stream footer (sections 4 and 2.1.2).
pub(crate) fn index_and_footer(records: &[Record], check: u8) -> Vec<u8> {
    let mut bytes = vec![0];
    push_integer(&mut bytes, records.len() as u64);
    for record in records {
        push_integer(&mut bytes, record.unpadded);
        push_integer(&mut bytes, record.uncompressed);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    // OK to cast: an index of 2^32 words would need more records than fit memory.
    let backward_size = (bytes.len() / 4 - 1) as u32;
    let mut fields = backward_size.to_le_bytes().to_vec();
    fields.extend([0, check]);
    bytes.extend(crc32fast::hash(&fields).to_le_bytes());
    bytes.extend(fields);
    bytes.extend(FOOTER_MAGIC);
    bytes
}

/// One stream of a file, without its padding.
#[derive(Debug)]
pub(crate) struct XzStream {
    /// Where it begins in the file.
    pub(crate) start: u64,
    /// Its check's id (section 2.1.1.2).
    pub(crate) check: u8,
    /// Its blocks in order.
    pub(crate) records: Vec<Record>,
}

/// Reads the indexes of all streams of a file, from its end; `None` where they are larger than
/// it is worth.
///
/// # Errors
/// [`Error::Corrupt`] with the place where a stream contradicts itself or the file.
pub(crate) fn load_streams(medium: &impl ReadAt) -> Result<Option<Vec<XzStream>>, Error> {
    let mut streams = Vec::new();
    let mut records_count = 0;
    let mut end = medium.len();
    while end > 0 {
        end = skip_padding(medium, end)?;
        let Some(stream) = load_stream(medium, end)? else {
            return Ok(None);
        };
        end = stream.start;
        // An empty stream counts as one too: there must be an end to them.
        records_count += stream.records.len() + 1;
        streams.push(stream);
        if records_count > FRAMES_MAX {
            return Ok(None);
        }
    }
    streams.reverse();
    Ok(Some(streams))
}

/// Returns where the stream padding (section 2.2) that ends at `end` begins.
fn skip_padding(medium: &impl ReadAt, end: u64) -> Result<u64, Error> {
    let rest = zeros_start(medium, end)?;
    if !(end - rest).is_multiple_of(4) {
        return Err(corrupt("its padding is no multiple of four").at(rest));
    }
    Ok(rest)
}

/// Reads the stream whose footer ends at `end`.
fn load_stream(medium: &impl ReadAt, end: u64) -> Result<Option<XzStream>, Error> {
    let cut = || corrupt("a stream ends without its footer").at(end);
    let index_end = end
        .checked_sub(FOOTER_BYTES)
        .filter(|&index_end| index_end > HEADER_BYTES)
        .ok_or_else(cut)?;
    let footer = medium.read_vec(index_end, FOOTER_BYTES as usize)?;
    if &footer[10..] != FOOTER_MAGIC || crc32fast::hash(&footer[4..10]) != le_u32(&footer, 0) {
        return Err(cut());
    }
    let check = stream_check(&footer[8..10]).ok_or_else(|| corrupt("unknown flags").at(end))?;
    let index_len = (u64::from(le_u32(&footer, 4)) + 1) * 4;
    if index_len > INDEX_BYTES_MAX {
        return Ok(None);
    }
    let outside = || corrupt("the index reaches past the stream").at(index_end);
    let index_start = index_end.checked_sub(index_len).ok_or_else(outside)?;
    // OK to cast: bounded by INDEX_BYTES_MAX.
    let index = medium.read_vec(index_start, index_len as usize)?;
    let records = parse_index(&index).map_err(|error| error.at(index_start))?;
    let start = records
        .iter()
        .try_fold(HEADER_BYTES, |sum, record| {
            sum.checked_add(record.file_len()?)
        })
        .and_then(|len| index_start.checked_sub(len))
        .ok_or_else(outside)?;
    let header = medium.read_vec(start, HEADER_BYTES as usize)?;
    if header != stream_header(check) {
        return Err(corrupt("the stream header is wrong").at(start));
    }
    Ok(Some(XzStream {
        start,
        check,
        records,
    }))
}

/// Returns the check's id from the stream flags; `None` where reserved bits are set.
fn stream_check(flags: &[u8]) -> Option<u8> {
    match flags {
        [0, check @ 0..=15] => Some(*check),
        _ => None,
    }
}

fn parse_index(index: &[u8]) -> Result<Vec<Record>, Error> {
    let wrong = || corrupt("the index is damaged");
    let (fields, crc) = index.split_last_chunk::<4>().ok_or_else(wrong)?;
    if crc32fast::hash(fields) != u32::from_le_bytes(*crc) || fields.first() != Some(&0) {
        return Err(wrong());
    }
    let (count, mut rest) = parse_integer(&fields[1..]).ok_or_else(wrong)?;
    // Each record takes two bytes at least.
    if count > rest.len() as u64 / 2 {
        return Err(wrong());
    }
    let mut records = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (unpadded, after) = parse_integer(rest).ok_or_else(wrong)?;
        let (uncompressed, after) = parse_integer(after).ok_or_else(wrong)?;
        if unpadded == 0 {
            return Err(wrong());
        }
        records.push(Record {
            unpadded,
            uncompressed,
        });
        rest = after;
    }
    if rest.len() > 3 || rest.iter().any(|&byte| byte != 0) {
        return Err(wrong());
    }
    Ok(records)
}

fn corrupt(what: &'static str) -> Error {
    Error::corrupt(CorruptKind::Xz(what))
}

#[cfg(test)]
mod tests {
    use super::{Record, index_and_footer, parse_index, parse_integer, push_integer};

    #[test]
    fn integers_survive_the_round_trip_in_their_shortest_form() {
        for (value, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (u64::MAX >> 1, 9)] {
            let mut bytes = Vec::new();
            push_integer(&mut bytes, value);
            assert_eq!(bytes.len(), len, "{value}");
            assert_eq!(parse_integer(&bytes), Some((value, &[][..])));
        }
        assert_eq!(parse_integer(&[0x80, 0]), None);
        assert_eq!(parse_integer(&[0xff; 12]), None);
        assert_eq!(parse_integer(&[0x80]), None);
    }

    #[test]
    fn an_index_with_a_wrong_count_is_damaged() {
        let record = Record {
            unpadded: 100,
            uncompressed: 5000,
        };
        let bytes = index_and_footer(&[record], 4);
        let index = &bytes[..bytes.len() - 12];
        assert_eq!(parse_index(index).unwrap(), [record]);
        for count in [0, 2, 0x7f] {
            let mut fields = index[..index.len() - 4].to_vec();
            fields[1] = count;
            fields.extend(crc32fast::hash(&fields).to_le_bytes());
            assert!(parse_index(&fields).is_err(), "{count}");
        }
        assert!(parse_index(&[]).is_err());
    }
}
