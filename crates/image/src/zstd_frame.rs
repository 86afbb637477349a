//! Steps from one zstd frame to the next without decoding, after RFC 8878, section 3.1.

use cardkeep_block::{BlockError, Extent, ReadAt, le_u32};

const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
/// Section 3.1.2: the low four bits are free.
const SKIPPABLE_MASK: u32 = 0xFFFF_FFF0;
/// Magic, descriptor, window, dictionary id, content size: section 3.1.1.1.
const HEADER_BYTES_MAX: u64 = 4 + 1 + 1 + 4 + 8;
const SKIPPABLE_HEADER_BYTES: u64 = 8;
const BLOCK_HEADER_BYTES: usize = 3;
const CHECKSUM_BYTES: usize = 4;

/// What lies at an offset of a zstd file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZstdFrame {
    /// A whole frame of content.
    Data {
        /// Where it lies.
        extent: Extent,
        /// What it says its content's length is.
        content_len: u64,
        /// The low half of the content's XXH64, where it has one.
        checksum: Option<u32>,
    },
    /// A whole skippable frame.
    Skippable {
        /// Where it lies.
        extent: Extent,
    },
}

/// Returns the frame at `offset`; `None` where none begins there, the file ends within it, or it
/// says nothing of its content's length or more than `content_bytes_max`.
///
/// # Errors
/// Where the medium can't be read.
pub(crate) fn frame_at(
    medium: &impl ReadAt,
    offset: u64,
    content_bytes_max: u64,
) -> Result<Option<ZstdFrame>, BlockError> {
    let rest = medium.len().saturating_sub(offset);
    // OK to cast: at most HEADER_BYTES_MAX.
    let head = medium.read_vec(offset, rest.min(HEADER_BYTES_MAX) as usize)?;
    match le_u32(&head, 0) {
        MAGIC => match FrameHeader::parse(&head) {
            // Told before its blocks are walked: there may be thousands.
            Some(header) if header.content_len <= content_bytes_max => {
                data_frame(medium, offset, &header)
            }
            _ => Ok(None),
        },
        magic if magic & SKIPPABLE_MASK == SKIPPABLE_MAGIC && head.len() >= 8 => {
            let len = SKIPPABLE_HEADER_BYTES + u64::from(le_u32(&head, 4));
            let extent = Extent::new(offset, len).filter(|extent| extent.end() <= medium.len());
            Ok(extent.map(|extent| ZstdFrame::Skippable { extent }))
        }
        _ => Ok(None),
    }
}

/// Tells whether the frame that `head` begins with names a dictionary (section 3.1.1.1.1.6); `None` where
/// no frame of content begins there.
pub(crate) fn has_dictionary(head: &[u8]) -> Option<bool> {
    let is_frame = head.len() > 4 && le_u32(head, 0) == MAGIC;
    is_frame.then(|| head[4] & 3 != 0)
}

#[derive(Debug)]
struct FrameHeader {
    len: u64,
    content_len: u64,
    has_checksum: bool,
}

impl FrameHeader {
    /// Parses the header that `head` begins with; `None` where it is cut, uses reserved bits, or
    /// does not state the content's length.
    fn parse(head: &[u8]) -> Option<Self> {
        let descriptor = *head.get(4)?;
        let single_segment = descriptor & 1 << 5 != 0;
        if descriptor & 1 << 3 != 0 {
            return None;
        }
        let window_bytes = usize::from(!single_segment);
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size_bytes = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        if size_bytes == 0 {
            return None;
        }
        let size_at = 5 + window_bytes + dictionary_bytes;
        let size = head.get(size_at..size_at + size_bytes)?;
        let mut wide = [0; 8];
        wide[..size_bytes].copy_from_slice(size);
        // Two bytes count from 256 on: one byte covers what lies below.
        let base = if size_bytes == 2 { 256 } else { 0 };
        Some(Self {
            len: (size_at + size_bytes) as u64,
            content_len: u64::from_le_bytes(wide).checked_add(base)?,
            has_checksum: descriptor & 1 << 2 != 0,
        })
    }
}

/// Returns the frame at `start` with this header; `None` where the file ends within it.
fn data_frame(
    medium: &impl ReadAt,
    start: u64,
    header: &FrameHeader,
) -> Result<Option<ZstdFrame>, BlockError> {
    let Some(blocks_end) = blocks_end(medium, start.saturating_add(header.len))? else {
        return Ok(None);
    };
    let checksum_bytes = if header.has_checksum {
        CHECKSUM_BYTES
    } else {
        0
    };
    let end = blocks_end.saturating_add(checksum_bytes as u64);
    if end > medium.len() {
        return Ok(None);
    }
    let checksum = medium.read_vec(blocks_end, checksum_bytes)?;
    Ok(Some(ZstdFrame::Data {
        extent: Extent::between(start, end),
        content_len: header.content_len,
        checksum: header.has_checksum.then(|| le_u32(&checksum, 0)),
    }))
}

/// Walks the blocks (section 3.1.1.2) from `start` on; returns where the last one ends, which
/// may be past the end of the file. `None` where a header is cut off or reserved.
fn blocks_end(medium: &impl ReadAt, start: u64) -> Result<Option<u64>, BlockError> {
    let mut position = start;
    loop {
        let content_at = position.saturating_add(BLOCK_HEADER_BYTES as u64);
        if content_at > medium.len() {
            return Ok(None);
        }
        let mut bytes = [0; 4];
        medium.read_at(position, &mut bytes[..BLOCK_HEADER_BYTES])?;
        let block = u32::from_le_bytes(bytes);
        let stored = match block >> 1 & 3 {
            0 | 2 => u64::from(block >> 3),
            // One byte, repeated.
            1 => 1,
            _ => return Ok(None),
        };
        position = content_at.saturating_add(stored);
        if block & 1 != 0 {
            return Ok(Some(position));
        }
    }
}
