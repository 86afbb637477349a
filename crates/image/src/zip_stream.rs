//! The image in a zip archive that is read from its beginning: the members come one after the
//! other, and what the archive says of them all comes last.

use std::io::{self, BufRead, ErrorKind, Read};
use std::mem;

use cardkeep_block::{le_u16, le_u32, le_u64};

use crate::archive_choice::{Candidates, Likeness, likeness};
use crate::error::{ArchiveKind, UnsupportedKind};
use crate::input::Input;
use crate::stream_error::{damaged, unsupported};
use crate::trailing::skip_zeros;
use crate::zip_layout::{
    CENTRAL_HEADER, CENTRAL_HEADER_BYTES, DIRECTORY_SIGNATURE, END, END_BYTES, LOCAL_HEADER,
    LOCAL_HEADER_BYTES, Tail, ZIP64_END, ZIP64_LOCATOR, ZIP64_LOCATOR_BYTES, ZipEntry,
};
use crate::zip_member::MemberReader;

/// The content of the first member that looks like an image. Another one is found at the end only,
/// and is an error then.
pub(crate) struct ZipStream<R: Read> {
    state: State<R>,
    candidates: Candidates,
    image: Option<Image>,
    members_count: u64,
    memory_bytes_max: u64,
}

/// The member that was taken for the image.
struct Image {
    name: String,
    likeness: Likeness,
    /// Where its header lies.
    offset: u64,
    crc: u32,
    content_len: u64,
}

impl Image {
    /// Tells whether this is what the directory says of it. Some writers cut what doesn't fit.
    fn is_in(&self, entry: &ZipEntry) -> bool {
        // The truncations take the low half, as meant.
        self.offset as u32 == entry.header_offset as u32
            && self.content_len as u32 == entry.content_len as u32
            && self.crc == entry.crc
            && self.name == entry.name
    }
}

enum State<R: Read> {
    Between(Input<R>),
    Image(Box<MemberReader<Input<R>>>),
    End,
}

impl<R: Read> ZipStream<R> {
    pub(crate) fn new(input: Input<R>, memory_bytes_max: u64) -> Self {
        Self {
            state: State::Between(input),
            candidates: Candidates::default(),
            image: None,
            members_count: 0,
            memory_bytes_max,
        }
    }

    /// Goes on from the record that `input` comes to.
    fn record(&mut self, mut input: Input<R>) -> io::Result<State<R>> {
        let start = input.seen().offset();
        match read_signature(&mut input)? {
            LOCAL_HEADER => self.member(input, start),
            signature => {
                self.directory(input, signature)?;
                Ok(State::End)
            }
        }
    }

    /// Goes on from the member whose header lies at `start`: into the image, or past what is none.
    fn member(&mut self, mut input: Input<R>, start: u64) -> io::Result<State<R>> {
        let mut header = [0; LOCAL_HEADER_BYTES];
        input.read_exact(&mut header[4..])?;
        let tail = read_vec(&mut input, Tail::of_local(&header).len())?;
        let entry = ZipEntry::of_local(&header, &tail);
        self.members_count += 1;
        let likeness = likeness(&entry.name, entry.known_content_len());
        let is_best = self.candidates.add(&entry.name, likeness);
        if self.image.is_some() || is_best {
            self.check_so_far()?;
        }
        if self.image.is_none() && is_best {
            self.candidates.settle();
            self.image = Some(Image {
                name: entry.name.clone(),
                likeness,
                offset: start,
                crc: 0,
                content_len: 0,
            });
            let member = self.open(entry, input)?;
            return Ok(State::Image(Box::new(member)));
        }
        let input = self.pass_over(entry, input)?;
        Ok(State::Between(input))
    }

    /// Refuses an archive of which enough is known. Whether it has no image shows at its end.
    fn check_so_far(&self) -> io::Result<()> {
        match self.candidates.failure() {
            Some(ArchiveKind::NoImage) | None => Ok(()),
            Some(kind) => Err(unsupported(UnsupportedKind::Zip(kind))),
        }
    }

    fn open(&self, entry: ZipEntry, input: Input<R>) -> io::Result<MemberReader<Input<R>>> {
        MemberReader::new(entry, input, self.memory_bytes_max).map_err(io_error)
    }

