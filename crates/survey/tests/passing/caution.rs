//! What is damaged, unclean or contradicts itself is not called free in passing.

use std::sync::OnceLock;

use cardkeep_block::{Extent, State};
use cardkeep_survey::PassingSurvey;
use cardkeep_testkit::{Random, skip_unless_tools};
use proptest::prelude::{any, proptest};

use crate::card::{
    FAT32, LINUX, MIB, SWAP, assert_no_less_cautious, changed, ext, fat, judged, mbr, surveyed,
    swap,
};

const TOOLS: [&str; 5] = ["mke2fs", "debugfs", "mkfs.vfat", "mcopy", "mdel"];
const EXT4: [&str; 4] = ["-t", "ext4", "-b", "1024"];
const BLOCK: usize = 1024;
/// `s_blocks_per_group` of blocks of 1 KiB, whose group 0 begins at block 1.
const GROUP_BLOCKS: usize = 8192;

#[test]
fn an_unclean_filesystem_is_used() {
    if skip_unless_tools("an_unclean_filesystem_is_used", &TOOLS) {
        return;
    }
    let clean = ext(&EXT4, 40);
    for words in [
        "feature needs_recovery\n",
        "ssv state 0\n",
        "ssv state 2\n",
        "ssv state 3\n",
        "ssv journal_dev 5\n",
    ] {
        let card = changed(&clean, words);
        assert_ne!(card, clean, "{words}");
        let (map, _) = judged(&card, Some(card.len() as u64), MIB);
        assert_eq!(map.bytes(State::Free), 0, "{words}");
    }
}

/// Where a group's block bitmap lies, by its descriptor of 64 bytes in block 2.
fn bitmap_of(card: &[u8], group: usize) -> usize {
    let descriptor = &card[2 * BLOCK + group * 64..][..4];
    u32::from_le_bytes(descriptor.try_into().unwrap()) as usize * BLOCK
}

fn free_in_group(card: &[u8], group: usize) -> u64 {
    let (map, _) = judged(card, Some(card.len() as u64), MIB);
    let start = ((group * GROUP_BLOCKS + 1) * BLOCK) as u64;
    let extent = Extent::new(start, (GROUP_BLOCKS * BLOCK) as u64).unwrap();
    let free = map.runs_in(extent).filter(|run| run.state == State::Free);
    free.map(|run| run.extent.len()).sum()
}

#[test]
fn a_group_whose_bitmap_has_a_wrong_checksum_is_used() {
    if skip_unless_tools("a_group_whose_bitmap_has_a_wrong_checksum_is_used", &TOOLS) {
        return;
    }
    let mut card = ext(&EXT4, 40);
    // BLOCK_UNINIT: a bitmap that is not written.
    let is_written = |&group: &usize| card[2 * BLOCK + group * 64 + 0x12] & 2 == 0;
    let group = (0..4).rfind(is_written).unwrap();
    let other = (group + 1) % 4;
    let before = free_in_group(&card, other);
    assert!(free_in_group(&card, group) > 0 && before > 0);
    // One block more is in use, one less: the count is as before, the checksum is not.
    let bitmap = bitmap_of(&card, group);
    let used = (0..BLOCK).find(|&at| card[bitmap + at] != 0).unwrap();
    let free = (0..BLOCK).rfind(|&at| card[bitmap + at] != 0xFF).unwrap();
    card[bitmap + used] &= card[bitmap + used] - 1;
    card[bitmap + free] |= card[bitmap + free] + 1;
    assert_eq!(free_in_group(&card, group), 0);
    assert_eq!(free_in_group(&card, other), before);
}

#[test]
fn a_group_whose_bitmap_has_a_wrong_count_is_used() {
    if skip_unless_tools("a_group_whose_bitmap_has_a_wrong_count_is_used", &TOOLS) {
        return;
    }
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^64bit,^uninit_bg",
    ];
    let mut card = ext(&options, 40);
    let descriptor = &card[2 * BLOCK + 32..][..4];
    let bitmap = u32::from_le_bytes(descriptor.try_into().unwrap()) as usize * BLOCK;
    assert!(free_in_group(&card, 1) > 0);
    let used = (0..BLOCK).find(|&at| card[bitmap + at] == 0xFF).unwrap();
    card[bitmap + used] = 0x7F;
    assert_eq!(free_in_group(&card, 1), 0);
}

/// Where the journal's superblock lies: its magic number, and the type of a superblock.
fn journal_of(card: &[u8]) -> usize {
    let mark = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4];
    let mut blocks = (0..card.len()).step_by(BLOCK);
    blocks.find(|&at| card[at..].starts_with(&mark)).unwrap()
}

