//! The image in a tar archive that is read from its beginning: the members come one after the
//! other, and none tells of the others.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::mem;

use crate::StreamNotes;
use crate::archive_choice::{Candidates, likeness, printable};
use crate::error::{ArchiveKind, UnsupportedKind};
use crate::input::Input;
use crate::stream_error::{damaged, unsupported};
use crate::tar_header::{BLOCK_BYTES, MemberKind, SEGMENTS_MAX, Segment, TarHeader, segments};
use crate::tar_sparse::{SparseLayout, SparseRecords, read_map};

/// Names and attributes are some hundred bytes.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;

/// The content of the first member that looks like an image. Another one is found at the end only,
/// and is an error then.
pub(crate) struct TarStream<R: Read> {
    input: Input<R>,
    state: State,
    candidates: Candidates,
    has_image: bool,
    notes: StreamNotes,
}

enum State {
    Between,
    Image(FileData),
    End,
}

/// What is known of the next member from records in front of it.
#[derive(Default)]
struct Attributes {
    name: Option<String>,
    data_len: Option<u64>,
    sparse: SparseRecords,
}

impl<R: Read> TarStream<R> {
    pub(crate) fn new(input: Input<R>, notes: StreamNotes) -> Self {
        Self {
            input,
            state: State::Between,
            candidates: Candidates::default(),
            has_image: false,
            notes,
        }
    }

    /// Goes on from the header that the input comes to.
    fn member(&mut self) -> io::Result<State> {
        let mut attributes = Attributes::default();
        loop {
            let Some(header) = self.header()? else {
                return self.end();
            };
            match header.kind {
                MemberKind::LongName => {
                    let name = self.read_data(header.data_len)?;
                    let end = name.iter().position(|&byte| byte == 0);
                    let name = &name[..end.unwrap_or(name.len())];
                    attributes.name = Some(String::from_utf8_lossy(name).into_owned());
                }
                MemberKind::Attributes => {
                    let records = self.read_data(header.data_len)?;
                    attributes.add(&records);
                }
                _ => return self.file(header, attributes),
            }
        }
    }

    /// Goes on into the image, or past what is none.
    fn file(&mut self, header: TarHeader, attributes: Attributes) -> io::Result<State> {
        let name = attributes.name.unwrap_or(header.name);
        let data_len = attributes.data_len.unwrap_or(header.data_len);
        let is_file = matches!(header.kind, MemberKind::File | MemberKind::Sparse);
        let content_len = match &header.sparse {
            Some((_, _, real_len)) => *real_len,
            None => attributes.sparse.real_len().unwrap_or(data_len),
        };
        let likeness = likeness(&name, Some(if is_file { content_len } else { 0 }));
        let is_best = self.candidates.add(&name, likeness);
        if self.has_image || is_best {
            self.check()?;
        }
        let stored = match header.sparse {
            Some((first, has_more, _)) => Some(self.segments(first, has_more)?),
            None => None,
        };
        if self.has_image || !is_best {
            self.skip(padded(data_len)?)?;
            return Ok(State::Between);
        }
        let data = match stored {
            Some(stored) => FileData::new(stored, content_len, data_len)?,
            None => self.pax_data(&name, attributes.sparse, data_len)?,
        };
        self.candidates.settle();
        self.has_image = true;
        let shown = printable(&name);
        self.notes
            .add(format!("the image is {shown} in a tar archive"));
        Ok(State::Image(data))
    }

    /// Returns the content of a member that pax records describe, where any do.
    fn pax_data(
        &mut self,
        name: &str,
        sparse: SparseRecords,
        data_len: u64,
    ) -> io::Result<FileData> {
        if !sparse.is_sparse() {
            let offset = 0;
            let stored = vec![Segment {
                offset,
                len: data_len,
            }];
            return FileData::new(stored, data_len, data_len);
        }
        match sparse.layout() {
            Ok(SparseLayout::Listed(stored, len)) => FileData::new(stored, len, data_len),
            Ok(SparseLayout::InData(len)) => {
                let (stored, map_len) = read_map(&mut self.input, data_len)?;
                FileData::new(stored, len, data_len - map_len)
            }
            Err(why) => {
                let kind = ArchiveKind::Sparse(printable(name), printable(&why));
                Err(unsupported(UnsupportedKind::Tar(kind)))
            }
        }
    }

    /// Refuses an archive of which enough is known. Whether it has no image shows at its end.
    fn check(&self) -> io::Result<()> {
        match self.candidates.failure() {
            Some(ArchiveKind::NoImage) | None => Ok(()),
            Some(kind) => Err(unsupported(UnsupportedKind::Tar(kind))),
        }
    }

