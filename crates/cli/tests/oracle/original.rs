//! What is restored, with all that is known of it, and the judgements passed on what it became.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{Likeness, Tool, Tree, skip_unless_root, skip_unless_tools};

use crate::card::{Card, MIB, STALE_TARGET, Table};
use crate::fat;
use crate::image::State;
use crate::life;
use crate::program::{Answer, cardkeep};

const TOOLS: [&str; 5] = ["mke2fs", "e2fsck", "sfdisk", "sgdisk", "zstd"];
/// Header and entries of a GPT, in bytes: 33 sectors.
const GPT_BYTES: u64 = 33 * 512;

/// Tells whether a test of restoring has to return at once, aloud.
pub(crate) fn skipped(test: &str) -> bool {
    skip_unless_root(test)
        || skip_unless_tools(test, &TOOLS)
        || skip_unless_tools(test, &fat::TOOLS)
}

/// What may lie on the target where the original has nothing that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// What lay there before.
    LeftAlone,
    /// That, or what the original has there: not all that is free shows in passing.
    OrCopied,
    /// That, or the zeros that our images have there.
    OrZeros,
}

/// A card to be restored elsewhere.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) card: Card,
    table: Table,
    bytes: Vec<u8>,
    /// The whole card in address order, as `cardkeep info` says.
    runs: Vec<(State, Extent)>,
    tree: Tree,
}

impl Original {
    /// Makes a card as a Raspberry Pi has it: FAT32, then an ext4 that was lived in.
    pub(crate) fn pi(table: Table) -> Self {
        Self::with_ext(table, "")
    }

    /// Makes such a card whose ext4 leaves the last 8 MiB of its partition to nobody.
    pub(crate) fn with_slack(table: Table) -> Self {
        Self::with_ext(table, "40M")
    }

    /// Makes such a card whose ext4 is as large as `mke2fs` takes it.
    fn with_ext(table: Table, size: &str) -> Self {
        let card = Card::new(table, &[40, 48]);
        fat::format(&card, 0, &["-F", "32", "-s", "1"]);
        {
            let device = card.partition(1);
            let words = ["-q", "-F", "-E", "nodiscard", "-t", "ext4"];
            Tool::new("mke2fs")
                .args(words)
                .args(["-O", "^64bit,^huge_file"])
                .arg(device.path())
                .args(Some(size).filter(|size| !size.is_empty()))
                .run();
            life::age(device.path(), "noatime", 2, 300);
        }
        Self::known(card, table)
    }

