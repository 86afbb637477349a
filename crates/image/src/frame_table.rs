//! Where each frame of an image lies, in the file and in the content.

use cardkeep_block::Extent;
use twox_hash::XxHash64;

use crate::Error;
use crate::error::CorruptKind;

/// A frame of an image that holds content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameEntry {
    /// Where the compressed frame lies in the image file. A hostile one may be as long as the
    /// file: bound it before taking memory for it.
    pub compressed: Extent,
    /// Which bytes of the medium it holds; never empty.
    pub content: Extent,
    /// The low 32 bits of the XXH64 of its content, where the table has checksums.
    pub checksum: Option<u32>,
}

impl FrameEntry {
    /// Compares a decoded frame with the table's checksum.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the frame's offset where they differ.
    pub fn check(&self, content: &[u8]) -> Result<(), Error> {
        match self.checksum {
            Some(checksum) if checksum != content_checksum(content) => {
                Err(Error::corrupt(CorruptKind::FrameChecksum).at(self.compressed.start()))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the low 32 bits of the XXH64 of `content` with seed 0, as zstd's `Content_Checksum`
/// (RFC 8878, 3.1.1) and the seek table have it.
pub(crate) fn content_checksum(content: &[u8]) -> u32 {
    // The truncation is the definition.
    XxHash64::oneshot(0, content) as u32
}

/// The frames of an image that hold content, in address order; they tile the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameTable {
    entries: Vec<FrameEntry>,
}

impl FrameTable {
    /// Returns the table of `entries`, which must tile the content.
    pub(crate) fn new(entries: Vec<FrameEntry>) -> Self {
        Self { entries }
    }

    /// Returns the frames in address order.
    #[must_use]
    pub fn entries(&self) -> &[FrameEntry] {
        &self.entries
    }

    /// Returns the length of the content in bytes.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.content.end())
    }

    /// Returns the 0-based index of the frame that holds the content's byte at `offset`, or
    /// `None` past the end.
    #[must_use]
    pub fn index_at(&self, offset: u64) -> Option<usize> {
        let index = self
            .entries
            .partition_point(|entry| entry.content.end() <= offset);
        (index < self.entries.len()).then_some(index)
    }
}
