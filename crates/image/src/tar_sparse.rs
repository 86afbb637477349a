//! Sparse members of pax archives: the three ways that GNU tar describes them, which bsdtar and others
//! write, too (GNU tar's manual, appendix D.2, "Storing Sparse Files").
//!
//! ```text
//!   0.0  GNU.sparse.size=LEN, then GNU.sparse.offset=N and GNU.sparse.numbytes=N for each segment
//!   0.1  GNU.sparse.size=LEN, GNU.sparse.map=OFFSET,LEN,OFFSET,LEN...
//!   1.0  GNU.sparse.major=1, minor=0, realsize=LEN; the map precedes the data:
//!        the count of segments, then an offset and a length for each, a line each, filled up to a block
//! ```

use std::io::{self, Read};

use crate::stream_error::damaged;
use crate::tar_header::{BLOCK_BYTES, SEGMENTS_MAX, Segment};

/// Decimal digits of a number of 64 bits, and a line end.
const LINE_BYTES_MAX: usize = 21;

/// What pax records say of how a member is stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    is_sparse: bool,
    major: u64,
    minor: u64,
    real_len: Option<u64>,
    segments: Vec<Segment>,
    /// The offset of a segment whose length has not come yet.
    offset: Option<u64>,
    /// What can't be understood, as the record has it.
    unknown: Option<String>,
}

/// How a sparse member is stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SparseLayout {
    /// Its data are these segments of so many bytes of content.
    Listed(Vec<Segment>, u64),
    /// Its data begin with the list of its segments; its content has so many bytes.
    InData(u64),
}

impl SparseRecords {
    /// Takes a record into account.
    pub(crate) fn add(&mut self, keyword: &str, value: &str) {
        // Schily's star has a way of its own (its manual, "SCHILY.filetype").
        if keyword == "SCHILY.filetype" && value == "sparse" {
            self.is_sparse = true;
            self.unknown = Some(format!("{keyword}={value}"));
        }
        let Some(field) = keyword.strip_prefix("GNU.sparse.") else {
            return;
        };
        self.is_sparse = true;
        if field == "name" {
            return;
        }
        let is_known = match (field, value.parse::<u64>()) {
            ("map", _) => self.add_map(value),
            ("major", Ok(number)) => set(&mut self.major, number),
            ("minor", Ok(number)) => set(&mut self.minor, number),
            ("size" | "realsize", Ok(len)) => set(&mut self.real_len, Some(len)),
            ("offset", Ok(offset)) => set(&mut self.offset, Some(offset)),
            ("numbytes", Ok(len)) => self.add_segment(len),
            // How many segments there are shows.
            ("numblocks", Ok(_)) => true,
            _ => false,
        };
        if !is_known {
            self.unknown = Some(format!("GNU.sparse.{field}"));
        }
    }

    /// Tells whether the member is stored as a sparse one.
    pub(crate) const fn is_sparse(&self) -> bool {
        self.is_sparse
    }

    /// Returns how long the member's content is, where the records say it.
    pub(crate) const fn real_len(&self) -> Option<u64> {
        self.real_len
    }

    /// Returns how the member is stored.
    ///
    /// # Errors
    /// What of the records is not known, in their own words.
    pub(crate) fn layout(self) -> Result<SparseLayout, String> {
        if let Some(unknown) = self.unknown {
            return Err(unknown);
        }
        let Some(real_len) = self.real_len else {
            return Err("no GNU.sparse.size".to_owned());
        };
        match (self.major, self.minor) {
            (0, 0 | 1) => Ok(SparseLayout::Listed(self.segments, real_len)),
            (1, 0) => Ok(SparseLayout::InData(real_len)),
            (major, minor) => Err(format!("GNU.sparse version {major}.{minor}")),
        }
    }

    fn add_segment(&mut self, len: u64) -> bool {
        let Some(offset) = self.offset.take() else {
            return false;
        };
        self.segments.push(Segment { offset, len });
        self.segments.len() <= SEGMENTS_MAX
    }

    fn add_map(&mut self, value: &str) -> bool {
        let mut numbers = value.split(',');
        while let Some(offset) = numbers.next() {
            let len = numbers.next().and_then(|len| len.parse().ok());
            let (Ok(offset), Some(len)) = (offset.parse(), len) else {
                return false;
            };
            self.offset = Some(offset);
            if !self.add_segment(len) {
                return false;
            }
        }
        true
    }
}

fn set<T>(field: &mut T, value: T) -> bool {
    *field = value;
    true
}

