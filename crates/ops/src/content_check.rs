//! What is stated of an image, held against it: a SHA-256 of the file or of its content, and a block map
//! beside it.
//!
//! Main types: [`Stated`], what there is to compare with, and [`ContentCheck`], which sees the content pass.

use std::path::{Path, PathBuf};

use cardkeep_block::{Extent, Monitor, Phase, ReadAt, path_text};
use cardkeep_device::{Source, TextFile};
use cardkeep_image::{BMAP_BYTES_MAX, Bmap, BmapCheck, Error as ImageError, FRAME_BYTES};
use sha2::{Digest, Sha256};

use crate::checksum::{Checksum, hex_text};
use crate::error::{OpError, OpErrorKind};

/// What is stated of an image, by the user or by files beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stated {
    sum: Option<Checksum>,
    bmap: Option<BlockMap>,
    notes: Vec<String>,
}

/// A block map, and the file that it comes from.
#[derive(Clone, Debug)]
struct BlockMap {
    path: PathBuf,
    bmap: Bmap,
}

impl Stated {
    /// Returns what the user gave, and what lies beside the image.
    ///
    /// # Errors
    /// [`OpErrorKind::Usage`] where what was given is no SHA-256, [`OpErrorKind::Corrupt`] for a block map
    /// that is damaged.
    pub(crate) fn of(image: &Path, given: Option<&str>) -> Result<Self, OpError> {
        let mut own = Self {
            sum: Checksum::of(image, given)?,
            ..Self::default()
        };
        for path in bmap_paths(image) {
            // One that is missing or can't be read states nothing.
            let Ok(Some(bytes)) = TextFile::new(&path).load(BMAP_BYTES_MAX) else {
                continue;
            };
            match Bmap::parse(&bytes) {
                Ok(None) => continue,
                Ok(Some(bmap)) => own.bmap = Some(BlockMap { path, bmap }),
                Err(ImageError::Unsupported(what)) => {
                    own.notes
                        .push(format!("{} is not used: {what}", path_text(&path)));
                }
                Err(error) => {
                    let message = format!("{} is damaged", path_text(&path));
                    return Err(OpError::new(OpErrorKind::Corrupt, message)
                        .hint("fetch it again, or move it away to go without it")
                        .caused_by(error));
                }
            }
            break;
        }
        Ok(own)
    }

    /// Reads all of the image file, `source`, where a checksum is stated. Returns what is left to be
    /// compared with its content. The path is not looked at: it may name another file by now.
    ///
    /// # Errors
    /// Errors of reading.
    pub(crate) fn check_file(
        &self,
        path: &Path,
        source: &Source,
        monitor: &dyn Monitor,
    ) -> Result<ContentCheck, OpError> {
        let mut notes = self.notes.clone();
        let mut sum = None;
        if let Some(stated) = &self.sum {
            let found = stated.digits_of_file(path, source, monitor)?;
            match stated.digits() == found {
                true => notes.push(format!(
                    "the image file has the SHA-256 {}",
                    stated.origin()
                )),
                false => {
                    sum = Some(ContentSum {
                        stated: stated.clone(),
                        file_digits: found,
                        sum: Sha256::new(),
                    });
                }
            }
        }
        let bmap = self.bmap.as_ref().map(|own| BmapPassing {
            path: own.path.clone(),
            bmap: own.bmap.clone(),
            check: BmapCheck::new(own.bmap.clone()),
        });
        Ok(ContentCheck {
            image: path.to_path_buf(),
            sum,
            bmap,
            notes,
        })
    }
}

/// Returns the names that a block map of an image may have, as bmaptool looks for it: the image's name
/// with fewer and fewer of its endings, and `.bmap`.
fn bmap_paths(image: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut stem = image.to_path_buf();
    loop {
        let mut name = stem.clone().into_os_string();
        name.push(".bmap");
        paths.push(PathBuf::from(name));
        if stem.extension().is_none() {
            return paths;
        }
        stem.set_extension("");
    }
}

/// What an image's content is compared with while it passes, or is read.
#[derive(Debug)]
pub(crate) struct ContentCheck {
    image: PathBuf,
    sum: Option<ContentSum>,
    bmap: Option<BmapPassing>,
    notes: Vec<String>,
}

/// A checksum that the file did not have: its content may.
#[derive(Debug)]
struct ContentSum {
    stated: Checksum,
    file_digits: String,
    sum: Sha256,
}

#[derive(Debug)]
struct BmapPassing {
    path: PathBuf,
    bmap: Bmap,
    check: BmapCheck,
}

impl ContentCheck {
    /// Returns what compares nothing.
    pub(crate) fn none() -> Self {
        Self {
            image: PathBuf::new(),
            sum: None,
            bmap: None,
            notes: Vec::new(),
        }
    }

    /// Refuses a file that is its own content and has another checksum.
    ///
    /// # Errors
    /// [`OpErrorKind::Mismatch`].
    pub(crate) fn expect_file(&self) -> Result<(), OpError> {
        self.file_mismatch().map_or(Ok(()), Err)
    }

