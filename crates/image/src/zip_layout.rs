//! The records around the members of a zip archive, after PKWARE's APPNOTE.TXT 6.3.10 (the
//! sections are named below). All integers are little-endian.
//!
//! ```text
//!   member:     local header 30 | name | extra | compressed data | data descriptor, where flagged
//!   directory:  central header 46 | name | extra | comment, for each member
//!   end:        zip64 end 56.. | zip64 locator 20, where needed; end 22 | comment
//! ```
//!
//! The directory comes last because a writer knows sizes and offsets only then; the descriptor
//! behind a member's data is there for writers that can't go back to its header.

use cardkeep_block::{le_u16, le_u32, le_u64};

/// Signatures: sections 4.3.7, 4.3.9.3, 4.3.12 to 4.3.16.
pub(crate) const LOCAL_HEADER: u32 = 0x0403_4b50;
pub(crate) const DATA_DESCRIPTOR: u32 = 0x0807_4b50;
pub(crate) const CENTRAL_HEADER: u32 = 0x0201_4b50;
pub(crate) const DIRECTORY_SIGNATURE: u32 = 0x0505_4b50;
pub(crate) const ZIP64_END: u32 = 0x0606_4b50;
pub(crate) const ZIP64_LOCATOR: u32 = 0x0706_4b50;
pub(crate) const END: u32 = 0x0605_4b50;

pub(crate) const LOCAL_HEADER_BYTES: usize = 30;
pub(crate) const CENTRAL_HEADER_BYTES: usize = 46;
pub(crate) const ZIP64_END_BYTES: usize = 56;
pub(crate) const ZIP64_LOCATOR_BYTES: usize = 20;
pub(crate) const END_BYTES: usize = 22;

/// A field of 32 bits that says this has its value in the extra field (section 4.5.3).
const IN_ZIP64: u64 = 0xffff_ffff;
const ZIP64_EXTRA: u16 = 1;

/// No compressed byte of deflate stands for more bytes of content: two bits for 258 of them.
const DEFLATE_RATIO_MAX: u64 = 1032;

/// Bit 0: encrypted; bit 13: so is the directory (section 4.4.4).
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 13;
const FLAG_DESCRIPTOR: u16 = 1 << 3;

/// How a member's data is compressed (section 4.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflate,
    Deflate64,
    Bzip2,
    Zstd,
    Xz,
    Other(u16),
}

impl Method {
    fn from_id(id: u16) -> Self {
        match id {
            0 => Self::Stored,
            8 => Self::Deflate,
            9 => Self::Deflate64,
            12 => Self::Bzip2,
            // 20 was its first number.
            20 | 93 => Self::Zstd,
            95 => Self::Xz,
            other => Self::Other(other),
        }
    }
}

/// What the headers say of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZipEntry {
    /// Its path in the archive, with `/` behind a folder's; what is no UTF-8 is replaced.
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) is_encrypted: bool,
    /// A data descriptor follows the data, and the header's checksum and sizes mean nothing.
    pub(crate) has_descriptor: bool,
    /// The header has the Zip64 extra field: the descriptor's sizes have 64 bits.
    pub(crate) has_zip64: bool,
    pub(crate) crc: u32,
    pub(crate) compressed_len: u64,
    pub(crate) content_len: u64,
    /// Where the local header lies; 0 in a local header.
    pub(crate) header_offset: u64,
}

/// The lengths of what follows the fixed part of a header, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) name_bytes: usize,
    pub(crate) extra_bytes: usize,
    pub(crate) comment_bytes: usize,
}

impl Tail {
    pub(crate) fn of_local(header: &[u8]) -> Self {
        Self {
            name_bytes: le_u16(header, 26).into(),
            extra_bytes: le_u16(header, 28).into(),
            comment_bytes: 0,
        }
    }

    pub(crate) fn of_central(header: &[u8]) -> Self {
        Self {
            name_bytes: le_u16(header, 28).into(),
            extra_bytes: le_u16(header, 30).into(),
            comment_bytes: le_u16(header, 32).into(),
        }
    }

    pub(crate) fn len(self) -> usize {
        self.name_bytes + self.extra_bytes + self.comment_bytes
    }
}

impl ZipEntry {
    /// Decodes a local header (section 4.3.7) and the `tail` behind it.
    pub(crate) fn of_local(header: &[u8], tail: &[u8]) -> Self {
        Self::decode(&header[6..], 0, tail, Tail::of_local(header))
    }

    /// Decodes a central header (section 4.3.12) and the `tail` behind it.
    pub(crate) fn of_central(header: &[u8], tail: &[u8]) -> Self {
        let header_offset = le_u32(header, 42).into();
        Self::decode(&header[8..], header_offset, tail, Tail::of_central(header))
    }

