//! The image in a zip archive, found by the directory at the archive's end.

use std::io::{self, BufRead, Read};
use std::mem;

use cardkeep_block::{Extent, ReadAt, le_u16, le_u32, le_u64};

use crate::archive_choice::{Candidates, likeness, printable};
use crate::checked::Checked;
use crate::decoder::MEMORY_BYTES_MAX;
use crate::error::{ArchiveKind, CorruptKind, UnsupportedKind};
use crate::input::Input;
use crate::layers::{LayerOptions, Layers};
use crate::zero_tail::zeros_start;
use crate::zip_layout::{
    CENTRAL_HEADER, CENTRAL_HEADER_BYTES, DIRECTORY_SIGNATURE, END, END_BYTES, LOCAL_HEADER,
    LOCAL_HEADER_BYTES, Tail, ZIP64_END, ZIP64_END_BYTES, ZIP64_LOCATOR, ZIP64_LOCATOR_BYTES,
    ZipEntry,
};
use crate::zip_member::MemberReader;
use crate::{Error, Format, StreamNotes};

/// Some 500,000 members: no archive of an image has that many.
const DIRECTORY_BYTES_MAX: u64 = 32 << 20;
/// Its length is a field of 16 bits.
const COMMENT_BYTES_MAX: u64 = 0xffff;

/// The image in a zip archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZipMember {
    /// Its name in the archive, cut short, without control characters.
    pub name: String,
    /// Where its compressed data lies in the archive.
    pub compressed: Extent,
    /// What the archive says the image's length in bytes is; enforced when it is read. `None` where
    /// it may be the lower half only of a length of 4 GiB or more.
    pub content_len: Option<u64>,
    entry: ZipEntry,
}

impl ZipMember {
    /// Returns the image that `reader` gives the compressed data of: the bytes of the archive from
    /// the start of [`ZipMember::compressed`] on. Takes at most 128 MiB of memory. Reading it fails
    /// as reading a [`crate::stream_within`] does; the image's CRC and length are enforced. What is
    /// a container again is unpacked, too, and `notes` is told.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the image is encrypted or compressed by an unknown method;
    /// [`Error::Io`] where memory is short.
    pub fn stream(
        &self,
        reader: impl Read + Send + 'static,
        notes: &StreamNotes,
    ) -> Result<Box<dyn Read + Send>, Error> {
        let input = Input::new(reader, self.compressed.start());
        let seen = input.seen();
        let member = MemberReader::listed(self.entry.clone(), input, MEMORY_BYTES_MAX)?;
        let content = Content::Open(Box::new(member));
        let options = LayerOptions {
            memory_bytes_max: MEMORY_BYTES_MAX,
            notes: notes.clone(),
        };
        let container = Box::new(Checked::new(Box::new(content), seen));
        Ok(Box::new(Layers::of(Format::Zip, container, &options)))
    }
}

/// The content of the image, from its first byte to the comparison with its checksum.
enum Content<R: BufRead> {
    Open(Box<MemberReader<R>>),
    End,
}

impl<R: BufRead> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match mem::replace(self, Self::End) {
            Self::Open(mut image) => {
                let len = image.read(buffer)?;
                if len == 0 {
                    image.finish()?;
                } else {
                    *self = Self::Open(image);
                }
                Ok(len)
            }
            Self::End => Ok(0),
        }
    }
}

