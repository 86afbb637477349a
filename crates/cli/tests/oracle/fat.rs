//! FAT12, FAT16 and FAT32, as boot partitions are made.
//!
//! Filled and read by mtools, which need no kernel that knows FAT; judged by `fsck.fat`.

use std::path::Path;

use cardkeep_testkit::{Churn, Likeness, Tool, Tree, skip_unless_root, skip_unless_tools};

use crate::card::{Card, MIB, Table};
use crate::image::{State, back_up};

pub(crate) const TOOLS: [&str; 7] = [
    "mkfs.vfat",
    "fsck.fat",
    "mcopy",
    "mdeltree",
    "mmd",
    "sfdisk",
    "zstd",
];

/// Returns the FAT of a partition as mtools name it: file, two at signs, offset.
fn drive(card: &Card, index: usize) -> String {
    format!(
        "{}@@{}",
        card.file().display(),
        card.partitions()[index].start()
    )
}

fn mtool(name: &str, drive: &str) -> Tool {
    Tool::new(name).args(["-i", drive])
}

/// Formats a partition and lets two lives pass over it: what the first deletes is stale in the
/// second, and its holes fragment the second's files.
pub(crate) fn format(card: &Card, index: usize, options: &[&str]) {
    Tool::new("mkfs.vfat")
        .args(options)
        .arg(card.partition(index).path())
        .run();
    let drive = drive(card, index);
    for life in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        Churn::plain(folder.path(), life).run(120).unwrap();
        let home = format!("::/life{life}");
        mtool("mmd", &drive).arg(&home).run();
        for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
            mtool("mcopy", &drive)
                .args(["-s", "-Q"])
                .arg(entry.path())
                .arg(&home)
                .run();
        }
        if life == 1 {
            let parts = ["::/life1/folder1", "::/life1/folder4", "::/life1/folder7"];
            mtool("mdeltree", &drive).args(parts).run();
        }
    }
}

/// Asserts that the FATs of a partition of two cards hold the same files.
pub(crate) fn assert_same_files(one: &Card, two: &Card, index: usize) {
    let extracted = |card: &Card| {
        let folder = tempfile::tempdir().unwrap();
        mtool("mcopy", &drive(card, index))
            .args(["-s", "-n", "::/"])
            .arg(folder.path())
            .run();
        Tree::read(folder.path()).unwrap()
    };
    let (one, two) = (extracted(one), extracted(two));
    let differences = one.differences(&two, Likeness::Contents);
    assert!(
        differences.is_empty(),
        "files differ:\n{}",
        differences.join("\n")
    );
    assert!(one.count() > 20, "an empty tree proves nothing");
}

/// Returns the bytes in free clusters by `fsck.fat`'s own count; asserts that it finds no fault.
pub(crate) fn free_bytes(device: &Path) -> u64 {
    let (code, said) = Tool::new("fsck.fat")
        .args(["-n", "-v"])
        .arg(device)
        .outcome();
    assert_eq!(code, Some(0), "{said}");
    let number_before = |title: &str| -> u64 {
        let line = said.lines().find(|line| line.contains(title)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let counts = said.lines().last().unwrap().rsplit(", ").next().unwrap();
    let (used, rest) = counts.split_once('/').unwrap();
    let total = rest.split(' ').next().unwrap();
    let free = total.parse::<u64>().unwrap() - used.parse::<u64>().unwrap();
    free * number_before("bytes per cluster")
}

/// Catches: a cluster taken for free (a file differs or `fsck.fat` finds a broken chain), a FAT
/// or root directory cut short (nothing can be listed), and a map that calls everything used.
fn check(test: &str, partition_mib: u64, options: &[&str]) {
    if skip_unless_root(test) || skip_unless_tools(test, &TOOLS) {
        return;
    }
    let card = Card::new(Table::Mbr, &[partition_mib]);
    format(&card, 0, options);
    let free = free_bytes(card.partition(0).path());
    let image = back_up(&card, &[], 0);
    let not_used = partition_mib * MIB - image.bytes_in(State::Used, card.partitions()[0]);
    // What is left behind the last whole cluster may count or not.
    assert!(
        not_used.abs_diff(free) <= 64 * 1024,
        "{not_used} bytes not used, {free} free"
    );
    let copy = image.rebuilt(&card);
    assert_eq!(free_bytes(copy.partition(0).path()), free);
    assert_same_files(&card, &copy, 0);
}

#[test]
fn fat12_comes_back() {
    check("fat12_comes_back", 12, &["-F", "12", "-s", "8"]);
}

#[test]
fn fat16_comes_back() {
    check("fat16_comes_back", 64, &["-F", "16"]);
}

/// As trixie makes its boot partition: clusters as large as a sector.
#[test]
fn fat32_with_small_clusters_comes_back() {
    let test = "fat32_with_small_clusters_comes_back";
    check(test, 80, &["-F", "32", "-s", "1"]);
}

/// As bookworm makes its boot partition.
#[test]
fn fat32_with_clusters_of_2_kib_comes_back() {
    let test = "fat32_with_clusters_of_2_kib_comes_back";
    check(test, 160, &["-F", "32", "-s", "4"]);
}

#[test]
fn fat32_with_one_table_comes_back() {
    let test = "fat32_with_one_table_comes_back";
    check(test, 80, &["-F", "32", "-s", "1", "-f", "1"]);
}

#[test]
fn fat32_with_many_reserved_sectors_comes_back() {
    let test = "fat32_with_many_reserved_sectors_comes_back";
    check(test, 80, &["-F", "32", "-s", "1", "-R", "640"]);
}