    fn pass_over(&self, entry: ZipEntry, mut input: Input<R>) -> io::Result<Input<R>> {
        match entry.known_compressed_len() {
            Some(len) if !entry.has_descriptor => {
                skip(&mut input, len)?;
                Ok(input)
            }
            _ => {
                let mut member = self.open(entry, input)?;
                io::copy(&mut member, &mut io::sink())?;
                Ok(member.finish()?.input)
            }
        }
    }

    /// Reads what follows the members, from a record with this signature to the end of the
    /// archive: it must have the image, and nothing may follow.
    fn directory(&mut self, mut input: Input<R>, signature: u32) -> io::Result<()> {
        let (mut signature, mut has_image, mut count) = (signature, false, 0_u64);
        loop {
            match signature {
                CENTRAL_HEADER => {
                    let entry = read_central(&mut input)?;
                    has_image |= self.is_image(&entry)?;
                    count += 1;
                }
                DIRECTORY_SIGNATURE => {
                    let len = read_vec(&mut input, 2)?;
                    skip(&mut input, le_u16(&len, 0).into())?;
                }
                ZIP64_END => {
                    let len = read_vec(&mut input, 8)?;
                    skip(&mut input, le_u64(&len, 0))?;
                }
                ZIP64_LOCATOR => skip(&mut input, ZIP64_LOCATOR_BYTES as u64 - 4)?,
                END => break,
                _ => return Err(damaged("no record of a zip archive begins here")),
            }
            signature = read_signature(&mut input)?;
        }
        read_end(&mut input, count)?;
        self.candidates.check().map_err(io_error)?;
        if count != self.members_count || !has_image {
            return Err(damaged("its directory has other members"));
        }
        Ok(())
    }

    /// Tells whether an entry of the directory is the image; no other may look as much like one.
    fn is_image(&self, entry: &ZipEntry) -> io::Result<bool> {
        let Some(image) = &self.image else {
            return Ok(false);
        };
        let is_image = image.is_in(entry);
        if !is_image && likeness(&entry.name, Some(entry.content_len)) >= image.likeness {
            return Err(damaged("its directory has another image"));
        }
        Ok(is_image)
    }
}

impl<R: Read> Read for ZipStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match mem::replace(&mut self.state, State::End) {
                State::Between(input) => self.record(input)?,
                State::Image(mut image) => {
                    let len = image.read(buffer)?;
                    if len > 0 {
                        self.state = State::Image(image);
                        return Ok(len);
                    }
                    let finished = image.finish()?;
                    if let Some(image) = &mut self.image {
                        image.crc = finished.crc;
                        image.content_len = finished.content_len;
                    }
                    State::Between(finished.input)
                }
                State::End => return Ok(0),
            };
        }
    }
}

fn io_error(error: crate::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn read_signature(input: &mut impl Read) -> io::Result<u32> {
    let mut signature = [0; 4];
    input.read_exact(&mut signature)?;
    Ok(u32::from_le_bytes(signature))
}

/// Returns the next `len` bytes; at most what three fields of 16 bits add up to.
fn read_vec(input: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(input: &mut impl Read, len: u64) -> io::Result<()> {
    if io::copy(&mut input.take(len), &mut io::sink())? < len {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads a central header behind its signature.
fn read_central(input: &mut impl Read) -> io::Result<ZipEntry> {
    let mut header = [0; CENTRAL_HEADER_BYTES];
    input.read_exact(&mut header[4..])?;
    let tail = read_vec(input, Tail::of_central(&header).len())?;
    Ok(ZipEntry::of_central(&header, &tail))
}

/// Reads the end record behind its signature (APPNOTE 4.3.16), and makes sure that only
/// zeros follow: some tools fill whole blocks.
fn read_end(input: &mut impl BufRead, entries_count: u64) -> io::Result<()> {
    let mut end = [0; END_BYTES];
    input.read_exact(&mut end[4..])?;
    if le_u32(&end, 4) != 0 {
        let kind = UnsupportedKind::Zip(ArchiveKind::Split);
        return Err(unsupported(kind));
    }
    // The truncation keeps what the field has of a larger count, and Zip64 has all ones there.
    let count = le_u16(&end, 10);
    if count != u16::MAX && count != entries_count as u16 {
        return Err(damaged("its directory has other members"));
    }
    skip(input, le_u16(&end, 20).into())?;
    skip_zeros(input)?;
    if !input.fill_buf()?.is_empty() {
        return Err(damaged("something else follows the archive"));
    }
    Ok(())
}
