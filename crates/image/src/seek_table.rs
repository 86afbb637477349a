//! The seek table of the zstd seekable format 0.1.0 (facebook/zstd,
//! contrib/seekable_format/zstd_seekable_compression_format.md), the last frame of an image.
//!
//! ```text
//!   0  4  Skippable_Magic_Number 0x184D2A5E
//!   4  4  Frame_Size
//!   8  n  entries: Compressed_Size u32, Decompressed_Size u32, Checksum u32 where flagged
//!      4  Number_Of_Frames          \
//!      1  Seek_Table_Descriptor      > footer, last so that it is found from the end
//!      4  Seekable_Magic_Number     /
//! ```
//!
//! Every frame before the table has an entry, skippable ones too: theirs has Decompressed_Size 0.

use cardkeep_block::{Extent, ReadAt, le_u32};

use crate::error::{CorruptKind, UnsupportedKind};
use crate::frame_table::content_checksum;
use crate::manifest::FRAMES_MAX;
use crate::{Error, FrameEntry, FrameTable};

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const HEADER_BYTES: u64 = 8;
const FOOTER_BYTES: u64 = 9;
const CHECKSUM_FLAG: u8 = 1 << 7;
const RESERVED_BITS: u8 = 0b0111_1100;
/// Read at first, from the end: holds the table of an image of 20 GB.
const TAIL_BYTES: u64 = 64 * 1024;

/// One entry of the table as it is written.
#[derive(Clone, Copy, Debug)]
struct Entry {
    compressed_bytes: u32,
    decompressed_bytes: u32,
    checksum: u32,
}

/// Collects entries and makes the table of them.
#[derive(Debug, Default)]
pub(crate) struct SeekTableBuilder {
    entries: Vec<Entry>,
}

impl SeekTableBuilder {
    /// Adds a frame of content.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a size does not fit or a reader would refuse the count.
    pub(crate) fn add(
        &mut self,
        compressed_len: usize,
        content_len: usize,
        checksum: u32,
    ) -> Result<(), Error> {
        let fits = |len: usize| {
            u32::try_from(len)
                .map_err(|_| Error::unsupported(UnsupportedKind::FrameBytes(len as u64)))
        };
        // One place stays free for the manifest's frame.
        if self.entries.len() > FRAMES_MAX {
            let count = self.entries.len() as u64 + 1;
            return Err(Error::unsupported(UnsupportedKind::FrameCount(count)));
        }
        self.entries.push(Entry {
            compressed_bytes: fits(compressed_len)?,
            decompressed_bytes: fits(content_len)?,
            checksum,
        });
        Ok(())
    }

    /// Adds a skippable frame.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn add_skippable(&mut self, frame_len: usize) -> Result<(), Error> {
        self.add(frame_len, 0, content_checksum(&[]))
    }

    /// Returns the table as a skippable frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // OK to cast: at most FRAMES_MAX + 1 entries of 12 bytes.
        let count = self.entries.len() as u32;
        let frame_bytes = count * 12 + FOOTER_BYTES as u32;
        let mut table = Vec::with_capacity(frame_bytes as usize + HEADER_BYTES as usize);
        table.extend(SKIPPABLE_MAGIC.to_le_bytes());
        table.extend(frame_bytes.to_le_bytes());
        for entry in &self.entries {
            table.extend(entry.compressed_bytes.to_le_bytes());
            table.extend(entry.decompressed_bytes.to_le_bytes());
            table.extend(entry.checksum.to_le_bytes());
        }
        table.extend(count.to_le_bytes());
        table.push(CHECKSUM_FLAG);
        table.extend(SEEKABLE_MAGIC.to_le_bytes());
        table
    }
}

/// A seek table as it was found at the end of a file.
#[derive(Debug)]
pub(crate) struct SeekTable {
    pub(crate) frames: FrameTable,
    /// Where the skippable frame right before the table lies, if there is one.
    pub(crate) last_skippable: Option<Extent>,
}

