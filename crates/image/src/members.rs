//! A file of gzip or bzip2 read from its beginning: members one after the other (RFC 1952, 2.2), as
//! parallel compressors make them, and what `trailing.rs` allows behind the last.

use std::io::{self, BufRead, Read};
use std::marker::PhantomData;

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use crate::StreamNotes;
use crate::trailing;

/// A decoder of one member. Where it ends, the checksums in the member were right.
pub(crate) trait Member<R>: Read {
    /// What every member begins with.
    const MAGIC: &'static [u8];

    /// Returns the decoder of the member that comes next from `reader`.
    fn begin(reader: R) -> Self;

    /// Returns what follows the member.
    fn end(self) -> R;
}

impl<R: BufRead> Member<R> for GzDecoder<R> {
    /// RFC 1952, section 2.3.1: the identification, and the only method.
    const MAGIC: &'static [u8] = &[0x1f, 0x8b, 0x08];

    fn begin(reader: R) -> Self {
        Self::new(reader)
    }

    fn end(self) -> R {
        self.into_inner()
    }
}

impl<R: BufRead> Member<R> for BzDecoder<R> {
    const MAGIC: &'static [u8] = b"BZh";

    fn begin(reader: R) -> Self {
        Self::new(reader)
    }

    fn end(self) -> R {
        self.into_inner()
    }
}

/// The content of all members.
pub(crate) struct Members<D, R> {
    /// `None` behind the last member.
    member: Option<D>,
    members_count: u64,
    notes: StreamNotes,
    reader: PhantomData<R>,
}

impl<R: BufRead, D: Member<R>> Members<D, R> {
    /// Returns the content of the members that `reader` begins with.
    pub(crate) fn new(reader: R, notes: StreamNotes) -> Self {
        Self {
            member: Some(D::begin(reader)),
            members_count: 0,
            notes,
            reader: PhantomData,
        }
    }
}

impl<R: BufRead, D: Member<R>> Read for Members<D, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let len = member.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            // The member's checksums were right, or there would have been an error.
            let Some(mut reader) = self.member.take().map(D::end) else {
                break;
            };
            self.members_count += 1;
            if reader.fill_buf()?.first() == D::MAGIC.first() {
                self.member = Some(D::begin(reader));
                continue;
            }
            trailing::pass_over(&mut reader, self.members_count, D::MAGIC, &self.notes)?;
        }
        Ok(0)
    }
}
