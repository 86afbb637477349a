//! The header block of a member of a tar archive: POSIX.1-2017's pax interchange format ("ustar"),
//! and GNU tar's additions (its manual, "Basic Tar Format").
//!
//! ```text
//!   0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 chksum 8
//!   156 typeflag | 157 linkname 100 | 257 magic 6 | 263 version 2 | ... | 345 prefix 155
//!   GNU's sparse members instead: 386 four segments of 24 | 482 isextended | 483 realsize 12
//! ```

/// Every header is a block, and data fills whole ones.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A map of 8 MiB: what is stored in more pieces was never sparse.
pub(crate) const SEGMENTS_MAX: usize = 1 << 19;

/// A part of a sparse member that is stored; the rest is zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// What kind of member a header is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberKind {
    /// A file, as it is.
    File,
    /// A file whose stored segments the header lists; more may follow.
    Sparse,
    /// The name of the next member, where it is long (GNU).
    LongName,
    /// Attributes of the next member (pax).
    Attributes,
    /// A folder.
    Folder,
    /// Anything else: its data, if any, is passed over.
    Other,
}

/// A decoded header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TarHeader {
    /// The member's path; what is no UTF-8 is replaced.
    pub(crate) name: String,
    /// How much data follows, in bytes.
    pub(crate) data_len: u64,
    pub(crate) kind: MemberKind,
    /// Of a sparse member: its segments so far, whether more follow, and its length in bytes.
    pub(crate) sparse: Option<(Vec<Segment>, bool, u64)>,
}

impl TarHeader {
    /// Parses a block; `None` where it is no header, which its checksum tells.
    pub(crate) fn parse(block: &[u8]) -> Option<Self> {
        let block: &[u8; BLOCK_BYTES] = block.get(..BLOCK_BYTES)?.try_into().ok()?;
        if number(&block[148..156])? != checksum(block) || block[0] == 0 {
            return None;
        }
        let is_posix = &block[257..263] == b"ustar\0";
        let kind = match block[156] {
            b'0' | 0 | b'7' => MemberKind::File,
            b'S' => MemberKind::Sparse,
            b'L' => MemberKind::LongName,
            b'x' => MemberKind::Attributes,
            b'5' => MemberKind::Folder,
            _ => MemberKind::Other,
        };
        let mut name = text(&block[..100]);
        let prefix = text(&block[345..500]);
        if is_posix && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        let sparse = match kind {
            MemberKind::Sparse => {
                let segments = segments(&block[386..482]);
                Some((segments, block[482] != 0, number(&block[483..495])?))
            }
            _ => None,
        };
        let has_data = !matches!(block[156], b'1'..=b'6');
        Some(Self {
            name,
            data_len: if has_data {
                number(&block[124..136])?
            } else {
                0
            },
            kind,
            sparse,
        })
    }
}

/// Returns the segments that a run of entries lists, up to the first empty entry.
pub(crate) fn segments(entries: &[u8]) -> Vec<Segment> {
    let entry = |bytes: &[u8]| {
        Some(Segment {
            offset: number(&bytes[..12])?,
            len: number(&bytes[12..])?,
        })
    };
    let used = entries.chunks_exact(24).take_while(|bytes| bytes[0] != 0);
    used.map_while(entry).collect()
}

/// The sum of all bytes, with blanks in place of the checksum.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// Decodes a numeric field: octal digits between blanks, or GNU's binary form, which begins with
/// 0x80.
fn number(field: &[u8]) -> Option<u64> {
    if field.first() == Some(&0x80) {
        let (high, low) = field[1..].split_at_checked(field.len().checked_sub(9)?)?;
        let is_small = high.iter().all(|&byte| byte == 0);
        return is_small.then(|| {
            low.iter()
                .fold(0, |value, &byte| value << 8 | u64::from(byte))
        });
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| !(b'0'..=b'7').contains(byte));
    let (digits, rest) = digits.split_at(end.unwrap_or(digits.len()));
    if digits.is_empty() || rest.first().is_some_and(|byte| ![0, b' '].contains(byte)) {
        return None;
    }
    // Twelve digits of three bits at most.
    Some(
        digits
            .iter()
            .fold(0, |value, &digit| value << 3 | u64::from(digit - b'0')),
    )
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{TarHeader, number};

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777777 ", Some(0o77_777_777_777)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(2 << 32)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\0\0\0\0\0\0\0\0", None),
            (b"12x", None),
            (b"\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn blocks_of_media_are_no_headers() {
        assert_eq!(TarHeader::parse(&[0; 512]), None);
        assert_eq!(TarHeader::parse(&[b'a'; 512]), None);
        assert_eq!(TarHeader::parse(&[b'a'; 511]), None);
        let mut boot = [0; 512];
        boot[..3].copy_from_slice(b"\xeb\x58\x90");
        boot[510..].copy_from_slice(b"\x55\xaa");
        assert_eq!(TarHeader::parse(&boot), None);
    }
}
