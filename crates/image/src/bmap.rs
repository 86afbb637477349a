//! Block maps as bmaptool writes them beside images: which blocks of an image are mapped, each range of
//! them with its SHA-256.
//!
//! ```text
//!   <bmap version="2.0">
//!     <ImageSize> 821752 </ImageSize> <BlockSize> 4096 </BlockSize> <BlocksCount> 201 </BlocksCount>
//!     <ChecksumType> sha256 </ChecksumType> <BmapFileChecksum> DIGITS </BmapFileChecksum>
//!     <BlockMap> <Range chksum="DIGITS"> 0-1 </Range> <Range chksum="DIGITS"> 3 </Range> </BlockMap>
//!   </bmap>
//! ```
//!
//! The facts are those of the comments that bmaptool puts into every file. Blocks count from 0; the last
//! one ends with the image. Documents with a DTD are refused; entities are never expanded.

use cardkeep_block::{Extent, MEDIUM_BYTES_MAX};
use quick_xml::Reader;
use quick_xml::events::Event;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::{CorruptKind, UnsupportedKind};

/// The most bytes that a block map may have: one of a 64 GB card in 200,000 ranges has less.
pub const BMAP_BYTES_MAX: u64 = 32 << 20;
/// The digits of a SHA-256.
const DIGITS: usize = 64;
/// Elements lie in `bmap` and `BlockMap` at the most.
const DEPTH_MAX: usize = 8;

/// Ranges of an image's content that have checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmap {
    content_len: u64,
    ranges: Vec<BmapRange>,
}

/// A part of the content with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BmapRange {
    /// The part, in bytes.
    pub extent: Extent,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

impl Bmap {
    /// Parses a file; `None` where it is no block map at all.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for one that contradicts itself or has another checksum than it states;
    /// [`Error::Unsupported`] for one without SHA-256, as bmaptool before 3.0 made them.
    pub fn parse(file: &[u8]) -> Result<Option<Self>, Error> {
        let Ok(text) = std::str::from_utf8(file) else {
            return Ok(None);
        };
        let Some(document) = Document::parse(text)? else {
            return Ok(None);
        };
        document.check_own_sum(text)?;
        document.bmap().map(Some)
    }

    /// Returns the length of the image in bytes.
    #[must_use]
    pub const fn content_len(&self) -> u64 {
        self.content_len
    }

    /// Returns the ranges in address order; they don't overlap.
    #[must_use]
    pub fn ranges(&self) -> &[BmapRange] {
        &self.ranges
    }
}

/// What a file says, as text.
#[derive(Debug, Default)]
struct Document {
    image_bytes: Option<u64>,
    block_bytes: Option<u64>,
    blocks_count: Option<u64>,
    sum_type: Option<String>,
    own_sum: Option<String>,
    /// Of each range, the blocks and the checksum.
    ranges: Vec<(String, Option<String>)>,
}

impl Document {
    fn parse(text: &str) -> Result<Option<Self>, Error> {
        let mut reader = Reader::from_str(text);
        let mut own = Self::default();
        let mut names: Vec<String> = Vec::new();
        let mut is_bmap = false;
        loop {
            let event = match reader.read_event() {
                Ok(event) => event,
                Err(_) if is_bmap => return Err(corrupt("it is not XML")),
                Err(_) => return Ok(None),
            };
            match event {
                Event::Start(start) => {
                    let name = start.name().0.to_owned();
                    is_bmap |= names.is_empty() && name == "bmap";
                    if !is_bmap {
                        return Ok(None);
                    }
                    if name == "Range" {
                        let attributes = start.attributes().filter_map(Result::ok);
                        let mut sums = attributes.filter(|own| own.key.0 == "chksum");
                        let sum = sums.next().map(|own| own.value.trim().to_owned());
                        own.ranges.push((String::new(), sum));
                    }
                    names.push(name);
                    if names.len() > DEPTH_MAX {
                        return Err(corrupt("its elements lie too deep"));
                    }
                }
                Event::End(_) => drop(names.pop()),
                Event::Text(text) => own.take(names.last(), text.trim())?,
                Event::DocType(_) | Event::GeneralRef(_) if is_bmap => {
                    return Err(corrupt("it has entities"));
                }
                Event::DocType(_) | Event::GeneralRef(_) => return Ok(None),
                Event::Eof if !names.is_empty() => return Err(corrupt("it is cut off")),
                Event::Eof => return Ok(is_bmap.then_some(own)),
                _ => {}
            }
        }
    }

