//! The manifest: what an image says about the medium it holds. `docs/format/image.md` is normative.
//!
//! It is JSON, so that it can be read with ordinary tools. Fields that a reader doesn't know are
//! ignored; a higher `version` is refused, because it means that a known field changed.

use std::collections::TryReserveError;
use std::fmt;
use std::marker::PhantomData;

use cardkeep_block::{AllocationMap, Extent, State};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{CorruptKind, UnsupportedKind};
use crate::run_list::RunList;
use crate::{Error, FRAME_BYTES, FrameDigest, ImageDigest, zero_digest};

const FORMAT: &str = "cardkeep-image";
const VERSION: u32 = 1;
const DIGEST_ALGORITHM: &str = "blake3";
/// Bounds what a frame costs a reader; nothing in the format depends on it.
pub(crate) const FRAME_BYTES_MAX: u64 = 64 << 20;
/// 16 TiB in frames of [`FRAME_BYTES`]: the table of so many takes 160 MB of memory.
pub(crate) const FRAMES_MAX: usize = 4 << 20;
/// The longest medium that an image with an index can hold, in bytes: 16 TiB.
pub const INDEXED_BYTES_MAX: u64 = FRAMES_MAX as u64 * FRAME_BYTES as u64;
/// A GPT has 128 entries, an MBR's chain rarely 20.
const PARTITIONS_MAX: usize = 4096;
const NOTES_MAX: usize = 4096;
/// The most extents that a manifest may call lost.
///
/// As many as a rescue map can tell apart; a writer that has more joins neighbours.
pub const LOST_MAX: usize = 1 << 19;

/// What an image says about the medium it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// Name and version of the program that made the image, as in `cardkeep 1.2.3`.
    pub tool: String,
    /// The medium's logical sector size in bytes.
    pub sector_bytes: u32,
    /// Bytes of the medium's address space per frame; the last one may be shorter.
    pub frame_bytes: u64,
    /// Whether all was copied, whatever the filesystems say.
    pub everything: bool,
    /// Whether all known filesystems were unmounted cleanly; `None` where nobody looked.
    pub clean: Option<bool>,
    /// What the medium was, as far as it was known.
    pub source: SourceIdentity,
    /// The medium's partitions in the order of their table.
    pub partitions: Vec<PartitionEntry>,
    /// Which bytes matter. Its length is that of the medium.
    pub map: AllocationMap,
    /// The digest of each frame's content; `None` for frames without a `Used` byte. Bytes of a
    /// frame that are not `Used` count as zeros.
    pub frames: Vec<Option<FrameDigest>>,
    /// Remarks for people, such as what could not be read.
    pub notes: Vec<String>,
    /// Used bytes that could not be read, in address order: the image has zeros there.
    pub lost: Vec<Extent>,
}

/// What the medium of an image was, as far as it was known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceIdentity {
    /// The id in the partition table: an MBR's disk signature or a GPT's disk GUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_id: Option<String>,
    /// The device's vendor and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The device's serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The operating system, as its os-release calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// A partition of an image's medium.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Its number, from 1.
    pub number: u32,
    /// Where it begins on the medium, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its type in the partition table: two hexadecimal digits (MBR) or a GUID (GPT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The filesystem's name in lower case, as in `ext4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs: Option<String>,
    /// The filesystem's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The filesystem's UUID or volume id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// Enough of a manifest to know whether the rest can be understood.
#[derive(Deserialize)]
struct Heading<'a> {
    #[serde(borrow)]
    format: std::borrow::Cow<'a, str>,
    version: u32,
}

/// The JSON document, borrowing what can be large.
#[derive(Serialize)]
struct DocumentOut<'a> {
    format: &'static str,
    version: u32,
    tool: &'a str,
    len: u64,
    sector_bytes: u32,
    frame_bytes: u64,
    everything: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    clean: Option<bool>,
    source: &'a SourceIdentity,
    partitions: &'a [PartitionEntry],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<(u64, u64)>,
    digest_algorithm: &'static str,
    image_digest: FrameDigest,
    map: RunList<'a>,
    frames: &'a [Option<FrameDigest>],
}