/// Finds the image in the zip archive on `medium`: the only member that is named like an image, or
/// else the only one of a MiB or more that is not known by its name to be something else.
///
/// `None` where the archive has to be read from its beginning by [`crate::stream`]: macOS makes
/// archives of more than 4 GiB whose directory has the lower half of each offset only.
///
/// # Errors
/// [`Error::Unsupported`] where there is no image, or more than one, with their names, where the
/// archive is split, or its directory larger than any honest one; [`Error::Corrupt`] where the
/// archive is cut off, contradicts itself, or something follows it; [`Error::Io`] where the medium
/// fails.
pub fn load_zip_member(medium: &impl ReadAt) -> Result<Option<ZipMember>, Error> {
    let end = load_end(medium)?;
    if end.directory_end.checked_sub(end.directory_len) != Some(end.directory_start) {
        if medium.len() > u64::from(u32::MAX) && !end.has_zip64 {
            return Ok(None);
        }
        return Err(corrupt("its directory lies elsewhere than it says").at(end.directory_end));
    }
    if end.directory_len > DIRECTORY_BYTES_MAX {
        let kind = ArchiveKind::DirectoryBytes(end.directory_len);
        return Err(Error::unsupported(UnsupportedKind::Zip(kind)));
    }
    // OK to cast: bounded by DIRECTORY_BYTES_MAX.
    let directory = medium.read_vec(end.directory_start, end.directory_len as usize)?;
    let entry =
        choose(&directory, end.entries_count).map_err(|error| error.at(end.directory_start))?;
    let compressed = locate(medium, &entry, end.directory_start)?;
    Ok(Some(ZipMember {
        name: printable(&entry.name),
        compressed,
        content_len: entry.sure_content_len(),
        entry,
    }))
}

/// What the records at the end of an archive say of its directory.
struct End {
    directory_start: u64,
    directory_len: u64,
    entries_count: u64,
    /// Where the records themselves begin, and the directory should end.
    directory_end: u64,
    has_zip64: bool,
}

/// Reads the end record (APPNOTE 4.3.16), which a comment of any length may follow, and zeros.
fn load_end(medium: &impl ReadAt) -> Result<End, Error> {
    let zeros_start = zeros_start(medium, medium.len())?;
    // The record itself may end with zeros.
    let tail_end = medium
        .len()
        .min(zeros_start.saturating_add(END_BYTES as u64));
    let tail_start = zeros_start.saturating_sub(END_BYTES as u64 + COMMENT_BYTES_MAX);
    // OK to cast: some 64 KiB.
    let tail = medium.read_vec(tail_start, (tail_end - tail_start) as usize)?;
    let ends_here = |at: &usize| {
        let comment_at = tail_start + (at + END_BYTES) as u64;
        let end = comment_at + u64::from(le_u16(&tail, at + 20));
        le_u32(&tail, *at) == END && zeros_start <= end && end <= medium.len()
    };
    let at = (0..(tail.len() + 1).saturating_sub(END_BYTES))
        .rev()
        .find(ends_here)
        .ok_or_else(|| corrupt("it is cut off, or something follows it").at(medium.len()))?;
    let end = &tail[at..];
    let is_split = le_u16(end, 4) != le_u16(end, 6) || le_u16(end, 8) != le_u16(end, 10);
    let plain = End {
        directory_start: le_u32(end, 16).into(),
        directory_len: le_u32(end, 12).into(),
        entries_count: le_u16(end, 10).into(),
        directory_end: tail_start + at as u64,
        has_zip64: false,
    };
    let end = load_zip64_end(medium, plain.directory_end)?.unwrap_or(plain);
    if is_split && !end.has_zip64 {
        return Err(Error::unsupported(UnsupportedKind::Zip(ArchiveKind::Split)));
    }
    Ok(end)
}

/// Reads the Zip64 end record (APPNOTE 4.3.14) whose locator ends at `end`; `None` where there is
/// none.
fn load_zip64_end(medium: &impl ReadAt, end: u64) -> Result<Option<End>, Error> {
    let Some(locator_at) = end.checked_sub(ZIP64_LOCATOR_BYTES as u64) else {
        return Ok(None);
    };
    let locator = medium.read_vec(locator_at, ZIP64_LOCATOR_BYTES)?;
    if le_u32(&locator, 0) != ZIP64_LOCATOR {
        return Ok(None);
    }
    let wrong = || corrupt("its Zip64 end record is damaged").at(locator_at);
    let record_at = le_u64(&locator, 8);
    let fits = record_at
        .checked_add(ZIP64_END_BYTES as u64)
        .is_some_and(|record_end| record_end <= locator_at);
    if !fits {
        return Err(wrong());
    }
    let record = medium.read_vec(record_at, ZIP64_END_BYTES)?;
    if le_u32(&record, 0) != ZIP64_END {
        return Err(wrong());
    }
    Ok(Some(End {
        directory_start: le_u64(&record, 48),
        directory_len: le_u64(&record, 40),
        entries_count: le_u64(&record, 32),
        directory_end: record_at,
        has_zip64: true,
    }))
}

