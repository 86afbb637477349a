//! An image, read by nobody's code but the test's own and `zstd`.
//!
//! The manifest is found by its tag, not by the program's reader, so that the two can disagree.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::Tool;
use serde_json::Value;

use crate::card::{Card, STALE_TARGET};
use crate::program::{Answer, cardkeep};

const TAG: &[u8; 8] = b"cardkeep";
const SKIPPABLE_MAGIC_LOW: u32 = 0x184D_2A50;
const COPY_BYTES: u64 = 1 << 20;

/// A state as the manifest writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Used,
    Zero,
    Free,
}

/// What a backup made.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    /// The whole medium, in address order.
    pub(crate) runs: Vec<(State, Extent)>,
    pub(crate) answer: Answer,
}

/// Backs a card up through a loop device, and expects the exit code.
pub(crate) fn back_up(card: &Card, options: &[&str], code: i32) -> Image {
    let path = card.beside("backup.img.zst");
    let device = card.device();
    let mut arguments = vec!["backup".into(), device.path().into(), path.clone()];
    arguments.extend(options.iter().map(PathBuf::from));
    let answer = cardkeep(&arguments).expect(code);
    let runs = runs(&manifest(&path));
    Image { path, runs, answer }
}

impl Image {
    /// Returns the extents of one state in address order.
    pub(crate) fn extents(&self, state: State) -> impl Iterator<Item = Extent> + '_ {
        let of_state = self.runs.iter().filter(move |(own, _)| *own == state);
        of_state.map(|(_, extent)| *extent)
    }

    /// Returns how many bytes within `window` are in `state`.
    pub(crate) fn bytes_in(&self, state: State, window: Extent) -> u64 {
        self.extents(state)
            .map(|extent| extent.intersection(window).len())
            .sum()
    }

    /// Lets `zstd` decompress the image, next to it.
    pub(crate) fn decompressed(&self) -> PathBuf {
        let raw = self.path.with_extension("raw");
        let paths = [&self.path, &raw];
        Tool::new("zstd")
            .args(["-dqf", "--no-progress"])
            .arg(paths[0])
            .arg("-o")
            .arg(&raw)
            .run();
        raw
    }

    /// Puts the map's used and zero extents, and nothing else, onto a card full of stale bytes.
    pub(crate) fn rebuilt(&self, like: &Card) -> Card {
        let len = std::fs::metadata(like.file())
            .expect("the card's file")
            .len();
        let target = Card::stale(len, STALE_TARGET, like.partitions().to_vec());
        self.lay_onto(&target);
        target
    }

    /// Puts the map's used and zero extents, and nothing else, onto `target`.
    pub(crate) fn lay_onto(&self, target: &Card) {
        let raw = self.decompressed();
        let mut from = File::open(&raw).expect("the decompressed image");
        let mut to = File::options()
            .write(true)
            .open(target.file())
            .expect("the target");
        let len = to.metadata().expect("the target").len();
        assert_eq!(
            from.metadata().expect("the image").len(),
            len,
            "the image's length"
        );
        for (state, extent) in &self.runs {
            match state {
                State::Free => {}
                State::Used => copy(&mut from, &mut to, *extent),
                State::Zero => copy(&mut std::io::repeat(0), &mut to, *extent),
            }
        }
        std::fs::remove_file(raw).expect("the decompressed image");
    }
}

/// Where a reader of an extent's bytes stands.
trait Positioned: Read {
    fn go_to(&mut self, offset: u64);
}

impl Positioned for File {
    fn go_to(&mut self, offset: u64) {
        self.seek(SeekFrom::Start(offset))
            .expect("within the image");
    }
}

impl Positioned for std::io::Repeat {
    fn go_to(&mut self, _: u64) {}
}

fn copy(from: &mut impl Positioned, to: &mut File, extent: Extent) {
    from.go_to(extent.start());
    to.seek(SeekFrom::Start(extent.start()))
        .expect("within the card");
    let mut buffer = vec![0; usize::try_from(COPY_BYTES.min(extent.len())).expect("fits")];
    let mut left = extent.len();
    while left > 0 {
        let part = usize::try_from(left.min(COPY_BYTES)).expect("fits");
        from.read_exact(&mut buffer[..part])
            .expect("the image is whole");
        to.write_all(&buffer[..part]).expect("room on the card");
        left -= part as u64;
    }
}

/// Finds the skippable frame whose content begins with the tag, and parses the JSON in it.
fn manifest(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("the image");
    let starts = (0..bytes.len().saturating_sub(16)).rev();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let is_ours = |at: &usize| {
        &bytes[at + 8..at + 16] == TAG && word(*at) & 0xFFFF_FFF0 == SKIPPABLE_MAGIC_LOW
    };
    let start = starts
        .into_iter()
        .find(is_ours)
        .expect("a skippable frame of cardkeep's");
    let body = &bytes[start + 16..start + 8 + word(start + 4) as usize];
    // A digest follows the JSON: take the first whole value.
    let mut values = serde_json::Deserializer::from_slice(body).into_iter();
    values.next().expect("a value").expect("JSON")
}

/// Spells out `{"unit_bytes":4096,"runs":"U1024F3Z16"}`.
fn runs(manifest: &Value) -> Vec<(State, Extent)> {
    let unit = manifest["map"]["unit_bytes"].as_u64().expect("unit_bytes");
    let text = manifest["map"]["runs"].as_str().expect("runs");
    let mut runs = Vec::new();
    let mut end = 0;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let state = match letter {
            'U' => State::Used,
            'Z' => State::Zero,
            'F' => State::Free,
            other => panic!("the map has a state `{other}`"),
        };
        let digits = &rest[1..];
        let digits_end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        let count: u64 = digits[..digits_end].parse().expect("a count");
        rest = &digits[digits_end..];
        runs.push((state, Extent::between(end, end + count * unit)));
        end += count * unit;
    }
    assert_eq!(
        Some(end),
        manifest["len"].as_u64(),
        "the map covers the medium"
    );
    runs
}