    /// Learns all about a card whose second partition is an ext4.
    pub(crate) fn known(card: Card, table: Table) -> Self {
        Self {
            bytes: std::fs::read(card.file()).unwrap(),
            runs: runs_of(&card),
            tree: life::tree(card.partition(1).path(), "ro"),
            card,
            table,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns a card of `len` bytes, stale all over, with partitions where the original has them.
    pub(crate) fn target(&self, len: u64) -> Card {
        let whole = Extent::between(0, len);
        let partitions = self.card.partitions().iter();
        let partitions = partitions.map(|extent| extent.intersection(whole));
        Card::stale(len, STALE_TARGET, partitions.collect())
    }

    /// Asserts that `target` holds what the original holds, that nothing else was written to it,
    /// and that others find nothing wrong with it.
    pub(crate) fn judge(&self, target: &Card, rest: Rest) {
        let found = std::fs::read(target.file()).unwrap();
        self.judge_filled(&found, rest);
        self.judge_rest(&found, rest);
        self.judge_end(&found);
        self.judge_table(target);
        self.judge_files(target);
    }

    /// Catches: bytes in the wrong place, out of order or left out, and stale bytes where zeros
    /// must be.
    pub(crate) fn judge_filled(&self, found: &[u8], rest: Rest) {
        let fitted = self.fitted(found.len() as u64);
        for (state, extent) in &self.runs {
            for part in without(*extent, &fitted) {
                let (is, should) = (slice(found, part), slice(&self.bytes, part));
                match state {
                    State::Used => assert!(is == should, "{part}: {}", first(is, should)),
                    // A journal that passes by is not known to be clean: it is copied.
                    State::Zero if rest == Rest::OrCopied && is == should => {}
                    State::Zero => assert!(is_filled(is, 0), "{part} is not zero"),
                    State::Free => {}
                }
            }
        }
    }

    /// Catches: writing where nothing was to be written.
    fn judge_rest(&self, found: &[u8], rest: Rest) {
        let (mut left, mut all) = (0_usize, 0_usize);
        let len = found.len() as u64;
        // Its end is wiped where nothing of the original belongs there.
        let wiped = [Extent::between(len - MIB, self.len().max(len))];
        let free = self.runs.iter().filter(|(state, _)| *state == State::Free);
        let free = free.flat_map(|(_, extent)| without(*extent, &wiped));
        for extent in free {
            let is = slice(found, extent);
            if rest == Rest::LeftAlone {
                assert!(is_filled(is, STALE_TARGET), "{extent} was written to");
            }
            for (&is, &original) in is.iter().zip(slice(&self.bytes, extent)) {
                let may_be = match rest {
                    Rest::LeftAlone => STALE_TARGET,
                    Rest::OrCopied => original,
                    Rest::OrZeros => 0,
                };
                assert!(is == STALE_TARGET || is == may_be, "{extent} holds {is:#x}");
                left += usize::from(is == STALE_TARGET);
            }
            all += is.len();
        }
        assert!(all > 20 << 20, "a full card proves nothing");
        assert!(left > all / 2, "of {all} free bytes {left} were left alone");
    }

    /// Behind the original's end nothing is written but the very end, where a backup of a
    /// partition table may have lain.
    fn judge_end(&self, found: &[u8]) {
        let len = found.len() as u64;
        if len <= self.len() {
            return;
        }
        let wiped = len - MIB;
        let between = Extent::between(self.len().min(wiped), wiped);
        // Where a GPT reaches to the card's end, so do the places of signatures: that of Promise's RAIDs
        // lies 3087 sectors before it (util-linux, libblkid/src/superblocks/promise_raid.c).
        let promise = (len - 3087 * 512) / 4096 * 4096;
        let promise = Extent::between(promise, promise + 4096);
        for extent in without(between, &[promise]) {
            assert!(
                is_filled(slice(found, extent), STALE_TARGET),
                "{extent}, behind the original's end, was written to"
            );
        }
        let own = if self.table == Table::Gpt {
            GPT_BYTES
        } else {
            0
        };
        let zero = Extent::between(wiped.max(self.len()), len - own);
        assert!(is_filled(slice(found, zero), 0), "{zero} was not wiped");
    }

    /// Catches: a partition that moved, another identity, and tables that others find fault with.
    pub(crate) fn judge_table(&self, target: &Card) {
        Tool::new("sfdisk").arg("--verify").arg(target.file()).run();
        let len = std::fs::metadata(target.file()).unwrap().len();
        let is_cut = len < self.len();
        let said = [&self.card, target].map(|card| partitions(card, is_cut));
        assert_eq!(said[0], said[1]);
        if self.table == Table::Gpt {
            judge_gpt(target);
        }
    }

    /// Catches: what the map forgot, and what neither bytes nor map show: others read the same.
    pub(crate) fn judge_files(&self, target: &Card) {
        fat::free_bytes(target.partition(0).path());
        fat::assert_same_files(&self.card, target, 0);
        let device = target.partition(1);
        life::assert_ext_is_clean(device.path());
        let differences = self
            .tree
            .differences(&life::tree(device.path(), "ro"), Likeness::Inodes);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert!(self.tree.count() > 20, "an empty tree proves nothing");
    }

    /// Returns what is rewritten for a card of `len` bytes, where that is not the original's size:
    /// the partition table. What a smaller card lacks counts as rewritten too.
    fn fitted(&self, len: u64) -> Vec<Extent> {
        let gpt_bytes = if self.table == Table::Gpt {
            GPT_BYTES
        } else {
            0
        };
        let end = self.len();
        match len.cmp(&end) {
            Ordering::Equal => Vec::new(),
            Ordering::Greater if self.table != Table::Gpt => Vec::new(),
            _ => vec![
                Extent::between(0, 512 + gpt_bytes),
                Extent::between(len.min(end) - gpt_bytes, end),
            ],
        }
    }
}

/// Asserts that `sgdisk` finds nothing wrong with the GPT of a card.
pub(crate) fn judge_gpt(card: &Card) {
    let said = Tool::new("sgdisk").arg("--verify").arg(card.file()).run();
    assert!(said.contains("No problems found"), "sgdisk:\n{said}");
}

/// Returns the partition table in words; without the name of the file, without how many sectors
/// it has, and where wanted without the size of the second partition.
fn partitions(card: &Card, is_cut: bool) -> String {
    let said = Tool::new("sfdisk").arg("--dump").arg(card.file()).run();
    let said = said.replace(&card.file().display().to_string(), "card");
    let mut lines: Vec<String> = Vec::new();
    for line in said.lines().filter(|line| !line.starts_with("last-lba")) {
        let is_left_out =
            |word: &&str| is_cut && line.starts_with("card2 ") && word.starts_with("size=");
        let words = line.split(", ").filter(|word| !is_left_out(word));
        lines.push(words.collect::<Vec<_>>().join(", "));
    }
    lines.join("\n")
}

/// Restores onto a device or file without asking; the answer is JSON.
pub(crate) fn restore(image: &Path, target: &Path, options: &[&str]) -> Answer {
    write("restore", image, target, options)
}

/// Runs a command that writes cards, without asking; the answer is JSON. Partitions keep their
/// sizes, unless it is said that they don't: each byte of the target is known then.
pub(crate) fn write(command: &str, from: &Path, target: &Path, options: &[&str]) -> Answer {
    let mut arguments: Vec<PathBuf> = vec![command.into(), from.into(), target.into()];
    if !options.iter().any(|option| option.starts_with("--expand")) {
        arguments.push("--no-expand".into());
    }
    arguments.extend(["--yes", "--json", "--quiet"].map(PathBuf::from));
    arguments.extend(options.iter().map(PathBuf::from));
    cardkeep(arguments)
}

/// Asks `cardkeep info` what of a card matters.
fn runs_of(card: &Card) -> Vec<(State, Extent)> {
    let device = card.device();
    let arguments = ["info", "--json", "--quiet"].map(PathBuf::from);
    let answer = cardkeep(arguments.iter().map(AsRef::as_ref).chain([device.path()]));
    let info = answer.expect(0).json();
    let len = info["contents"]["size_bytes"].as_u64().unwrap();
    let mut filled: Vec<(State, Extent)> = Vec::new();
    for (name, state) in [("used", State::Used), ("zero", State::Zero)] {
        for pair in info["map"][name].as_array().unwrap() {
            let start = pair[0].as_u64().unwrap();
            let extent = Extent::between(start, start + pair[1].as_u64().unwrap());
            filled.push((state, extent));
        }
    }
    filled.sort_by_key(|(_, extent)| extent.start());
    let mut runs = Vec::new();
    let mut end = 0;
    for (state, extent) in filled {
        assert!(extent.start() >= end, "the map overlaps at {extent}");
        runs.push((State::Free, Extent::between(end, extent.start())));
        runs.push((state, extent));
        end = extent.end();
    }
    runs.push((State::Free, Extent::between(end, len)));
    runs
}

/// Returns what of `extent` is in none of `holes`, which ascend.
fn without(extent: Extent, holes: &[Extent]) -> Vec<Extent> {
    let mut parts = Vec::new();
    let mut start = extent.start();
    for hole in holes.iter().filter(|hole| hole.overlaps(extent)) {
        parts.push(Extent::between(start, hole.start().max(start)));
        start = hole.end().min(extent.end());
    }
    parts.push(Extent::between(start, extent.end()));
    parts.retain(|part| !part.is_empty());
    parts
}

fn slice(bytes: &[u8], extent: Extent) -> &[u8] {
    &bytes[extent.start() as usize..extent.end() as usize]
}

pub(crate) fn is_filled(bytes: &[u8], value: u8) -> bool {
    let whole = [value; 4096];
    let mut pieces = bytes.chunks(whole.len());
    pieces.all(|piece| piece == &whole[..piece.len()])
}

fn first(is: &[u8], should: &[u8]) -> String {
    let mut both = is.iter().zip(should).enumerate();
    let differing = both.find(|(_, (is, should))| is != should);
    differing.map_or_else(String::new, |(at, (is, should))| {
        format!("byte {at} is {is:#x}, not {should:#x}")
    })
}