    /// Decodes the fields that both headers have in the same order, from the flags on.
    fn decode(fields: &[u8], header_offset: u64, tail: &[u8], lens: Tail) -> Self {
        let flags = le_u16(fields, 0);
        let (name, rest) = tail.split_at_checked(lens.name_bytes).unwrap_or_default();
        let extra = rest.get(..lens.extra_bytes).unwrap_or_default();
        let mut entry = Self {
            name: String::from_utf8_lossy(name).into_owned(),
            method: Method::from_id(le_u16(fields, 2)),
            is_encrypted: flags & FLAGS_ENCRYPTED != 0,
            has_descriptor: flags & FLAG_DESCRIPTOR != 0,
            has_zip64: false,
            crc: le_u32(fields, 8),
            compressed_len: le_u32(fields, 12).into(),
            content_len: le_u32(fields, 16).into(),
            header_offset,
        };
        if let Some(zip64) = extra_field(extra, ZIP64_EXTRA) {
            entry.widen(zip64);
        }
        entry
    }

    /// Takes the values that did not fit their fields; they come in this order.
    fn widen(&mut self, zip64: &[u8]) {
        self.has_zip64 = true;
        let wide = [
            &mut self.content_len,
            &mut self.compressed_len,
            &mut self.header_offset,
        ];
        let fields = wide.into_iter().filter(|value| **value == IN_ZIP64);
        for (value, bytes) in fields.zip(zip64.chunks_exact(8)) {
            *value = le_u64(bytes, 0);
        }
    }

    /// Returns the compressed length in bytes, where the header knows it; a folder has none.
    pub(crate) fn known_compressed_len(&self) -> Option<u64> {
        if self.name.ends_with('/') && self.compressed_len == 0 && self.method == Method::Stored {
            return Some(0);
        }
        let is_unknown = self.has_descriptor && [0, IN_ZIP64].contains(&self.compressed_len);
        (!is_unknown).then_some(self.compressed_len)
    }

    /// Returns the content's length in bytes, where a local header knows it.
    pub(crate) fn known_content_len(&self) -> Option<u64> {
        (!self.has_descriptor).then_some(self.content_len)
    }

    /// Returns the content's length in bytes, where a central header is sure to know it: macOS
    /// keeps the lower half of a length of 4 GiB or more, and takes no Zip64 field for the rest.
    pub(crate) fn sure_content_len(&self) -> Option<u64> {
        let may_be_cut = self.has_descriptor
            && !self.has_zip64
            && self.method != Method::Stored
            && self.compressed_len > (1 << 32) / DEFLATE_RATIO_MAX;
        (!may_be_cut).then_some(self.content_len)
    }
}

/// Returns the extra field with this id (section 4.5.1).
fn extra_field(extra: &[u8], id: u16) -> Option<&[u8]> {
    let mut rest = extra;
    while let Some((head, after)) = rest.split_at_checked(4) {
        let (data, next) = after.split_at_checked(le_u16(head, 2).into())?;
        if le_u16(head, 0) == id {
            return Some(data);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Method, ZipEntry};

    /// A central header with this tail, whose sizes and offset are these.
    fn central(sizes: [u32; 3], name: &[u8], extra: &[u8]) -> ZipEntry {
        let mut header = vec![0; 46];
        header[8] = 8;
        header[10] = 8;
        header[20..24].copy_from_slice(&sizes[0].to_le_bytes());
        header[24..28].copy_from_slice(&sizes[1].to_le_bytes());
        header[28] = name.len() as u8;
        header[30] = extra.len() as u8;
        header[42..46].copy_from_slice(&sizes[2].to_le_bytes());
        ZipEntry::of_central(&header, &[name, extra].concat())
    }

    #[test]
    fn only_sizes_that_did_not_fit_come_from_the_extra_field() {
        let extra = [
            &[9, 9, 1, 0, 7][..],
            &[1, 0, 16, 0],
            &(5_u64 << 32).to_le_bytes(),
            &(6_u64 << 32).to_le_bytes(),
        ]
        .concat();
        let entry = central([100, u32::MAX, u32::MAX], b"pi.img", &extra);
        assert_eq!(
            (entry.name.as_str(), entry.method),
            ("pi.img", Method::Deflate)
        );
        assert_eq!(entry.compressed_len, 100);
        assert_eq!(entry.content_len, 5 << 32);
        assert_eq!(entry.header_offset, 6 << 32);
        assert!(entry.has_zip64 && entry.has_descriptor && !entry.is_encrypted);
    }

    #[test]
    fn lengths_that_may_have_lost_their_upper_half_are_not_trusted() {
        let zip64 = [&[1, 0, 8, 0][..], &(5_u64 << 32).to_le_bytes()].concat();
        for (compressed_len, content_len, extra, expected) in [
            (4_000_000, 5, &[][..], Some(5)),
            (4_500_000, 5, &[], None),
            (4_500_000, u32::MAX, &zip64, Some(5 << 32)),
        ] {
            let entry = central([compressed_len, content_len, 0], b"pi.img", extra);
            assert_eq!(entry.sure_content_len(), expected);
        }
    }

    #[test]
    fn a_cut_extra_field_leaves_what_the_header_says() {
        let entry = central([100, u32::MAX, 3], b"pi.img", &[1, 0, 8, 0, 1, 2, 3]);
        assert_eq!(entry.content_len, u64::from(u32::MAX));
        assert!(!entry.has_zip64);
    }
}