#[test]
fn a_journal_that_contradicts_the_superblock_ends_the_trust_and_is_told() {
    let test = "a_journal_that_contradicts_the_superblock_ends_the_trust_and_is_told";
    if skip_unless_tools(test, &TOOLS) {
        return;
    }
    let clean = ext(&EXT4, 60);
    let journal = journal_of(&clean);
    // s_start, s_errno, and a magic number that is none.
    for (offset, value) in [(0x1C, 1), (0x20, 5), (0, 0)] {
        let mut card = clean.clone();
        card[journal + offset..][..4].copy_from_slice(&u32::to_be_bytes(value));
        let (map, passing) = judged(&card, Some(card.len() as u64), BLOCK);
        let doubt = passing.doubt().unwrap();
        assert!(doubt.message.contains("partition 0"), "{}", doubt.message);
        let behind = Extent::between(journal as u64, card.len() as u64);
        assert!(map.runs_in(behind).all(|run| run.state == State::Used));
        // Nor is anything free that passed before, when asked again.
        let all = passing.runs(Extent::between(0, card.len() as u64));
        assert!(all.iter().all(|run| run.state == State::Used));
    }
}

#[test]
fn nothing_is_free_before_the_journals_inode_is_known() {
    if skip_unless_tools("nothing_is_free_before_the_journals_inode_is_known", &TOOLS) {
        return;
    }
    let card = ext(&EXT4, 40);
    let table = &card[2 * BLOCK + 8..][..4];
    let table = u32::from_le_bytes(table.try_into().unwrap()) as usize * BLOCK;
    let inode_end = table + 7 * 256 + 128;
    let mut passing = PassingSurvey::new(Some(card.len() as u64), 512);
    passing.see(&card[..inode_end - 1]);
    let whole = Extent::between(0, card.len() as u64);
    let free = |passing: &PassingSurvey| -> u64 {
        let runs = passing.runs(whole).into_iter();
        runs.filter(|run| run.state == State::Free)
            .map(|run| run.extent.len())
            .sum()
    };
    assert_eq!(free(&passing), 0);
    passing.see(&card[inode_end - 1..]);
    assert!(free(&passing) > 0);
    // An inode without blocks leads nowhere.
    let mut card = card;
    card[inode_end - 128 + 0x28..][..60].fill(0);
    let (map, _) = judged(&card, None, MIB);
    assert_eq!(map.bytes(State::Free), 0);
}

#[test]
fn content_that_ends_early_or_never_began_is_used() {
    let mut passing = PassingSurvey::new(None, 512);
    let ahead = Extent::between(10, u64::MAX);
    assert_eq!(passing.runs(ahead).len(), 1);
    passing.see(&[0; 100]);
    let runs = passing.runs(ahead);
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].extent, runs[0].state), (ahead, State::Used));
    assert_eq!(passing.runs(Extent::between(5, 5)), []);
    let mut empty = PassingSurvey::new(Some(0), 512);
    // More than was announced is not known, but used.
    empty.see(&[0xFF; 5000]);
    assert_eq!(empty.runs(Extent::between(0, 5000))[0].state, State::Used);
}

/// Cards of all that is understood, made once.
fn cards() -> &'static [Vec<u8>] {
    static CARDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CARDS.get_or_init(|| {
        let plain = [
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^metadata_csum,^uninit_bg",
        ];
        let boot = fat(&["-F", "16"], 10);
        vec![
            mbr(&[(FAT32, &boot), (LINUX, &ext(&plain, 24)), (SWAP, &swap(2))]),
            mbr(&[(LINUX, &ext(&EXT4, 24)), (FAT32, &fat(&["-F", "32"], 34))]),
            ext(
                &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"],
                24,
            ),
            ext(&["-t", "ext2", "-b", "1024"], 24),
        ]
    })
}

/// Changes a few bytes, most of them where metadata lies: in blocks that are neither empty nor
/// random, near the beginning of something.
fn damage(card: &mut [u8], seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..1 + random.below(6) {
        let at = loop {
            let reach = [MIB as u64 * 2, card.len() as u64][random.below(2) as usize];
            let block = random.below(reach / 512) as usize * 512;
            let sector = &card[block..block + 512];
            let zeros = sector.iter().filter(|&&byte| byte == 0).count();
            if zeros > 64 && zeros < 512 || random.below(50) == 0 {
                break block;
            }
        };
        let offset = at + random.below(512) as usize;
        card[offset] = match random.below(3) {
            0 => 0,
            1 => card[offset] ^ 1 << random.below(8),
            _ => random.below(256) as u8,
        };
    }
}

#[test]
fn damage_never_makes_it_less_cautious_than_the_whole_survey() {
    let test = "damage_never_makes_it_less_cautious_than_the_whole_survey";
    if skip_unless_tools(test, &TOOLS) {
        return;
    }
    let config = proptest::test_runner::Config::with_cases(64);
    proptest!(config, |(index in 0..cards().len(), seed in any::<u64>())| {
        let mut card = cards()[index].clone();
        damage(&mut card, seed);
        let (map, passing) = judged(&card, Some(card.len() as u64), MIB);
        // Who is told to start again has lost nothing.
        if passing.doubt().is_none() {
            assert_no_less_cautious(&map, &surveyed(&card));
        }
    });
}