/// Reads the list of segments that the data of a member begin with. Returns it, and its length in bytes.
///
/// # Errors
/// Where it is damaged or longer than `data_len` bytes; as the reader.
pub(crate) fn read_map(input: &mut impl Read, data_len: u64) -> io::Result<(Vec<Segment>, u64)> {
    let mut lines = MapLines {
        input,
        data_left: data_len,
        block: [0; BLOCK_BYTES],
        next: BLOCK_BYTES,
    };
    let count = lines.number()?;
    if count > SEGMENTS_MAX as u64 {
        return Err(damaged("a member is in too many pieces"));
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        let (offset, len) = (lines.number()?, lines.number()?);
        segments.push(Segment { offset, len });
    }
    Ok((segments, data_len - lines.data_left))
}

/// Lines in whole blocks.
struct MapLines<'a, R> {
    input: &'a mut R,
    data_left: u64,
    block: [u8; BLOCK_BYTES],
    next: usize,
}

impl<R: Read> MapLines<'_, R> {
    fn number(&mut self) -> io::Result<u64> {
        let mut digits = String::new();
        while digits.len() < LINE_BYTES_MAX {
            match self.byte()? {
                b'\n' => break,
                byte => digits.push(char::from(byte)),
            }
        }
        let number = digits.parse();
        number.map_err(|_| damaged("the map of a sparse member is wrong"))
    }

    fn byte(&mut self) -> io::Result<u8> {
        if self.next == BLOCK_BYTES {
            let left = self.data_left.checked_sub(BLOCK_BYTES as u64);
            self.data_left = left.ok_or_else(|| damaged("the map of a sparse member is cut"))?;
            self.input.read_exact(&mut self.block)?;
            self.next = 0;
        }
        let byte = self.block[self.next];
        self.next += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::{SparseLayout, SparseRecords, read_map};
    use crate::tar_header::Segment;

    fn layout(records: &[(&str, &str)]) -> Result<SparseLayout, String> {
        let mut sparse = SparseRecords::default();
        for (keyword, value) in records {
            sparse.add(keyword, value);
        }
        assert!(sparse.is_sparse());
        sparse.layout()
    }

    const SEGMENTS: [Segment; 2] = [
        Segment {
            offset: 0,
            len: 512,
        },
        Segment {
            offset: 4096,
            len: 0,
        },
    ];

    #[test]
    fn all_three_descriptions_of_a_sparse_member_are_known() {
        let listed = SparseLayout::Listed(SEGMENTS.to_vec(), 4096);
        let pairs = [
            ("GNU.sparse.size", "4096"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "512"),
            ("GNU.sparse.offset", "4096"),
            ("GNU.sparse.numbytes", "0"),
        ];
        assert_eq!(layout(&pairs).unwrap(), listed);
        let map = [
            ("GNU.sparse.size", "4096"),
            ("GNU.sparse.map", "0,512,4096,0"),
        ];
        assert_eq!(layout(&map).unwrap(), listed);
        let in_data = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "pi.img"),
            ("GNU.sparse.realsize", "4096"),
        ];
        assert_eq!(layout(&in_data).unwrap(), SparseLayout::InData(4096));
    }

    #[test]
    fn what_is_not_known_of_a_sparse_member_is_named() {
        for (records, expected) in [
            (
                &[("GNU.sparse.major", "2"), ("GNU.sparse.size", "1")][..],
                "version 2.0",
            ),
            (&[("GNU.sparse.major", "1")], "no GNU.sparse.size"),
            (&[("GNU.sparse.map", "1,2,3")], "GNU.sparse.map"),
            (&[("GNU.sparse.numbytes", "3")], "GNU.sparse.numbytes"),
            (&[("GNU.sparse.size", "-3")], "GNU.sparse.size"),
            (&[("GNU.sparse.new", "3")], "GNU.sparse.new"),
            (&[("SCHILY.filetype", "sparse")], "SCHILY.filetype"),
        ] {
            let found = layout(records).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_map_in_front_of_the_data_is_read_and_no_more() {
        let mut block = b"2\n0\n512\n4096\n0\n".to_vec();
        block.resize(512, 0);
        let data = [&block[..], &[7; 512]].concat();
        let mut input = &data[..];
        assert_eq!(
            read_map(&mut input, 1024).unwrap(),
            (SEGMENTS.to_vec(), 512)
        );
        assert_eq!(input.len(), 512);
        for map in [
            &b"2\n0\n512\n"[..],
            b"x\n",
            b"\n",
            b"99999999999999999999\n",
        ] {
            let mut block = map.to_vec();
            block.resize(512, 0);
            read_map(&mut &block[..], 512).unwrap_err();
        }
        // Longer than what is stored.
        read_map(&mut &b"600000\n"[..], 512).unwrap_err();
        read_map(&mut &data[..], 511).unwrap_err();
    }
}