#[derive(Deserialize)]
struct DocumentIn<'a> {
    tool: String,
    len: u64,
    sector_bytes: u32,
    frame_bytes: u64,
    everything: bool,
    clean: Option<bool>,
    #[serde(default)]
    source: SourceIdentity,
    #[serde(deserialize_with = "at_most::<_, _, PARTITIONS_MAX>")]
    partitions: Vec<PartitionEntry>,
    #[serde(default, deserialize_with = "at_most::<_, _, NOTES_MAX>")]
    notes: Vec<String>,
    #[serde(default, deserialize_with = "at_most::<_, _, LOST_MAX>")]
    lost: Vec<(u64, u64)>,
    #[serde(borrow)]
    digest_algorithm: std::borrow::Cow<'a, str>,
    image_digest: FrameDigest,
    #[serde(borrow)]
    map: RunList<'a>,
    #[serde(deserialize_with = "at_most::<_, _, FRAMES_MAX>")]
    frames: Vec<Option<FrameDigest>>,
}

impl Manifest {
    /// Returns the manifest of a medium with sectors of 512 bytes, frames of [`FRAME_BYTES`] and
    /// nothing known about its source.
    #[must_use]
    pub fn new(
        tool: impl Into<String>,
        map: AllocationMap,
        frames: Vec<Option<FrameDigest>>,
    ) -> Self {
        Self {
            tool: tool.into(),
            sector_bytes: 512,
            frame_bytes: FRAME_BYTES as u64,
            everything: false,
            clean: None,
            source: SourceIdentity::default(),
            partitions: Vec::new(),
            map,
            frames,
            notes: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Returns the digest of the whole image: [`ImageDigest`] over the digests of all frames,
    /// where a frame without one counts as zeros.
    #[must_use]
    pub fn image_digest(&self) -> FrameDigest {
        let zero_frame = zero_digest(self.frame_extent(0).len());
        let mut digest = ImageDigest::new();
        for (index, frame) in self.frames.iter().enumerate() {
            let len = self.frame_extent(index).len();
            match frame {
                Some(frame) => digest.add(frame),
                None if len == self.frame_bytes => digest.add(&zero_frame),
                None => digest.add(&zero_digest(len)),
            }
        }
        digest.finish()
    }

    /// Returns the part of the medium that the frame holds; empty for a frame past the end.
    #[must_use]
    pub fn frame_extent(&self, index: usize) -> Extent {
        let start = (index as u64).saturating_mul(self.frame_bytes);
        let end = start.saturating_add(self.frame_bytes);
        Extent::between(start.min(self.map.len()), end.min(self.map.len()))
    }

    /// Returns the JSON text. The same manifest gives the same text.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where frames, digests and map don't fit each other.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        self.validate()?;
        let document = DocumentOut {
            format: FORMAT,
            version: VERSION,
            tool: &self.tool,
            len: self.map.len(),
            sector_bytes: self.sector_bytes,
            frame_bytes: self.frame_bytes,
            everything: self.everything,
            clean: self.clean,
            source: &self.source,
            partitions: &self.partitions,
            notes: &self.notes,
            lost: self
                .lost
                .iter()
                .map(|lost| (lost.start(), lost.len()))
                .collect(),
            digest_algorithm: DIGEST_ALGORITHM,
            image_digest: self.image_digest(),
            map: RunList::from_map(&self.map),
            frames: &self.frames,
        };
        let mut json = serde_json::to_vec(&document).map_err(|error| corrupt(error.to_string()))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Returns the manifest that `json` holds.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it has a higher version; [`Error::Corrupt`] where a field is
    /// missing or contradicts another.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let heading: Heading<'_> = from_json(json)?;
        if heading.format != FORMAT {
            return Err(corrupt("it is of another format".to_owned()));
        }
        if heading.version > VERSION {
            let kind = UnsupportedKind::ManifestVersion(heading.version);
            return Err(Error::unsupported(kind));
        }
        let document: DocumentIn<'_> = from_json(json)?;
        if document.digest_algorithm != DIGEST_ALGORITHM {
            return Err(corrupt("its digest algorithm is unknown".to_owned()));
        }
        let map = document.map.to_map(document.len);
        let manifest = Self {
            tool: document.tool,
            sector_bytes: document.sector_bytes,
            frame_bytes: document.frame_bytes,
            everything: document.everything,
            clean: document.clean,
            source: document.source,
            partitions: document.partitions,
            map: map.map_err(|what| corrupt(what.to_owned()))?,
            frames: document.frames,
            notes: document.notes,
            lost: extents(&document.lost)?,
        };
        manifest.validate()?;
        if manifest.image_digest() != document.image_digest {
            let what = "the image digest is not that of the frame digests";
            return Err(corrupt(what.to_owned()));
        }
        Ok(manifest)
    }

    /// Checks that the frames tile the medium and that exactly those with a `Used` byte have a
    /// digest.
    fn validate(&self) -> Result<(), Error> {
        let fail = |what: &str| Err(corrupt(what.to_owned()));
        if self.frame_bytes == 0 || self.frame_bytes > FRAME_BYTES_MAX {
            return fail("the frame size is out of range");
        }
        if self.map.len().div_ceil(self.frame_bytes) != self.frames.len() as u64 {
            return fail("the number of frame digests does not fit the medium's length");
        }
        let mut used = self.map.extents(State::Used).peekable();
        for (index, frame) in self.frames.iter().enumerate() {
            let extent = self.frame_extent(index);
            while used.next_if(|run| run.end() <= extent.start()).is_some() {}
            let holds_used = used.peek().is_some_and(|run| run.start() < extent.end());
            if holds_used != frame.is_some() {
                return fail("a frame has a digest and no used byte, or the reverse");
            }
        }
        self.validate_lost()
    }

    /// Checks that what is lost lies on the medium, in address order.
    fn validate_lost(&self) -> Result<(), Error> {
        let mut end = 0;
        for lost in &self.lost {
            if lost.is_empty() || lost.start() < end || lost.end() > self.map.len() {
                return Err(corrupt("the lost extents are out of order".to_owned()));
            }
            end = lost.end();
        }
        if self.lost.len() > LOST_MAX {
            return Err(corrupt("there are too many lost extents".to_owned()));
        }
        Ok(())
    }
}

fn extents(pairs: &[(u64, u64)]) -> Result<Vec<Extent>, Error> {
    let extents = pairs.iter().map(|&(start, len)| {
        Extent::new(start, len).ok_or_else(|| corrupt("a lost extent has no end".to_owned()))
    });
    extents.collect()
}

fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))
}