    /// Reads the next header; `None` at the archive's end, which two blocks of zeros mark.
    fn header(&mut self) -> io::Result<Option<TarHeader>> {
        let mut block = [0; BLOCK_BYTES];
        let len = read_up_to(&mut self.input, &mut block)?;
        if len == 0 || len == BLOCK_BYTES && block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if len < BLOCK_BYTES {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let header = TarHeader::parse(&block);
        header
            .map(Some)
            .ok_or_else(|| damaged("no header of a tar archive begins here"))
    }

    /// Reads to the end: whatever the archive is packed in must be whole.
    fn end(&mut self) -> io::Result<State> {
        io::copy(&mut self.input, &mut io::sink())?;
        match self.candidates.failure() {
            Some(kind) => Err(unsupported(UnsupportedKind::Tar(kind))),
            None => Ok(State::End),
        }
    }

    /// Reads the data of a member that describes the next one.
    fn read_data(&mut self, len: u64) -> io::Result<Vec<u8>> {
        if len > ATTRIBUTES_BYTES_MAX {
            return Err(damaged("a member's attributes are too long"));
        }
        // OK to cast: bounded above.
        let mut bytes = vec![0; len as usize];
        self.input.read_exact(&mut bytes)?;
        self.skip(padded(len)? - len)?;
        Ok(bytes)
    }

    /// Reads the blocks that list more segments of a sparse member: 21 entries each.
    fn segments(&mut self, first: Vec<Segment>, has_more: bool) -> io::Result<Vec<Segment>> {
        let (mut all, mut has_more) = (first, has_more);
        while has_more {
            let mut block = [0; BLOCK_BYTES];
            self.input.read_exact(&mut block)?;
            all.extend(segments(&block[..504]));
            has_more = block[504] != 0;
            if all.len() > SEGMENTS_MAX {
                return Err(damaged("a member is in too many pieces"));
            }
        }
        Ok(all)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        if io::copy(&mut (&mut self.input).take(len), &mut io::sink())? < len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match mem::replace(&mut self.state, State::End) {
                State::Between => self.member()?,
                State::Image(mut data) => {
                    let len = data.read(&mut self.input, buffer)?;
                    if len > 0 {
                        self.state = State::Image(data);
                        return Ok(len);
                    }
                    self.skip(data.padding)?;
                    State::Between
                }
                State::End => return Ok(0),
            };
        }
    }
}

impl Attributes {
    /// Takes pax records: `LENGTH KEYWORD=VALUE\n`, where the length counts all of the record.
    fn add(&mut self, records: &[u8]) {
        let mut rest = records;
        while let Some((record, next)) = next_record(rest) {
            let record = String::from_utf8_lossy(record);
            let (keyword, value) = record.split_once('=').unwrap_or((&record, ""));
            self.sparse.add(keyword, value);
            match keyword {
                // The name of a sparse member in its header is another one.
                "GNU.sparse.name" => self.name = Some(value.to_owned()),
                "path" if !self.sparse.is_sparse() => self.name = Some(value.to_owned()),
                "size" => self.data_len = value.parse().ok(),
                _ => {}
            }
            rest = next;
        }
    }
}

/// Returns the first record without its length and line end, and what follows it.
fn next_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = bytes.iter().position(|&byte| byte == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..len)?;
    Some((record.strip_suffix(b"\n")?, &bytes[len..]))
}

/// The content of a file, sparse or not.
struct FileData {
    stored: VecDeque<Segment>,
    content_len: u64,
    position: u64,
    /// What follows the data up to the end of its last block, in bytes.
    padding: u64,
}

impl FileData {
    /// Returns the content of `content_len` bytes of which `stored` lie in `data_len` bytes of
    /// data.
    fn new(stored: Vec<Segment>, content_len: u64, data_len: u64) -> io::Result<Self> {
        let wrong = || damaged("a sparse member contradicts itself");
        let (mut end, mut sum) = (0, 0_u64);
        for segment in &stored {
            if segment.offset < end {
                return Err(wrong());
            }
            end = segment.offset.checked_add(segment.len).ok_or_else(wrong)?;
            sum = sum.checked_add(segment.len).ok_or_else(wrong)?;
        }
        if end > content_len || sum != data_len {
            return Err(wrong());
        }
        Ok(Self {
            stored: stored.into(),
            content_len,
            position: 0,
            padding: padded(data_len)? - data_len,
        })
    }

    fn read(&mut self, input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        while self.stored.front().is_some_and(|segment| segment.len == 0) {
            self.stored.pop_front();
        }
        let next = self
            .stored
            .front()
            .map_or(self.content_len, |segment| segment.offset);
        if self.position < next {
            let len = bounded(buffer.len(), next - self.position);
            buffer[..len].fill(0);
            self.position += len as u64;
            return Ok(len);
        }
        let Some(segment) = self.stored.front_mut() else {
            return Ok(0);
        };
        let len = bounded(buffer.len(), segment.len);
        let len = input.read(&mut buffer[..len])?;
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        segment.offset += len as u64;
        segment.len -= len as u64;
        self.position += len as u64;
        Ok(len)
    }
}

fn bounded(len: usize, most: u64) -> usize {
    // OK to cast: no more than a buffer's length.
    most.min(len as u64) as usize
}

/// Returns what data of this length takes with the rest of its last block.
fn padded(len: u64) -> io::Result<u64> {
    len.checked_next_multiple_of(BLOCK_BYTES as u64)
        .ok_or_else(|| damaged("a member is longer than anything can be"))
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match input.read(&mut buffer[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}
