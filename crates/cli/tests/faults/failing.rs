//! A card to be backed up that fails: the built-in sample card on a device that obeys.

use std::fs;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{FaultDisk, SectorSize, Tool, skip_unless_fuse, skip_unless_tools};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Answer, Running, cardkeep};

/// A card to be backed up, and what an image of it holds when it does not fail.
pub(crate) struct Failing {
    folder: TempDir,
    pub(crate) disk: FaultDisk,
    /// The sound card, with what is free on it.
    raw: Vec<u8>,
    /// The content of the image of the sound card.
    pub(crate) sound: Vec<u8>,
    /// What of it is used, in address order.
    pub(crate) used: Vec<Extent>,
}

impl Failing {
    /// Makes the card; `None` where the test has to return at once, aloud.
    pub(crate) fn new(test: &str) -> Option<Self> {
        Self::made(test, |file| {
            cardkeep(["sample".as_ref(), file]).expect(0);
        })
    }

    /// Makes a card of what `make` puts into a file.
    pub(crate) fn made(test: &str, make: impl FnOnce(&Path)) -> Option<Self> {
        if skip_unless_fuse(test) || skip_unless_tools(test, &["zstd"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sample.img");
        make(&file);
        let sound = folder.path().join("sound.img");
        let words = [
            "backup".into(),
            file.clone(),
            sound.clone(),
            "--quiet".into(),
        ];
        cardkeep(words as [PathBuf; 4]).expect(0);
        let words = ["info".into(), file.clone(), "--json".into()] as [PathBuf; 3];
        let info = cardkeep(words).expect(0).json();
        let pairs = info["map"]["used"].as_array().unwrap().iter();
        let used = pairs.map(|pair| {
            let start = pair[0].as_u64().unwrap();
            Extent::between(start, start + pair[1].as_u64().unwrap())
        });
        Some(Self {
            used: used.collect(),
            raw: fs::read(&file).unwrap(),
            sound: fs::read(sound).unwrap(),
            disk: FaultDisk::over(&file, SectorSize::Bytes512).unwrap(),
            folder,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the words that back the card up.
    pub(crate) fn words(&self, image: &Path, options: &[&str]) -> Vec<PathBuf> {
        let mut words: Vec<PathBuf> = vec!["backup".into(), self.disk.path().into(), image.into()];
        words.extend(["--json", "--quiet"].map(PathBuf::from));
        if !options.iter().any(|option| option.starts_with("--wait")) {
            words.push("--wait-for-card=0".into());
        }
        words.extend(options.iter().map(PathBuf::from));
        words
    }

    pub(crate) fn back_up(&self, image: &Path, options: &[&str]) -> Answer {
        cardkeep(self.words(image, options))
    }

    pub(crate) fn start(&self, image: &Path, options: &[&str]) -> Running {
        Running::start(self.words(image, options))
    }

    /// Returns how many bytes are used.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used.iter().map(|extent| extent.len()).sum()
    }

    /// Returns a used extent of at least `len` bytes: that of the `index`-th such one, cut.
    pub(crate) fn used_place(&self, index: usize, len: u64) -> Extent {
        let long = self.used.iter().filter(|extent| extent.len() >= 2 * len);
        let extent = long.clone().nth(index % long.count()).unwrap();
        let start = (extent.start() + extent.len() / 2) / 512 * 512;
        Extent::between(start, start + len)
    }

    /// Asserts that an image holds the card, but zeros in the places that `answer` calls lost.
    /// Returns those places.
    pub(crate) fn judge(&self, image: &Path, answer: &Answer) -> Vec<Extent> {
        let lost: Vec<Extent> = places(&answer.json()["lost"]);
        self.assert_holds(&content(image), &lost, &image.display().to_string());
        lost
    }

    /// Asserts that `found` is the card's content, but zeros in the places that are `lost`. What is free
    /// may have been copied: where a bitmap can't be read, nothing proves it free.
    pub(crate) fn assert_holds(&self, found: &[u8], lost: &[Extent], what: &str) {
        if found == self.sound && lost.is_empty() {
            return;
        }
        assert_eq!(found.len(), self.sound.len(), "{what}");
        let mut expected = self.sound.clone();
        let mut is_free = vec![true; found.len()];
        for extent in &self.used {
            is_free[extent.start() as usize..extent.end() as usize].fill(false);
        }
        for extent in lost {
            expected[extent.start() as usize..extent.end() as usize].fill(0);
        }
        let is_right = |at: usize| {
            found[at] == expected[at]
                || is_free[at] && (found[at] == self.raw[at] || found[at] == 0)
        };
        let wrong = (0..found.len()).find(|&at| !is_right(at));
        assert_eq!(wrong, None, "{what}, lost: {lost:?}");
    }

    /// Asserts that nothing is left beside an image that is whole.
    pub(crate) fn assert_nothing_left(&self, image: &Path) {
        for ending in [".partial", ".rescue", ".map", ".map.old"] {
            let mut name = image.as_os_str().to_owned();
            name.push(ending);
            assert!(!Path::new(&name).exists(), "{} is left", name.display());
        }
    }
}

/// Returns the places of a list, joined where they overlap or meet: what has two names is there twice.
pub(crate) fn places(list: &Value) -> Vec<Extent> {
    let list = list.as_array().unwrap().iter();
    let extents = list.map(|place| {
        let (start, len) = (place["start"].as_u64(), place["len"].as_u64());
        Extent::between(start.unwrap(), start.unwrap() + len.unwrap())
    });
    let mut all: Vec<Extent> = Vec::new();
    for extent in extents {
        match all.last_mut() {
            Some(last) if extent.start() <= last.end() => {
                *last = Extent::between(last.start(), last.end().max(extent.end()));
            }
            _ => all.push(extent),
        }
    }
    all
}

/// Returns what is in an image, as `zstd` reads it.
pub(crate) fn content(image: &Path) -> Vec<u8> {
    if image.extension() == Some("img".as_ref()) {
        return fs::read(image).unwrap();
    }
    let raw = image.with_extension("unpacked");
    Tool::new("zstd")
        .args(["-q", "-d", "-f", "-o"])
        .arg(&raw)
        .arg(image)
        .run();
    fs::read(raw).unwrap()
}