fn corrupt(what: String) -> Error {
    Error::corrupt(CorruptKind::Manifest(what))
}

/// Deserializes a list that may have up to `MAX` entries: a hostile one must not take memory
/// many times its own length.
fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} entries")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element()? {
                if entries.len() == MAX {
                    return Err(A::Error::invalid_length(MAX, &self));
                }
                let grown: Result<(), TryReserveError> = entries.try_reserve(1);
                grown.map_err(A::Error::custom)?;
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::{Manifest, PartitionEntry};
    use crate::{Error, FrameDigest, zero_digest};
    use cardkeep_block::{Extent, MapBuilder, State};

    fn sample() -> Manifest {
        let mut builder = MapBuilder::new(9 << 20);
        builder.push(1 << 20, State::Used);
        builder.push(1 << 20, State::Zero);
        builder.push(6 << 20, State::Free);
        builder.push(1 << 20, State::Used);
        let frames = vec![
            Some(FrameDigest::of(b"one")),
            None,
            Some(FrameDigest::of(b"three")),
        ];
        let mut manifest = Manifest::new("cardkeep 0.1.0", builder.finish(State::Used), frames);
        manifest.clean = Some(true);
        manifest.source.hostname = Some("raspberrypi".to_owned());
        manifest.partitions.push(PartitionEntry {
            number: 1,
            start: 1 << 20,
            len: 8 << 20,
            fs: Some("ext4".to_owned()),
            ..PartitionEntry::default()
        });
        manifest
    }

    fn text(manifest: &Manifest) -> String {
        String::from_utf8(manifest.to_json().unwrap()).unwrap()
    }

    fn error_of(json: &str) -> Error {
        Manifest::parse(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_manifest_survives_the_round_trip() {
        let manifest = sample();
        assert_eq!(
            Manifest::parse(&manifest.to_json().unwrap()).unwrap(),
            manifest
        );
    }

    #[test]
    fn what_was_lost_is_told_and_costs_nothing_where_nothing_was() {
        assert!(!text(&sample()).contains("lost"));
        let mut manifest = sample();
        manifest.lost = vec![
            Extent::between(512, 1024),
            Extent::between(8 << 20, 9 << 20),
        ];
        let json = text(&manifest);
        assert!(
            json.contains("\"lost\":[[512,512],[8388608,1048576]]"),
            "{json}"
        );
        assert_eq!(Manifest::parse(json.as_bytes()).unwrap(), manifest);
        for wrong in [
            "[[512,0]]",
            "[[1024,512],[512,512]]",
            "[[9437184,1]]",
            "[[1,18446744073709551615]]",
        ] {
            let json = json.replacen("[[512,512],[8388608,1048576]]", wrong, 1);
            assert!(error_of(&json).to_string().contains("lost"), "{wrong}");
        }
    }

    #[test]
    fn frames_without_used_bytes_count_as_zeros_in_the_image_digest() {
        let manifest = sample();
        let frames = manifest.frames.clone();
        let digests = [frames[0].unwrap(), zero_digest(4 << 20), frames[2].unwrap()];
        let joined: Vec<u8> = digests.iter().flat_map(|d| *d.as_bytes()).collect();
        assert_eq!(manifest.image_digest(), FrameDigest::of(&joined));
    }

    #[test]
    fn unknown_fields_are_ignored_and_higher_versions_refused() {
        let json = text(&sample());
        let more = json.replacen("\"tool\"", "\"colour\":[1,{\"a\":null}],\"tool\"", 1);
        assert_eq!(Manifest::parse(more.as_bytes()).unwrap(), sample());
        let newer = json.replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(error_of(&newer), Error::Unsupported(_)));
        let other = json.replacen("cardkeep-image", "another", 1);
        assert!(matches!(error_of(&other), Error::Corrupt(_)));
    }

    #[test]
    fn contradictions_are_found() {
        let json = text(&sample());
        for (from, to, what) in [
            ("\"len\":9437184", "\"len\":9437185", "runs end before"),
            (
                "\"frame_bytes\":4194304",
                "\"frame_bytes\":2097152",
                "number of frame",
            ),
            ("\"frame_bytes\":4194304", "\"frame_bytes\":0", "frame size"),
            (
                "\"runs\":\"U1Z1F6U1\"",
                "\"runs\":\"U1Z1F2U1F3U1\"",
                "no used byte",
            ),
            (
                "\"runs\":\"U1Z1F6U1\"",
                "\"runs\":\"U1Z1F7\"",
                "no used byte",
            ),
            ("\"image_digest\":\"", "\"image_digest\":\"0", "hexadecimal"),
            ("blake3", "md5", "algorithm"),
            ("\"tool\":", "\"tol\":", "missing field"),
        ] {
            assert!(json.contains(from), "{from} in {json}");
            let message = error_of(&json.replacen(from, to, 1)).to_string();
            assert!(message.contains(what), "{message}");
        }
        let changed = FrameDigest::of(b"two").to_string();
        let json = json.replacen(&FrameDigest::of(b"one").to_string(), &changed, 1);
        assert!(error_of(&json).to_string().contains("image digest"));
    }
}