    /// Takes the text of an element.
    fn take(&mut self, name: Option<&String>, text: &str) -> Result<(), Error> {
        let Some(name) = name.filter(|_| !text.is_empty()) else {
            return Ok(());
        };
        let number = || text.parse().map_err(|_| corrupt("a size is not a number"));
        match name.as_str() {
            "ImageSize" => self.image_bytes = Some(number()?),
            "BlockSize" => self.block_bytes = Some(number()?),
            "BlocksCount" => self.blocks_count = Some(number()?),
            "ChecksumType" => self.sum_type = Some(text.to_owned()),
            "BmapFileChecksum" => self.own_sum = Some(text.to_owned()),
            "Range" => {
                if let Some((blocks, _)) = self.ranges.last_mut() {
                    blocks.push_str(text);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The checksum of the file is taken with zeros in its own place.
    fn check_own_sum(&self, text: &str) -> Result<(), Error> {
        let Some(stated) = &self.own_sum else {
            return Ok(());
        };
        let Some(expected) = digest_of(stated).filter(|_| self.has_sha256()) else {
            return Ok(());
        };
        let zeroed = text.replacen(stated.as_str(), &"0".repeat(DIGITS), 1);
        match Sha256::digest(zeroed.as_bytes()).as_slice() == expected {
            true => Ok(()),
            false => Err(corrupt("it has another checksum than it states of itself")),
        }
    }

    fn has_sha256(&self) -> bool {
        self.sum_type.as_deref() == Some("sha256")
    }

    fn bmap(self) -> Result<Bmap, Error> {
        let has_sums = self.ranges.iter().all(|(_, sum)| sum.is_some());
        if !self.has_sha256() || !has_sums {
            return Err(Error::unsupported(UnsupportedKind::BmapSums));
        }
        let sizes = (self.image_bytes, self.block_bytes);
        let (Some(content_len), Some(block_bytes @ 1..)) = sizes else {
            return Err(corrupt("it states no sizes"));
        };
        let blocks_count = content_len.div_ceil(block_bytes);
        let is_wrong = self.blocks_count.is_some_and(|own| own != blocks_count);
        if content_len > MEDIUM_BYTES_MAX || is_wrong {
            return Err(corrupt("its sizes contradict each other"));
        }
        let mut ranges = Vec::with_capacity(self.ranges.len());
        let mut next = 0;
        for (blocks, sum) in &self.ranges {
            let wrong = || corrupt("a range of blocks is wrong");
            let (first, last) = blocks_of(blocks).ok_or_else(wrong)?;
            if first < next || last < first || last >= blocks_count {
                return Err(wrong());
            }
            next = last + 1;
            // Below MEDIUM_BYTES_MAX: no block begins behind the image's end.
            let end = next.saturating_mul(block_bytes).min(content_len);
            let sum = sum.as_deref().and_then(digest_of);
            ranges.push(BmapRange {
                extent: Extent::between(first * block_bytes, end),
                sha256: sum.ok_or_else(|| corrupt("a checksum is none"))?,
            });
        }
        Ok(Bmap {
            content_len,
            ranges,
        })
    }
}

/// Returns the first and the last block of `3` or `3-5`.
fn blocks_of(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    let is_digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate().filter(|_| is_digits) {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    is_digits.then_some(digest)
}

fn corrupt(what: &'static str) -> Error {
    Error::corrupt(CorruptKind::Bmap(what))
}

/// Compares content with a block map while it passes, from its beginning on.
#[derive(Debug)]
pub struct BmapCheck {
    bmap: Bmap,
    /// The range that comes next or is passing.
    next: usize,
    sum: Sha256,
    position: u64,
    first_wrong: Option<Extent>,
}

impl BmapCheck {
    /// Returns the check of content of which nothing has passed.
    #[must_use]
    pub fn new(bmap: Bmap) -> Self {
        Self {
            bmap,
            next: 0,
            sum: Sha256::new(),
            position: 0,
            first_wrong: None,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let passing = Extent::between(self.position, self.position + bytes.len() as u64);
        while let Some(range) = self.bmap.ranges.get(self.next) {
            let part = range.extent.intersection(passing);
            if !part.is_empty() {
                // OK to cast: offsets in a slice in memory.
                let from = (part.start() - passing.start()) as usize;
                self.sum.update(&bytes[from..from + part.len() as usize]);
            }
            if range.extent.end() > passing.end() {
                break;
            }
            let found = self.sum.finalize_reset();
            if found.as_slice() != range.sha256 {
                self.first_wrong.get_or_insert(range.extent);
            }
            self.next += 1;
        }
        self.position = passing.end();
    }

    /// Passes over bytes that are in no range, up to `end`: they need not be read.
    pub fn skip_to(&mut self, end: u64) {
        self.position = self.position.max(end);
    }

    /// Returns what is wrong with the content, which has ended; `None` where nothing is.
    #[must_use]
    pub fn finish(self) -> Option<BmapFault> {
        let (stated, found) = (self.bmap.content_len, self.position);
        if stated != found {
            return Some(BmapFault::Len { stated, found });
        }
        self.first_wrong.map(BmapFault::Range)
    }
}

/// How content differs from its block map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BmapFault {
    /// It has another length. Both in bytes.
    Len {
        /// What the map states.
        stated: u64,
        /// How much there is.
        found: u64,
    },
    /// A range has another checksum: the first one that does.
    Range(Extent),
}

impl std::fmt::Display for BmapFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Len { stated, found } => write!(
                f,
                "the block map is of an image of {stated} bytes, and this one has {found}"
            ),
            Self::Range(extent) => write!(f, "the content at {extent} has another SHA-256"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bmap, BmapCheck, BmapFault};
    use crate::Error;
    use cardkeep_block::Extent;
    use sha2::{Digest, Sha256};

    const CONTENT: &[u8] = &[5; 10_001];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A map of the first block, and of the third and the last one.
    fn file(replace: &[(&str, &str)]) -> String {
        let first = hex(&Sha256::digest(&CONTENT[..4096]));
        let last = hex(&Sha256::digest(&CONTENT[8192..]));
        let mut text = format!(
            "<?xml version=\"1.0\" ?><!-- a & b --><bmap version=\"2.0\">
<ImageSize> 10001 </ImageSize><BlockSize> 4096 </BlockSize><BlocksCount> 3 </BlocksCount>
<ChecksumType> sha256 </ChecksumType><BmapFileChecksum> {} </BmapFileChecksum>
<BlockMap><Range chksum=\"{first}\"> 0 </Range><Range chksum=\"{last}\"> 2-2 </Range></BlockMap></bmap>",
            "0".repeat(64)
        );
        for (from, to) in replace {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let own = hex(&Sha256::digest(text.as_bytes()));
        text.replacen(&"0".repeat(64), &own, 1)
    }

    fn parse(text: &str) -> Result<Option<Bmap>, Error> {
        Bmap::parse(text.as_bytes())
    }

    fn fault(content: &[u8], piece_len: usize) -> Option<BmapFault> {
        let mut check = BmapCheck::new(parse(&file(&[])).unwrap().unwrap());
        for piece in content.chunks(piece_len) {
            check.push(piece);
        }
        check.finish()
    }

    #[test]
    fn content_is_compared_range_by_range_however_it_comes() {
        for piece_len in [1000, 4096, 5000, 20_000] {
            assert_eq!(fault(CONTENT, piece_len), None);
            let mut wrong = CONTENT.to_vec();
            // No range holds it.
            wrong[5000] = 6;
            assert_eq!(fault(&wrong, piece_len), None);
            wrong[10_000] = 6;
            let last = Extent::between(8192, 10_001);
            assert_eq!(fault(&wrong, piece_len), Some(BmapFault::Range(last)));
            let (stated, found) = (10_001, 9000);
            let short = fault(&CONTENT[..9000], piece_len);
            assert_eq!(short, Some(BmapFault::Len { stated, found }));
        }
    }

    #[test]
    fn what_is_no_block_map_is_none() {
        for text in [
            "",
            "BM\u{1}\u{2}",
            "<html></html>",
            "<!DOCTYPE html><p>",
            "<a><b>",
        ] {
            assert_eq!(parse(text).unwrap(), None, "{text}");
        }
        assert_eq!(Bmap::parse(&[0xff, 0xd8]).unwrap(), None);
    }

    #[test]
    fn block_maps_that_contradict_themselves_are_damaged() {
        for replace in [
            (" 0 <", " 3 <"),
            (" 0 <", " 2 <"),
            (" 0 <", " 1-0 <"),
            (" 0 <", " -1 <"),
            (" 2-2 <", " 2-99999999999999 <"),
            (" 3 <", " 4 <"),
            (" 4096 <", " 0 <"),
            (" 10001 <", " 99999999999999999999999 <"),
            (" 10001 <", " 18446744073709551615 <"),
            ("</bmap>", ""),
            ("<bmap version=\"2.0\">", "<bmap>&lol;"),
            ("</BlockMap>", "</Other>"),
        ] {
            let error = parse(&file(&[replace])).unwrap_err();
            assert!(matches!(error, Error::Corrupt(_)), "{replace:?}: {error}");
        }
        let torn = file(&[]).replace(" 4096 ", " 4097 ");
        let error = parse(&torn).unwrap_err();
        assert!(error.to_string().contains("of itself"), "{error}");
        let deep = format!("<bmap>{}", "<a>".repeat(100_000));
        parse(&deep).unwrap_err();
    }

    #[test]
    fn a_block_map_without_sha256_is_told_as_that() {
        for replace in [("> sha256 <", "> sha1 <"), ("chksum=", "sha1=")] {
            let error = parse(&file(&[replace])).unwrap_err();
            assert!(matches!(error, Error::Unsupported(_)), "{error}");
        }
    }
}
