//! One ext filesystem through the whole circle, and the judgements passed on it.

use std::path::Path;

use cardkeep_block::Extent;
use cardkeep_testkit::{
    Likeness, Mount, Tool, is_big_matrix, skip, skip_unless_root, skip_unless_tools,
};

use crate::card::{Card, Table, format_ext};
use crate::image::{Image, State, back_up};
use crate::life;
use crate::partclone;
use crate::program::cardkeep;

const TOOLS: [&str; 7] = [
    "mke2fs",
    "e2fsck",
    "dumpe2fs",
    "debugfs",
    "sfdisk",
    "zstd",
    "partclone.extfs",
];
/// Looks without touching: the filesystems are clean, no lazy work is done.
const LOOK: &str = "ro";
/// The cases that run without `CARDKEEP_ORACLE=1`.
const SMALL: [&str; 2] = ["ext4_as_raspberry_pi_os_makes_it", "ext4_with_small_groups"];

/// Whether a test runs without `CARDKEEP_ORACLE=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matrix {
    Small,
    Big,
}

/// Tells whether the test has to return at once, aloud.
pub(crate) fn skipped(test: &str, matrix: Matrix) -> bool {
    if matrix == Matrix::Big && !is_big_matrix() {
        skip(test, "CARDKEEP_ORACLE=1");
        return true;
    }
    skip_unless_root(test) || skip_unless_tools(test, &TOOLS)
}

/// How a filesystem is made and lived in.
#[derive(Clone, Debug)]
pub(crate) struct ExtCase {
    pub(crate) test: &'static str,
    pub(crate) matrix: Matrix,
    pub(crate) partition_mib: u64,
    /// Options of `mke2fs`; a size in blocks may follow the device.
    pub(crate) options: &'static [&'static str],
    pub(crate) mount: &'static str,
    pub(crate) steps: u32,
}

