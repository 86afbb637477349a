//! Finds what is left of an image that was cut off: the whole pieces that it begins with.

use cardkeep_block::{Extent, ReadAt};

use crate::error::Error;
use crate::format::Format;
use crate::frame_encoder::PieceInfo;
use crate::frame_scan::scan_frames;
use crate::frame_table::FrameEntry;
use crate::index::FRAME_FILE_BYTES_MAX;
use crate::xz_layout::{self, BlockHeader, CHECK_CRC64, CHECK_CRC64_BYTES, HEADER_BYTES};

/// A piece of an image, with all that its container must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedPiece {
    /// Where it lies, and which bytes of the medium it holds.
    pub entry: FrameEntry,
    pub(crate) info: PieceInfo,
}

/// Returns the whole pieces that the image on `medium` begins with, up to the first one that is cut off,
/// unknown, or carries no checksum of its content; at most `count_max`. Nothing is decoded: a piece may
/// still be damaged inside. Formats whose pieces have no checksums have none.
///
/// # Errors
/// [`Error::Io`] where the medium can't be read.
pub fn scan_pieces(
    medium: &impl ReadAt,
    format: Format,
    count_max: usize,
) -> Result<Vec<ScannedPiece>, Error> {
    match format {
        Format::Zstd => {
            let scan = scan_frames(medium)?;
            let entries = scan.table.entries().iter();
            Ok(entries.map_while(of_frame).take(count_max).collect())
        }
        Format::Xz => scan_blocks(medium, count_max),
        _ => Ok(Vec::new()),
    }
}

fn of_frame(entry: &FrameEntry) -> Option<ScannedPiece> {
    let len = usize::try_from(entry.content.len()).ok()?;
    Some(ScannedPiece {
        entry: *entry,
        info: PieceInfo::new(len, entry.checksum?),
    })
}

/// Steps from block to block of an xz stream by the sizes in their headers.
fn scan_blocks(medium: &impl ReadAt, count_max: usize) -> Result<Vec<ScannedPiece>, Error> {
    let mut pieces: Vec<ScannedPiece> = Vec::new();
    let head = read_up_to(medium, 0, HEADER_BYTES)?;
    if head != xz_layout::stream_header(CHECK_CRC64) {
        return Ok(pieces);
    }
    let mut offset = HEADER_BYTES;
    while pieces.len() < count_max {
        let content_start = pieces.last().map_or(0, |piece| piece.entry.content.end());
        let Some(piece) = block_at(medium, offset, content_start)? else {
            break;
        };
        offset = piece.entry.compressed.end();
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Returns the block at `offset`, whose content begins at `content_start`; `None` where no whole one does.
fn block_at(
    medium: &impl ReadAt,
    offset: u64,
    content_start: u64,
) -> Result<Option<ScannedPiece>, Error> {
    let head = read_up_to(medium, offset, BlockHeader::BYTES_MAX)?;
    let Some(header) = BlockHeader::parse(&head) else {
        return Ok(None);
    };
    let place = || {
        let unpadded = header.bytes.checked_add(header.compressed)?;
        let unpadded = unpadded.checked_add(CHECK_CRC64_BYTES as u64)?;
        let len = unpadded.checked_next_multiple_of(4)?;
        let compressed = Extent::new(offset, len)?;
        let content = Extent::new(content_start, header.uncompressed)?;
        Some((unpadded, compressed, content))
    };
    let Some((unpadded, compressed, content)) = place() else {
        return Ok(None);
    };
    let is_whole = compressed.end() <= medium.len() && !content.is_empty();
    let is_small = compressed.len().max(content.len()) <= FRAME_FILE_BYTES_MAX;
    if !is_whole || !is_small {
        return Ok(None);
    }
    Ok(Some(ScannedPiece {
        entry: FrameEntry {
            compressed,
            content,
            checksum: None,
        },
        // OK to cast: at most FRAME_FILE_BYTES_MAX.
        info: PieceInfo::with_unpadded(content.len() as usize, unpadded),
    }))
}

fn read_up_to(medium: &impl ReadAt, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    let rest = medium.len().saturating_sub(offset);
    // OK to cast: a header's length at most.
    Ok(medium.read_vec(offset, rest.min(len) as usize)?)
}

#[cfg(test)]
mod tests {
    use super::scan_pieces;
    use crate::{Container, EncodeOptions, Format, FrameDecoder, Manifest};
    use cardkeep_block::{AllocationMap, MemoryMedium, State};

    const FRAMES: [&[u8]; 3] = [b"one", &[0; 70_000], b"three"];

    fn container(format: Format) -> Container {
        Container::new(format, &EncodeOptions::default()).unwrap()
    }

    /// Returns an image, and where its pieces end.
    fn image(format: Format) -> (Vec<u8>, Vec<usize>) {
        let mut container = container(format);
        let mut encoder = container.encoder().unwrap();
        let mut bytes = container.prologue();
        let mut ends = Vec::new();
        let mut piece = Vec::new();
        for frame in FRAMES {
            let info = encoder.encode(frame, &mut piece).unwrap();
            container.add(&piece, &info).unwrap();
            bytes.extend(&piece);
            ends.push(bytes.len());
        }
        bytes.extend(container.epilogue(&manifest()).unwrap());
        (bytes, ends)
    }

    fn manifest() -> Manifest {
        Manifest::new(
            "test".to_owned(),
            AllocationMap::all(0, State::Used),
            Vec::new(),
        )
    }

    #[test]
    fn a_cut_image_has_the_pieces_before_the_cut_and_ends_as_if_it_had_not_been() {
        for format in [Format::Zstd, Format::Xz] {
            let (bytes, ends) = image(format);
            for cut in (0..bytes.len()).step_by(3).chain(ends.clone()) {
                let medium = MemoryMedium::from_bytes(&bytes[..cut]);
                let pieces = scan_pieces(&medium, format, 9).unwrap();
                let whole = ends.iter().filter(|&&end| end <= cut).count();
                assert_eq!(pieces.len(), whole, "{format:?} cut at {cut}");
                assert_eq!(scan_pieces(&medium, format, 1).unwrap().len(), whole.min(1));
            }
            let medium = MemoryMedium::from_bytes(&bytes[..ends[2]]);
            let mut again = container(format);
            let mut decoder = FrameDecoder::of_pieces(format).unwrap();
            for (piece, frame) in scan_pieces(&medium, format, 9).unwrap().iter().zip(FRAMES) {
                again.adopt(piece).unwrap();
                let place = piece.entry.compressed;
                let mut content = vec![1; piece.entry.content.len() as usize];
                let compressed = &bytes[place.start() as usize..place.end() as usize];
                decoder.decode(compressed, &mut content).unwrap();
                assert_eq!(content, frame);
            }
            assert_eq!(again.epilogue(&manifest()).unwrap(), &bytes[ends[2]..]);
        }
    }

    #[test]
    fn formats_without_checksums_of_pieces_have_none() {
        let (bytes, _) = image(Format::Gzip);
        let medium = MemoryMedium::from_bytes(&bytes);
        assert_eq!(scan_pieces(&medium, Format::Gzip, 9).unwrap(), []);
    }
}
