//! Finds the frames of a zstd file from its beginning: for files without a seek table, and for
//! what is left of a backup that was cut off.

use cardkeep_block::{Extent, ReadAt};

use crate::manifest::FRAMES_MAX;
use crate::zstd_frame::{ZstdFrame, frame_at};
use crate::{Error, FrameEntry, FrameTable};

/// The whole frames that a zstd file begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameScan {
    /// The frames that hold content.
    pub table: FrameTable,
    /// Where in the file the last frame of content ends: a resumed backup goes on from here.
    pub content_end: u64,
    /// Where in the file the last whole frame ends, a skippable one too; the file's length where
    /// nothing is amiss.
    pub end: u64,
}

/// Returns the whole frames that the file on `medium` begins with, up to the first one that is
/// cut off, unknown, or does not state its content's length. Nothing is decoded: a frame may
/// still be damaged inside.
///
/// # Errors
/// [`Error::Io`] where the medium can't be read.
pub fn scan_frames(medium: &impl ReadAt) -> Result<FrameScan, Error> {
    scan_frames_within(medium, u64::MAX)
}

/// Does the work of [`scan_frames`] up to the first frame that says it holds more than
/// `content_bytes_max`.
pub(crate) fn scan_frames_within(
    medium: &impl ReadAt,
    content_bytes_max: u64,
) -> Result<FrameScan, Error> {
    let mut entries: Vec<FrameEntry> = Vec::new();
    let (mut end, mut content_end, mut content_len) = (0, 0, 0);
    while end < medium.len() && entries.len() < FRAMES_MAX {
        match frame_at(medium, end, content_bytes_max)? {
            Some(ZstdFrame::Data {
                extent,
                content_len: len,
                checksum,
            }) => {
                let Some(content) = Extent::new(content_len, len) else {
                    break;
                };
                if !content.is_empty() {
                    entries.push(FrameEntry {
                        compressed: extent,
                        content,
                        checksum,
                    });
                }
                content_len = content.end();
                content_end = extent.end();
                end = extent.end();
            }
            Some(ZstdFrame::Skippable { extent }) => end = extent.end(),
            None => break,
        }
    }
    Ok(FrameScan {
        table: FrameTable::new(entries),
        content_end,
        end,
    })
}

#[cfg(test)]
mod tests {
    use super::scan_frames;
    use cardkeep_block::MemoryMedium;

    fn frame(len: usize) -> Vec<u8> {
        let content: Vec<u8> = (0..len).map(|i| (i * i / 7) as u8).collect();
        zstd::bulk::compress(&content, 1).unwrap()
    }

    #[test]
    fn frames_of_all_header_shapes_are_stepped_over() {
        let lens = [1, 200, 255, 256, 257, 65_791, 65_792, 300_000, 1_000_000];
        let file: Vec<u8> = lens.iter().flat_map(|&len| frame(len)).collect();
        let scan = scan_frames(&MemoryMedium::from_bytes(&file)).unwrap();
        let found: Vec<u64> = scan
            .table
            .entries()
            .iter()
            .map(|e| e.content.len())
            .collect();
        assert_eq!(found, lens.map(|len| len as u64));
        assert_eq!(
            (scan.end, scan.content_end),
            (file.len() as u64, file.len() as u64)
        );
    }

    #[test]
    fn a_scan_ends_before_the_frame_that_is_cut_off() {
        let (first, second) = (frame(5000), frame(200_000));
        let file = [first.clone(), second].concat();
        for cut in first.len()..file.len() {
            let scan = scan_frames(&MemoryMedium::from_bytes(&file[..cut])).unwrap();
            assert_eq!(scan.table.entries().len(), 1, "{cut}");
            assert_eq!(scan.end, first.len() as u64);
        }
    }

    #[test]
    fn skippable_frames_are_no_content() {
        let mut file = frame(10);
        let content_end = file.len() as u64;
        file.extend([0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        let scan = scan_frames(&MemoryMedium::from_bytes(&file)).unwrap();
        assert_eq!(
            (scan.content_end, scan.end),
            (content_end, file.len() as u64)
        );
        file.extend([0x51, 0x2a, 0x4d, 0x18, 255, 255, 255, 255]);
        let cut = scan_frames(&MemoryMedium::from_bytes(&file)).unwrap();
        assert_eq!(cut, scan);
    }

    #[test]
    fn a_frame_without_a_stated_length_ends_the_scan() {
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        compressor.include_contentsize(false).unwrap();
        let file = compressor.compress(&[7; 5000]).unwrap();
        let scan = scan_frames(&MemoryMedium::from_bytes(&file)).unwrap();
        assert_eq!(scan, super::FrameScan::default());
    }
}
