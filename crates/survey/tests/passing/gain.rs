//! How much is found free in passing, and that it is the same however the content comes.

use std::fs;

use cardkeep_block::{AllocationMap, Extent, State};
use cardkeep_survey::{Content, PassingSurvey};
use cardkeep_testkit::{Churn, Loop, Mount, skip_unless_root, skip_unless_tools};

use crate::card::{
    FAT32, LINUX, MIB, SWAP, assert_no_less_cautious, ext, fat, judged, logical, mbr, percent,
    surveyed, swap,
};

const TOOLS: [&str; 5] = ["mke2fs", "debugfs", "mkfs.vfat", "mcopy", "mdel"];

/// A filesystem alone, without a partition table: the least share of what is free that has to be
/// found in passing.
fn check(test: &str, percent_min: u64, options: &[&str], mib: usize) {
    if skip_unless_tools(test, &TOOLS) {
        return;
    }
    let card = ext(options, mib);
    let whole = surveyed(&card);
    assert!(whole.bytes(State::Free) > 0);
    let (map, passing) = judged(&card, Some(card.len() as u64), MIB);
    assert_no_less_cautious(&map, &whole);
    assert_eq!(passing.doubt(), None);
    let found = percent(&map, &whole);
    assert!(found >= percent_min, "{found} %");
}

macro_rules! cases {
    ($($name:ident: at least $percent:literal of $mib:literal $($option:literal)+;)+) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), $percent, &[$($option),+], $mib);
        }
    )+};
}

cases! {
    blocks_of_1_kib: at least 90 of 60 "-t" "ext4" "-b" "1024";
    blocks_of_4_kib: at least 90 of 300 "-t" "ext4" "-b" "4096";
    blocks_of_64_kib: at least 70 of 64 "-t" "ext4" "-b" "65536";
    no_flex_bg: at least 90 of 60 "-t" "ext4" "-b" "1024" "-O" "^flex_bg";
    ext2: at least 90 of 60 "-t" "ext2" "-b" "1024";
    ext3: at least 90 of 60 "-t" "ext3" "-b" "1024";
    crc16: at least 90 of 60 "-t" "ext4" "-b" "1024" "-O" "^metadata_csum,uninit_bg";
    no_checksums: at least 90 of 60 "-t" "ext4" "-b" "1024" "-O" "^metadata_csum,^uninit_bg";
    bigalloc: at least 90 of 200 "-t" "ext4" "-b" "4096" "-C" "16384" "-O" "bigalloc";
    bigalloc_of_small_blocks: at least 90 of 200 "-t" "ext4" "-b" "1024" "-C" "8192" "-O" "bigalloc";
    no_journal: at least 90 of 60 "-t" "ext4" "-b" "1024" "-O" "^has_journal";
    meta_bg: at least 0 of 60 "-t" "ext4" "-b" "1024" "-O" "meta_bg,^resize_inode";
}

#[test]
fn a_fat_filesystem_alone_is_all_found() {
    if skip_unless_tools("a_fat_filesystem_alone_is_all_found", &TOOLS) {
        return;
    }
    for (options, mib) in [(["-F", "12"], 4), (["-F", "16"], 40), (["-F", "32"], 64)] {
        let card = fat(&options, mib);
        let (map, passing) = judged(&card, Some(card.len() as u64), 4096);
        let whole = surveyed(&card);
        assert_no_less_cautious(&map, &whole);
        assert!(percent(&map, &whole) >= 95, "{options:?}");
        let all = passing.runs(Extent::between(0, card.len() as u64));
        assert!(all.into_iter().eq(whole.runs()));
    }
}

/// A card as the Raspberry Pi OS has it, with a swap partition more.
fn card() -> Vec<u8> {
    let boot = fat(&["-F", "32"], 40);
    let root = ext(&["-t", "ext4", "-b", "1024"], 60);
    mbr(&[(FAT32, &boot), (LINUX, &root), (SWAP, &swap(8))])
}

fn map_at_the_end(card: &[u8], len: Option<u64>, step: usize) -> AllocationMap {
    let mut passing = PassingSurvey::new(len, 512);
    card.chunks(step).for_each(|piece| passing.see(piece));
    let whole = AllocationMap::all(card.len() as u64, State::Used);
    whole.replaced(&passing.runs(Extent::between(0, card.len() as u64)))
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    if skip_unless_tools("the_size_of_the_pieces_does_not_matter", &TOOLS) {
        return;
    }
    let card = card();
    let expected = map_at_the_end(&card, Some(card.len() as u64), card.len());
    assert_no_less_cautious(&expected, &surveyed(&card));
    assert!(percent(&expected, &surveyed(&card)) >= 90);
    for step in [1, 513, 65_536, 4 * MIB] {
        let map = map_at_the_end(&card, Some(card.len() as u64), step);
        assert_eq!(map, expected, "{step}");
    }
}