impl SeekTable {
    /// Reads and validates the table at the end of `medium`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the table's offset where it contradicts itself or the file.
    pub(crate) fn load(medium: &impl ReadAt) -> Result<Option<Self>, Error> {
        let len = medium.len();
        let Some(tail_start) = len.checked_sub(HEADER_BYTES + FOOTER_BYTES) else {
            return Ok(None);
        };
        let tail_start = tail_start.min(len.saturating_sub(TAIL_BYTES));
        // OK to cast: at most TAIL_BYTES.
        let mut tail = medium.read_vec(tail_start, (len - tail_start) as usize)?;
        let footer_at = tail.len() - FOOTER_BYTES as usize;
        let footer = Footer::parse(&tail[footer_at..]);
        let Some(footer) = footer else {
            return Ok(None);
        };
        let start = footer.table_start(len)?;
        if start < tail_start {
            // OK to cast: table_start bounds the table's length.
            tail = medium.read_vec(start, (len - start) as usize)?;
        } else {
            tail.drain(..(start - tail_start) as usize);
        }
        Self::parse(&tail, &footer, start)
            .map(Some)
            .map_err(|error| error.at(start))
    }

    /// Validates the table's bytes, which `footer` ends and which begin at `start` of the file.
    fn parse(table: &[u8], footer: &Footer, start: u64) -> Result<Self, Error> {
        let payload = table.len() as u64 - HEADER_BYTES;
        if le_u32(table, 0) != SKIPPABLE_MAGIC || u64::from(le_u32(table, 4)) != payload {
            return Err(corrupt("its header is wrong"));
        }
        let records = &table[HEADER_BYTES as usize..table.len() - FOOTER_BYTES as usize];
        let mut entries = Vec::with_capacity(footer.count as usize);
        let mut last_skippable = None;
        let (mut file_offset, mut content_offset) = (0, 0);
        for record in records.chunks_exact(footer.entry_bytes as usize) {
            let compressed = Extent::new(file_offset, u64::from(le_u32(record, 0)))
                .filter(|extent| !extent.is_empty() && extent.end() <= start)
                .ok_or_else(|| corrupt("its frames reach past the end of the file"))?;
            let content = Extent::new(content_offset, u64::from(le_u32(record, 4)))
                .ok_or_else(|| corrupt("its frames hold more than there can be"))?;
            last_skippable = content.is_empty().then_some(compressed);
            if !content.is_empty() {
                entries.push(FrameEntry {
                    compressed,
                    content,
                    checksum: footer.has_checksums().then(|| le_u32(record, 8)),
                });
            }
            (file_offset, content_offset) = (compressed.end(), content.end());
        }
        if file_offset != start {
            return Err(corrupt("its frames don't add up to the file's length"));
        }
        Ok(Self {
            frames: FrameTable::new(entries),
            last_skippable,
        })
    }
}

#[derive(Debug)]
struct Footer {
    count: u32,
    descriptor: u8,
    entry_bytes: u64,
}

impl Footer {
    fn parse(footer: &[u8]) -> Option<Self> {
        let descriptor = *footer.get(4)?;
        if le_u32(footer, 5) != SEEKABLE_MAGIC {
            return None;
        }
        Some(Self {
            count: le_u32(footer, 0),
            descriptor,
            entry_bytes: if descriptor & CHECKSUM_FLAG != 0 {
                12
            } else {
                8
            },
        })
    }

    const fn has_checksums(&self) -> bool {
        self.descriptor & CHECKSUM_FLAG != 0
    }

