//! A gzip file read from its beginning: members one after the other (RFC 1952, 2.2), and what
//! `trailing.rs` allows behind the last.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::StreamNotes;
use crate::trailing;

/// RFC 1952, section 2.3.1: the identification, and the only method.
const MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];

/// The content of all members.
pub(crate) struct GzipMembers<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
    members_count: u64,
    notes: StreamNotes,
}

impl<R: BufRead> GzipMembers<R> {
    pub(crate) fn new(reader: R, notes: StreamNotes) -> Self {
        Self {
            member: Some(GzDecoder::new(reader)),
            members_count: 0,
            notes,
        }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let len = member.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            // The member's CRC and length were right, or there would have been an error.
            let Some(mut reader) = self.member.take().map(GzDecoder::into_inner) else {
                break;
            };
            self.members_count += 1;
            if reader.fill_buf()?.first() == MAGIC.first() {
                self.member = Some(GzDecoder::new(reader));
                continue;
            }
            trailing::pass_over(&mut reader, (self.members_count, MAGIC), &self.notes)?;
        }
        Ok(0)
    }
}