#[test]
fn a_length_that_is_not_known_costs_the_tail_only() {
    if skip_unless_tools("a_length_that_is_not_known_costs_the_tail_only", &TOOLS) {
        return;
    }
    let card = card();
    let known = map_at_the_end(&card, Some(card.len() as u64), MIB);
    let unknown = map_at_the_end(&card, None, MIB);
    assert_no_less_cautious(&unknown, &known);
    // Of the 3 MiB behind the last partition, the middle one.
    let lost = unknown.bytes(State::Used) - known.bytes(State::Used);
    assert_eq!(lost, MIB as u64);
}

#[test]
fn logical_partitions_are_found_behind_the_last_link() {
    if skip_unless_tools("logical_partitions_are_found_behind_the_last_link", &TOOLS) {
        return;
    }
    let boot = fat(&["-F", "32"], 40);
    let root = ext(&["-t", "ext4", "-b", "1024"], 60);
    let card = logical(&[(FAT32, &boot), (FAT32, &boot), (LINUX, &root)]);
    let (map, passing) = judged(&card, Some(card.len() as u64), MIB);
    assert_no_less_cautious(&map, &surveyed(&card));
    let survey = passing.survey();
    let names: Vec<_> = survey.partitions.iter().map(|p| p.content.name()).collect();
    // What passed before the chain was known is used.
    assert_eq!(names, ["unknown", "unknown", "ext4"]);
    let root_place = survey.partitions[2].extent;
    let free: u64 = map
        .runs_in(root_place)
        .filter(|r| r.state == State::Free)
        .map(|r| r.extent.len())
        .sum();
    assert!(free * 10 > root_place.len() * 6, "{free}");
    assert_eq!(map.bytes(State::Free), free);
}

#[test]
fn the_report_names_what_passed() {
    if skip_unless_tools("the_report_names_what_passed", &TOOLS) {
        return;
    }
    let card = card();
    let (_, passing) = judged(&card, None, MIB);
    let survey = passing.survey();
    assert_eq!(survey.len, card.len() as u64);
    assert_eq!(survey.table.unwrap().scheme.to_string(), "MBR");
    let names: Vec<_> = survey.partitions.iter().map(|p| p.content.name()).collect();
    assert_eq!(names, ["fat32", "ext4", "swap"]);
    for partition in &survey.partitions {
        let sum = partition.used_bytes + partition.zero_bytes + partition.free_bytes;
        assert_eq!(sum, partition.extent.len());
        assert!(partition.free_bytes > partition.used_bytes);
        assert!(!matches!(partition.content, Content::Opaque(_)));
    }
}

/// Lets the kernel write, change and delete files on a filesystem.
fn aged(bytes: &[u8], seed: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    fs::write(&image, bytes).unwrap();
    let device = Loop::attach(&image);
    for life in 0..3 {
        let mount = Mount::new(device.path(), "rw").unwrap();
        Churn::unix(mount.path(), seed + life).run(700).unwrap();
    }
    drop(device);
    fs::read(image).unwrap()
}

#[test]
fn nearly_all_that_is_free_on_a_used_card_is_found() {
    let test = "nearly_all_that_is_free_on_a_used_card_is_found";
    if skip_unless_tools(test, &TOOLS) || skip_unless_root(test) {
        return;
    }
    for (seed, options) in [
        (1, ["-t", "ext4", "-b", "1024"]),
        (2, ["-t", "ext4", "-b", "4096"]),
    ] {
        let root = aged(&ext(&options, 160), seed);
        let card = mbr(&[(FAT32, &fat(&["-F", "32"], 40)), (LINUX, &root)]);
        let whole = surveyed(&card);
        let (map, passing) = judged(&card, Some(card.len() as u64), MIB);
        assert_no_less_cautious(&map, &whole);
        assert_eq!(passing.doubt(), None);
        // Preallocated blocks, of which this life has many, count as used in passing.
        let found = percent(&map, &whole);
        assert!(
            found >= 85,
            "{options:?}: {found} % of what is free in any way"
        );
        let partitions = passing.survey().partitions;
        let stated: u64 = partitions.iter().map(|p| p.free_bytes).sum();
        let found = map.bytes(State::Free) * 100 / stated;
        assert!(
            found >= 97,
            "{options:?}: {found} % of what is not allocated"
        );
    }
}