impl ExtCase {
    /// Returns the case of 96 MiB with these options of `mke2fs`.
    pub(crate) fn new(test: &'static str, options: &'static [&'static str]) -> Self {
        Self {
            test,
            matrix: if SMALL.contains(&test) {
                Matrix::Small
            } else {
                Matrix::Big
            },
            partition_mib: 96,
            options,
            mount: "noatime",
            steps: 600,
        }
    }

    /// Runs it where possible: makes, ages, backs up, rebuilds, judges.
    pub(crate) fn check(self) {
        if skipped(self.test, self.matrix) {
            return;
        }
        let card = Card::new(Table::Mbr, &[self.partition_mib]);
        {
            let device = card.partition(0);
            format_ext(device.path(), self.options);
            if let Err(said) = Mount::new(device.path(), self.mount) {
                let said = said.lines().next().unwrap_or_default();
                return skip(self.test, &format!("a kernel that mounts it ({said})"));
            }
            // Two lives: what the first leaves behind is stale in the second.
            life::age(device.path(), self.mount, 1, self.steps);
            life::age(device.path(), self.mount, 2, self.steps / 4);
        }
        judge_clean(&card);
    }
}

/// Backs up a card whose only partition is a clean ext filesystem, and judges map and copy.
pub(crate) fn judge_clean(card: &Card) {
    let image = back_up(card, &[], 0);
    judge_map(card, &image);
    judge_journal(card, &image);
    judge_inode_tables(card, &image);
    judge_free_counts(card, &image);
    let copy = image.rebuilt(card);
    judge_copy(card, &copy);
}

/// The copy is clean, holds the same inodes, and can be lived in.
///
/// Catches: a used block taken for free (e2fsck or the comparison sees 0xA5), an unused inode
/// table that had to be zero (e2fsck), a superblock or descriptor not copied (nothing mounts).
pub(crate) fn judge_copy(card: &Card, copy: &Card) {
    {
        let (one, two) = (card.partition(0), copy.partition(0));
        life::assert_ext_is_clean(two.path());
        life::assert_same_files(&one, &two, LOOK, Likeness::Inodes);
    }
    let device = copy.partition(0);
    // The kernel zeroes what is left of the inode tables in the background: hurry it up, so that
    // it meets whatever the map called free.
    life::age(device.path(), "noatime,init_itable=0", 3, 200);
    life::assert_ext_is_clean(device.path());
}

/// The map holds all that partclone holds, but for what is known to be zero or unwritten; and
/// not much more.
///
/// Catches: used blocks taken for free even where their content happens to be right; and a map
/// that calls everything used.
fn judge_map(card: &Card, image: &Image) {
    let device = card.partition(0);
    let partition = card.partitions()[0];
    let Some(theirs) = partclone::used_extents(device.path(), &card.beside("domain.map")) else {
        return;
    };
    let inside = |extent: Extent| {
        let cut = extent.intersection(partition);
        Extent::between(
            cut.start() - partition.start(),
            cut.end() - partition.start(),
        )
    };
    let overlapping = |extent: &Extent| extent.overlaps(partition);
    let ours: Vec<Extent> = image
        .extents(State::Used)
        .filter(overlapping)
        .map(inside)
        .collect();
    let block_bytes = block_bytes(device.path());
    let block_count = dumped(device.path(), "Block count:");
    let mut covers = ours.clone();
    covers.extend(partclone::zeroable_extents(device.path()));
    covers.extend(life::unwritten_extents(device.path(), block_bytes));
    let missing = partclone::uncovered(&theirs, &covers);
    assert!(
        missing.is_empty(),
        "partclone copies what the map leaves out: {missing:?}"
    );

    // Behind the filesystem's end nothing is known, so it is used.
    let end = block_count * block_bytes;
    let ours: Vec<Extent> = ours
        .iter()
        .map(|extent| extent.intersection(Extent::between(0, end)))
        .collect();
    let extra = partclone::uncovered(&ours, &theirs);
    let extra_bytes: u64 = extra.iter().map(|extent| extent.len()).sum();
    let allowed = 64 * 1024;
    assert!(
        extra_bytes <= allowed,
        "the map uses what partclone leaves out: {extra:?}"
    );
}

/// The log of a clean journal is zero after a restore, never left alone.
///
/// Catches: a log called free. A stale log of the same filesystem could be replayed later.
fn judge_journal(card: &Card, image: &Image) {
    let device = card.partition(0);
    let partition = card.partitions()[0];
    for extent in partclone::journal_extents(device.path(), block_bytes(device.path())) {
        let extent = extent.shifted(partition.start()).expect("on the card");
        let free = image.bytes_in(State::Free, extent);
        assert_eq!(free, 0, "journal blocks at {extent} are left alone");
    }
}

/// Inode tables that the kernel has zeroed are zero after a restore.
///
/// Catches: unused ends of such tables left alone. The descriptors, which are copied, would then
/// claim zeros where there are none.
fn judge_inode_tables(card: &Card, image: &Image) {
    let device = card.partition(0);
    let partition = card.partitions()[0];
    for extent in partclone::zeroed_inode_tables(device.path()) {
        let extent = extent.shifted(partition.start()).expect("on the card");
        let free = image.bytes_in(State::Free, extent);
        assert_eq!(free, 0, "the zeroed inode table at {extent} is left alone");
    }
}

/// `cardkeep info` counts what `dumpe2fs` counts, and the map proves no less free.
///
/// Catches: bitmaps read from the wrong place, uninitialised groups taken for full or empty.
fn judge_free_counts(card: &Card, image: &Image) {
    let device = card.partition(0);
    let free = dumped(device.path(), "Free blocks:") * block_bytes(device.path());
    let info = cardkeep(["info".into(), card.file(), "--json".into()])
        .expect(0)
        .json();
    let partition = &info["contents"]["partitions"][0];
    assert_eq!(
        partition["fs"]["free_bytes"].as_u64(),
        Some(free),
        "{partition}"
    );
    let extent = card.partitions()[0];
    assert_eq!(
        partition["used_bytes"].as_u64(),
        Some(image.bytes_in(State::Used, extent)),
        "info and the image's map differ: {partition}"
    );
    let not_used = extent.len() - image.bytes_in(State::Used, extent);
    assert!(
        not_used >= free,
        "the map proves {not_used} bytes free, dumpe2fs counts {free}"
    );
}

/// Returns a number of the superblock as `dumpe2fs -h` tells it.
pub(crate) fn dumped(device: &Path, title: &str) -> u64 {
    let said = Tool::new("dumpe2fs").arg("-h").arg(device).run();
    partclone::field(&said, title).unwrap_or_else(|| panic!("no `{title}` in:\n{said}"))
}

fn block_bytes(device: &Path) -> u64 {
    dumped(device, "Block size:")
}