    /// Returns where in a file of `len` bytes the table begins.
    fn table_start(&self, len: u64) -> Result<u64, Error> {
        let at = len - FOOTER_BYTES;
        if self.descriptor & RESERVED_BITS != 0 {
            return Err(corrupt("its descriptor has reserved bits set").at(at));
        }
        let table_len = u64::from(self.count) * self.entry_bytes + HEADER_BYTES + FOOTER_BYTES;
        let start = len
            .checked_sub(table_len)
            .ok_or_else(|| corrupt("it is longer than the file").at(at))?;
        if self.count as usize > FRAMES_MAX + 1 {
            let count = u64::from(self.count);
            return Err(Error::unsupported(UnsupportedKind::FrameCount(count)));
        }
        Ok(start)
    }
}

fn corrupt(what: &'static str) -> Error {
    Error::corrupt(CorruptKind::SeekTable(what))
}

#[cfg(test)]
mod tests {
    use super::{SeekTable, SeekTableBuilder};
    use crate::Error;
    use cardkeep_block::{Extent, MemoryMedium};

    /// A file of two frames of 100 and 50 bytes and a skippable one of 20, and their table.
    fn file() -> Vec<u8> {
        let mut table = SeekTableBuilder::default();
        table.add(100, 4096, 0x1111).unwrap();
        table.add(50, 1000, 0x2222).unwrap();
        table.add_skippable(20).unwrap();
        let mut file = vec![0xaa; 170];
        file.extend(table.encode());
        file
    }

    fn load(file: &[u8]) -> Result<Option<SeekTable>, Error> {
        SeekTable::load(&MemoryMedium::from_bytes(file))
    }

    /// Checks that the file with `bytes` at `at` is damaged at `offset`.
    fn check_damaged(at: usize, bytes: &[u8], offset: u64) {
        let mut file = file();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        match load(&file) {
            Err(Error::Corrupt(corrupt)) => assert_eq!(corrupt.offset(), Some(offset), "{at}"),
            other => panic!("{at}: {other:?}"),
        }
    }

    #[test]
    fn a_table_survives_the_round_trip() {
        let table = load(&file()).unwrap().unwrap();
        let [first, second] = table.frames.entries() else {
            panic!("{table:?}");
        };
        assert_eq!(first.compressed, Extent::between(0, 100));
        assert_eq!(first.content, Extent::between(0, 4096));
        assert_eq!(first.checksum, Some(0x1111));
        assert_eq!(second.compressed, Extent::between(100, 150));
        assert_eq!(second.content, Extent::between(4096, 5096));
        assert_eq!(table.last_skippable, Some(Extent::between(150, 170)));
        assert_eq!(table.frames.index_at(4095), Some(0));
        assert_eq!(table.frames.index_at(4096), Some(1));
        assert_eq!(table.frames.index_at(5096), None);
    }

    #[test]
    fn tables_that_contradict_the_file_are_damaged() {
        // Entries begin at 178, the footer at 214.
        check_damaged(170, &[0], 170);
        check_damaged(174, &[46], 170);
        check_damaged(178, &[101], 170);
        check_damaged(178, &[99], 170);
        check_damaged(178, &[0, 0, 0, 0], 170);
        check_damaged(178, &[255, 255, 255, 255], 170);
        check_damaged(214, &[2], 182);
        check_damaged(214, &[255, 255, 255, 0], 214);
        check_damaged(218, &[0x84], 214);
    }

    #[test]
    fn a_file_without_the_magic_number_has_no_table() {
        let mut file = file();
        file.pop();
        assert!(load(&file).unwrap().is_none());
        assert!(load(&[]).unwrap().is_none());
    }

    #[test]
    fn a_table_longer_than_the_first_read_is_found() {
        let mut table = SeekTableBuilder::default();
        for index in 0..20_000 {
            table.add(1, 10, index).unwrap();
        }
        let mut file = vec![0; 20_000];
        file.extend(table.encode());
        let table = load(&file).unwrap().unwrap();
        assert_eq!(table.frames.content_len(), 200_000);
        assert_eq!(table.frames.entries()[19_999].checksum, Some(19_999));
        assert_eq!(table.last_skippable, None);
    }
}