    /// Returns the error of a file that has another checksum than it should: what is wrong with it otherwise
    /// is no wonder. Nothing where its checksum is right, or none is stated.
    pub(crate) fn file_mismatch(&self) -> Option<OpError> {
        self.sum.as_ref().map(|sum| sum.mismatch(&self.image, None))
    }

    /// Takes the next bytes of the content.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(sum) = &mut self.sum {
            sum.sum.update(bytes);
        }
        if let Some(bmap) = &mut self.bmap {
            bmap.check.push(bytes);
        }
    }

    /// Reads as much of `content` as has to be compared, and compares it. Returns what is right, in words.
    ///
    /// # Errors
    /// [`OpErrorKind::Mismatch`], and errors of reading.
    pub(crate) fn check_all(
        mut self,
        content: &dyn ReadAt,
        monitor: &dyn Monitor,
    ) -> Result<Vec<String>, OpError> {
        let places = self.places(content.len());
        if self.sum.is_some() || self.bmap.is_some() {
            let total = places.iter().map(|place| place.len()).sum();
            monitor.phase(Phase::Survey, Some(total));
        }
        let mut piece = vec![0; FRAME_BYTES];
        for place in places {
            let mut start = place.start();
            if let Some(bmap) = &mut self.bmap {
                bmap.check.skip_to(start);
            }
            while start < place.end() {
                if monitor.is_cancelled() {
                    return Err(OpError::new(OpErrorKind::Interrupted, "stopped"));
                }
                // OK to cast: at most FRAME_BYTES.
                let len = (place.end() - start).min(FRAME_BYTES as u64) as usize;
                content
                    .read_at(start, &mut piece[..len])
                    .map_err(|error| OpError::of_content(&self.image, error))?;
                self.push(&piece[..len]);
                monitor.advance(Phase::Survey, len as u64);
                start += len as u64;
            }
        }
        if let Some(bmap) = &mut self.bmap {
            bmap.check.skip_to(content.len());
        }
        self.finish()
    }

    /// Returns what of content of `len` bytes has to be read.
    fn places(&self, len: u64) -> Vec<Extent> {
        let whole = Extent::between(0, len);
        match (&self.sum, &self.bmap) {
            (Some(_), _) => vec![whole],
            (None, Some(own)) => {
                let ranges = own.bmap.ranges().iter();
                ranges
                    .map(|range| range.extent.intersection(whole))
                    .collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// Compares what has passed: all of the content. Returns what is right, in words.
    ///
    /// # Errors
    /// [`OpErrorKind::Mismatch`].
    pub(crate) fn finish(mut self) -> Result<Vec<String>, OpError> {
        if let Some(mut sum) = self.sum.take() {
            let found = hex_text(&sum.sum.finalize_reset());
            if found != sum.stated.digits() {
                return Err(sum.mismatch(&self.image, Some(&found)));
            }
            let origin = sum.stated.origin();
            let note =
                format!("the image's content has the SHA-256 {origin}; the file has another");
            self.notes.push(note);
        }
        let Some(BmapPassing { path, bmap, check }) = self.bmap.take() else {
            return Ok(self.notes);
        };
        let map = path_text(&path).to_string();
        if let Some(fault) = check.finish() {
            let message = format!("{} is not what {map} says", path_text(&self.image));
            return Err(OpError::new(OpErrorKind::Mismatch, message)
                .hint("one of them is damaged or of another version: fetch both again")
                .caused_by(fault.to_string()));
        }
        let count = bmap.ranges().len();
        self.notes.push(format!(
            "the image's content has the {count} checksums that {map} states"
        ));
        Ok(self.notes)
    }
}

impl ContentSum {
    /// Returns the error of an image that does not have the checksum; `content` is that of its content, where
    /// that is not the file itself.
    fn mismatch(&self, image: &Path, content: Option<&str>) -> OpError {
        let (shown, origin) = (path_text(image), self.stated.origin());
        let message = format!("{shown} does not have the SHA-256 {origin}");
        let (expected, file) = (self.stated.digits(), &self.file_digits);
        let found = match content {
            None => format!("expected {expected}, found {file}"),
            Some(content) => {
                format!(
                    "expected {expected}, found {file} of the file and {content} of its content"
                )
            }
        };
        OpError::new(OpErrorKind::Mismatch, message)
            .hint(found)
            .hint("the download is damaged, or it is another version: download it again")
    }
}

/// Returns the error of an image that could not be opened; where its checksum is wrong, that is told instead.
pub(crate) fn or_mismatch(error: OpError, mismatch: Option<OpError>) -> OpError {
    let is_of_content = matches!(error.kind, OpErrorKind::Corrupt | OpErrorKind::Usage);
    mismatch.filter(|_| is_of_content).unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::bmap_paths;
    use std::path::{Path, PathBuf};

    #[test]
    fn block_maps_are_looked_for_as_bmaptool_does() {
        let expected = ["a.b/pi.img.xz.bmap", "a.b/pi.img.bmap", "a.b/pi.bmap"];
        let expected = expected.map(PathBuf::from);
        assert_eq!(bmap_paths(Path::new("a.b/pi.img.xz")), expected);
    }
}