/// Returns the directory's entry that is the image.
fn choose(directory: &[u8], entries_count: u64) -> Result<ZipEntry, Error> {
    let wrong = || corrupt("its directory is damaged");
    let mut candidates = Candidates::default();
    let (mut chosen, mut count, mut rest) = (None, 0_u64, directory);
    while le_u32(rest, 0) == CENTRAL_HEADER {
        let (header, after) = rest
            .split_at_checked(CENTRAL_HEADER_BYTES)
            .ok_or_else(wrong)?;
        let (tail, next) = after
            .split_at_checked(Tail::of_central(header).len())
            .ok_or_else(wrong)?;
        let entry = ZipEntry::of_central(header, tail);
        if candidates.add(&entry.name, likeness(&entry.name, entry.sure_content_len())) {
            chosen = Some(entry);
        }
        (rest, count) = (next, count + 1);
    }
    let is_signed = le_u32(rest, 0) == DIRECTORY_SIGNATURE;
    if !(rest.is_empty() || is_signed) || count != entries_count {
        return Err(wrong());
    }
    candidates.check()?;
    chosen.ok_or_else(wrong)
}

/// Returns where the compressed data of `entry` lies: its local header has lengths of its own.
fn locate(medium: &impl ReadAt, entry: &ZipEntry, data_end: u64) -> Result<Extent, Error> {
    let wrong = || corrupt("a member's header differs from the directory").at(entry.header_offset);
    let fits = entry
        .header_offset
        .checked_add(LOCAL_HEADER_BYTES as u64)
        .is_some_and(|end| end <= data_end);
    if !fits {
        return Err(wrong());
    }
    let header = medium.read_vec(entry.header_offset, LOCAL_HEADER_BYTES)?;
    if le_u32(&header, 0) != LOCAL_HEADER {
        return Err(wrong());
    }
    let tail_at = entry.header_offset + LOCAL_HEADER_BYTES as u64;
    let tail = medium.read_vec(tail_at, Tail::of_local(&header).len())?;
    let local = ZipEntry::of_local(&header, &tail);
    if local.method != entry.method || local.name != entry.name {
        return Err(wrong());
    }
    Extent::new(tail_at + tail.len() as u64, entry.compressed_len)
        .filter(|compressed| compressed.end() <= data_end)
        .ok_or_else(wrong)
}

fn corrupt(what: &'static str) -> Error {
    Error::corrupt(CorruptKind::Zip(what))
}

#[cfg(test)]
mod tests {
    use super::load_zip_member;
    use crate::Error;
    use cardkeep_block::{BlockError, ReadAt};

    /// A medium of zeros but for its last bytes.
    struct Tail {
        len: u64,
        bytes: Vec<u8>,
    }

    impl ReadAt for Tail {
        fn len(&self) -> u64 {
            self.len
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
            self.bounded(offset, buffer.len())?;
            let start = self.len - self.bytes.len() as u64;
            for (byte, position) in buffer.iter_mut().zip(offset..) {
                let index = position.checked_sub(start);
                *byte = index.map_or(0, |index| self.bytes[index as usize]);
            }
            Ok(())
        }
    }

    /// An archive of `len` bytes with a directory of 100 bytes, whose offset is cut to 32 bits.
    fn cut_offset(len: u64) -> Tail {
        let mut bytes = vec![0; 22];
        bytes[..4].copy_from_slice(b"PK\x05\x06");
        bytes[12] = 100;
        bytes[16..20].copy_from_slice(&((len - 1000) as u32).to_le_bytes());
        // A comment: zeros at the end would be padding.
        bytes[20] = 1;
        bytes.push(b'x');
        Tail { len, bytes }
    }

    #[test]
    fn large_archives_whose_offsets_are_cut_have_no_usable_directory() {
        assert_eq!(load_zip_member(&cut_offset(5 << 30)).unwrap(), None);
        let error = load_zip_member(&cut_offset(3 << 30)).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
    }
}
