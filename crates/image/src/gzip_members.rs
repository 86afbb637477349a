//! A gzip file read from its beginning: members one after the other (RFC 1952, 2.2), and zeros
//! behind the last, which tape-minded tools leave.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::stream::{damaged, only_zeros_left};

/// The content of all members.
pub(crate) struct GzipMembers<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            member: Some(GzDecoder::new(reader)),
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
            let next = reader.fill_buf()?.first().copied();
            match next {
                None => break,
                Some(0) if only_zeros_left(&mut reader)? => break,
                Some(0) => {
                    return Err(damaged("something else follows the last member"));
                }
                Some(_) => self.member = Some(GzDecoder::new(reader)),
            }
        }
        Ok(0)
    }
}
