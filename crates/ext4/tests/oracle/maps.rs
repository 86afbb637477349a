//! The allocation map, block by block, against one made of what dumpe2fs and debugfs say; and
//! whether what it keeps is enough.

use std::path::Path;

use cardkeep_block::{AllocationMap, Extent, Silent, State};
use cardkeep_ext4::{Ext4, Flavour};
use cardkeep_testkit::{Likeness, Recorder, Tool, Tree};

use crate::image::{Dump, Image, is_skipped, range};

macro_rules! cases {
    ($($name:ident: $mib:literal $($option:literal)+;)+) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), &[$($option),+], $mib);
        }
    )+};
}

cases! {
    blocks_of_1_kib: 40 "-t" "ext4" "-b" "1024";
    blocks_of_2_kib: 80 "-t" "ext4" "-b" "2048";
    blocks_of_4_kib: 300 "-t" "ext4" "-b" "4096";
    blocks_of_64_kib: 64 "-t" "ext4" "-b" "65536";
    ext2: 40 "-t" "ext2" "-b" "1024";
    ext3: 40 "-t" "ext3" "-b" "1024";
    ext3_with_blocks_of_4_kib: 200 "-t" "ext3" "-b" "4096";
    revision_0: 16 "-t" "ext2" "-r" "0" "-b" "1024";
    crc16: 40 "-t" "ext4" "-b" "1024" "-O" "^metadata_csum,uninit_bg";
    crc16_and_64_bits: 40 "-t" "ext4" "-b" "1024" "-O" "^metadata_csum,uninit_bg,64bit";
    crc16_and_empty_groups: 600 "-t" "ext4" "-b" "4096" "-O" "^metadata_csum,uninit_bg,^flex_bg";
    no_checksums: 40 "-t" "ext4" "-b" "1024" "-O" "^metadata_csum,^uninit_bg";
    short_descriptors: 40 "-t" "ext4" "-b" "1024" "-O" "^64bit";
    no_flex_bg: 40 "-t" "ext4" "-b" "1024" "-O" "^flex_bg";
    meta_bg: 40 "-t" "ext4" "-b" "1024" "-g" "512" "-O" "meta_bg,^resize_inode";
    meta_bg_and_short_descriptors: 60 "-t" "ext4" "-b" "1024" "-g" "512" "-O" "meta_bg,^resize_inode,^64bit,^flex_bg";
    meta_bg_and_empty_groups: 1024 "-t" "ext4" "-b" "1024" "-O" "meta_bg,^resize_inode,^flex_bg,^has_journal";
    bigalloc: 200 "-t" "ext4" "-b" "4096" "-C" "16384" "-O" "bigalloc";
    bigalloc_with_blocks_of_1_kib: 200 "-t" "ext4" "-b" "1024" "-C" "8192" "-O" "bigalloc";
    bigalloc_with_clusters_of_two_blocks: 60 "-t" "ext4" "-b" "1024" "-C" "2048" "-O" "bigalloc,meta_bg,^resize_inode";
    no_resize_inode: 40 "-t" "ext4" "-b" "1024" "-O" "^resize_inode";
    sparse_super2: 60 "-t" "ext4" "-b" "1024" "-O" "sparse_super2,^resize_inode";
    no_sparse_super: 60 "-t" "ext4" "-b" "1024" "-O" "^sparse_super,^resize_inode";
    zeroed_inode_tables: 60 "-t" "ext4" "-b" "1024" "-E" "lazy_itable_init=0,nodiscard";
    unwritten_inode_tables: 60 "-t" "ext4" "-b" "1024" "-E" "lazy_itable_init=1,nodiscard";
    no_journal: 40 "-t" "ext4" "-b" "1024" "-O" "^has_journal";
    inline_data: 40 "-t" "ext4" "-O" "inline_data" "-I" "256";
    small_inodes: 40 "-t" "ext4" "-I" "128";
    large_inodes: 40 "-t" "ext4" "-I" "1024";
    orphan_file_and_quota: 40 "-t" "ext4" "-O" "orphan_file,quota";
    fast_commits: 40 "-t" "ext4" "-O" "fast_commit";
    a_seed_for_checksums: 40 "-t" "ext4" "-O" "metadata_csum_seed";
}

fn check(test: &str, options: &[&str], mib: u32) {
    if is_skipped(test) {
        return;
    }
    let image = Image::make(options, mib);
    // Preallocated blocks, and written ones among them.
    let falloc = options.contains(&"ext4") && !options.contains(&"inline_data");
    if falloc {
        image.debugfs("write /dev/null prealloc\nfallocate prealloc 3 40\n");
    }
    let medium = image.medium();
    let fs = Ext4::load(&medium).unwrap();
    let heard = Recorder::new();
    let map = fs.allocation_map(&heard).unwrap();
    assert_eq!(heard.troubles(), []);
    let dump = image.dump();
    assert_eq!(
        fs.info().free_bytes,
        dump.free_block_count * dump.block_bytes
    );
    assert_eq!(fs.info().len, dump.block_count * dump.block_bytes);
    assert!(fs.info().is_clean);
    let expected = expected_map(&image, &dump, falloc);
    compare(&map, &expected, dump.block_bytes);
    check_restore(&image, &map);
    // mke2fs does not count what it copies.
    let is_sound = !options.contains(&"orphan_file,quota");
    assert_eq!(e2fsck(&image.path()).0 == Some(0), is_sound);
}

/// Returns the state of each block, out of what the tools say alone.
fn expected_map(image: &Image, dump: &Dump, falloc: bool) -> Vec<State> {
    let blocks = std::fs::metadata(image.path()).unwrap().len() / dump.block_bytes;
    let mut states = vec![State::Used; blocks as usize];
    let mut set = |(first, last): (u64, u64), state| {
        states[first as usize..=last as usize].fill(state);
    };
    for group in &dump.groups {
        group.free.iter().for_each(|&range| set(range, State::Free));
    }
    if falloc {
        let said = image.debugfs("ex prealloc\n");
        let uninit = said.lines().filter(|line| line.contains("Uninit"));
        let mut count = 0;
        for line in uninit {
            // "Level Entries Logical Physical Length Flags": " 0/ 0   1/  1     3 -    40  1234 -  1271     38 Uninit"
            let numbers: Vec<&str> = line.split_whitespace().collect();
            let dashes: Vec<usize> = (0..numbers.len()).filter(|&i| numbers[i] == "-").collect();
            let place = (
                numbers[dashes[1] - 1].parse().unwrap(),
                numbers[dashes[1] + 1].parse().unwrap(),
            );
            set(place, State::Free);
            count += place.1 - place.0 + 1;
        }
        assert!(count > 0 && count <= 38, "no preallocated blocks: {said}");
    }
    for group in &dump.groups {
        group
            .metadata
            .iter()
            .for_each(|&range| set(range, State::Used));
    }
    for range in journal_log(image) {
        set(range, State::Zero);
    }
    for group in &dump.groups {
        let (first, last) = group.inode_table;
        let inodes = (last - first + 1) * dump.block_bytes / dump.inode_bytes;
        let used = (inodes - group.unused_inodes) * dump.inode_bytes;
        let start = first + used.div_ceil(dump.block_bytes);
        if start <= last && group.unused_inodes > 0 {
            let state = if group.is_table_zeroed {
                State::Zero
            } else {
                State::Free
            };
            set((start, last), state);
        }
    }
    states
}

/// Returns the blocks of the journal but its first, as debugfs lists them.
fn journal_log(image: &Image) -> Vec<(u64, u64)> {
    let said = image.debugfs("stat <8>\n");
    let Some((_, list)) = said
        .split_once("BLOCKS:\n")
        .or_else(|| said.split_once("EXTENTS:\n"))
    else {
        return Vec::new();
    };
    let list = list.lines().next().unwrap();
    // "(IND)" and "(ETB0)" are blocks of the journal's tree.
    let data = list
        .split(", ")
        .filter(|item| item.as_bytes().get(1).is_some_and(u8::is_ascii_digit));
    let mut ranges: Vec<(u64, u64)> = data
        .map(|item| range(item.split_once(':').unwrap().1))
        .collect();
    if let Some(first) = ranges.first_mut() {
        first.0 += 1;
    }
    ranges
}

fn compare(map: &AllocationMap, expected: &[State], block_bytes: u64) {
    for (block, &state) in (0u64..).zip(expected) {
        let extent = Extent::new(block * block_bytes, block_bytes).unwrap();
        for run in map.runs_in(extent) {
            assert_eq!(run.state, state, "block {block}");
        }
    }
}

fn check_restore(image: &Image, map: &AllocationMap) {
    let copy = image.aside("copy");
    std::fs::write(&copy, image.restored(map)).unwrap();
    assert_eq!(e2fsck(&copy), e2fsck(&image.path()));
    assert_same_tree(&copy, image, &image.tree());
}

/// Returns what e2fsck thinks of it, but for its name.
fn e2fsck(path: &Path) -> (Option<i32>, String) {
    let (code, said) = Tool::new("e2fsck").args(["-f", "-n"]).arg(path).outcome();
    (code, said.replace(path.to_str().unwrap(), ""))
}

/// Compares what debugfs finds on `path` with the files that were put there; with inline data, of
/// which debugfs shows the first 60 bytes whatever the length, with what it finds on `image`.
fn assert_same_tree(path: &Path, image: &Image, tree: &Path) {
    let has_inline = image.has_inline_data();
    let one = if has_inline {
        extracted(&image.path(), image, "source")
    } else {
        Tree::read(&tree.join("etc")).unwrap()
    };
    let two = extracted(path, image, "out");
    assert!(
        one.count() > 300 && one.count() == two.count(),
        "{} {}",
        one.count(),
        two.count()
    );
    assert_eq!(
        one.differences(&two, Likeness::Contents),
        Vec::<String>::new()
    );
}

fn extracted(path: &Path, image: &Image, name: &str) -> Tree {
    let out = image.aside(name);
    std::fs::create_dir(&out).unwrap();
    let words = format!("rdump /etc {}", out.display());
    let debugfs = Tool::new("debugfs").arg("-R").arg(words).arg(path);
    debugfs.outcome();
    Tree::read(&out.join("etc")).unwrap()
}

#[test]
fn flavours_are_told_apart() {
    if is_skipped("flavours_are_told_apart") {
        return;
    }
    for (name, flavour) in [
        ("ext2", Flavour::Ext2),
        ("ext3", Flavour::Ext3),
        ("ext4", Flavour::Ext4),
    ] {
        let image = Image::make(&["-t", name, "-L", "rootfs"], 16);
        let medium = image.medium();
        let info = Ext4::load(&medium).unwrap().info();
        assert_eq!(
            (info.flavour, info.label.as_deref()),
            (flavour, Some("rootfs"))
        );
    }
}

/// Lets debugfs or bytes damage a filesystem, and asks whether the map notices. `None` stands for
/// an error: all is used.
fn map_after(
    options: &[&str],
    words: &str,
    patch: impl Fn(&mut Vec<u8>),
) -> Option<(AllocationMap, Vec<State>)> {
    let image = Image::make(options, 40);
    let before = {
        let dump = image.dump();
        expected_map(&image, &dump, false)
    };
    if !words.is_empty() {
        image.debugfs(words);
    }
    let mut bytes = image.bytes();
    patch(&mut bytes);
    let medium = cardkeep_block::MemoryMedium::from_bytes(&bytes);
    let map = Ext4::load(&medium).ok()?.allocation_map(&Silent).ok()?;
    Some((map, before))
}

const PLAIN: [&str; 6] = [
    "-t",
    "ext4",
    "-b",
    "1024",
    "-O",
    "^metadata_csum,^uninit_bg,^flex_bg,^64bit",
];
const SUMMED: [&str; 6] = ["-t", "ext4", "-b", "1024", "-O", "^flex_bg,^64bit"];

fn group_is_used(map: &AllocationMap, group: u64) -> bool {
    let extent = Extent::new((1 + group * 8192) << 10, 8192 << 10).unwrap();
    map.runs_in(extent).all(|run| run.state == State::Used)
}

#[test]
fn a_group_whose_bitmap_lost_a_bit_is_used_as_a_whole() {
    if is_skipped("a_group_whose_bitmap_lost_a_bit_is_used_as_a_whole") {
        return;
    }
    for options in [PLAIN, SUMMED] {
        // The bitmap of group 2 calls a used block free.
        let (map, before) = map_after(&options, "freeb 16390\n", |bytes| {
            // debugfs corrects the counts: take that back.
            bytes[2048 + 64 + 0x0C] = bytes[2048 + 64 + 0x0C].wrapping_sub(1);
        })
        .unwrap();
        assert!(group_is_used(&map, 2), "{options:?}");
        // The others are as they were, but nothing rests on the whole any more.
        assert!(!group_is_used(&map, 1) && !group_is_used(&map, 3));
        assert_eq!(map.bytes(State::Zero), 0);
        assert!(before.contains(&State::Zero));
    }
}

#[test]
fn a_bitmap_with_a_wrong_checksum_is_not_believed() {
    if is_skipped("a_bitmap_with_a_wrong_checksum_is_not_believed") {
        return;
    }
    // Two bits swapped: the count is as before.
    let image = Image::make(&SUMMED, 40);
    let bitmap = image.dump().groups[2].metadata.clone();
    let swap = |bytes: &mut Vec<u8>| {
        let block = bitmap.iter().map(|range| range.0).min().unwrap() as usize;
        let at = block << 10;
        assert_eq!((bytes[at] & 1, bytes[at + 1023] & 0x80), (1, 0));
        bytes[at] ^= 1;
        bytes[at + 1023] ^= 0x80;
    };
    let (map, _) = map_after(&SUMMED, "", swap).unwrap();
    assert!(group_is_used(&map, 2));
}

#[test]
fn a_descriptor_with_a_wrong_checksum_is_not_believed() {
    if is_skipped("a_descriptor_with_a_wrong_checksum_is_not_believed") {
        return;
    }
    let crc16 = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,uninit_bg,^flex_bg,^64bit",
    ];
    for options in [crc16, SUMMED] {
        // The second descriptor's count of directories: nothing else notices.
        let (map, _) = map_after(&options, "", |bytes| bytes[2048 + 32 + 0x10] ^= 1).unwrap();
        assert!(group_is_used(&map, 1), "{options:?}");
        assert!(!group_is_used(&map, 2), "{options:?}");
    }
}

#[test]
fn marks_of_trouble_in_the_superblock_prove_nothing_free() {
    if is_skipped("marks_of_trouble_in_the_superblock_prove_nothing_free") {
        return;
    }
    for state in [0u8, 2, 3] {
        assert!(
            map_after(&PLAIN, "", |bytes| bytes[1024 + 0x3A] = state).is_none(),
            "{state}"
        );
    }
    assert!(map_after(&PLAIN, "", |bytes| bytes[1024 + 0x3A] = 1).is_some());
    // It wants a journal replayed and has none.
    let bare = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^has_journal,^metadata_csum",
    ];
    assert!(map_after(&bare, "", |bytes| bytes[1024 + 0x60] |= 4).is_none());
}

/// Without inode checksums, an inode that the bitmap does not know, left from a former life, says
/// nothing about blocks.
#[test]
fn a_stale_inode_claims_no_blocks() {
    if is_skipped("a_stale_inode_claims_no_blocks") {
        return;
    }
    let image = Image::make(&PLAIN, 40);
    image.debugfs("write /dev/null prealloc\nfallocate prealloc 0 40\n");
    let with = Ext4::load(image.medium())
        .unwrap()
        .allocation_map(&Silent)
        .unwrap();
    image.debugfs("freei prealloc\n");
    let without = Ext4::load(image.medium())
        .unwrap()
        .allocation_map(&Silent)
        .unwrap();
    assert_eq!(
        with.bytes(State::Free),
        without.bytes(State::Free) + 41 * 1024
    );
}

/// A flipped bit that makes data look preallocated must not lose it.
#[test]
fn an_inode_with_a_wrong_checksum_claims_no_blocks() {
    if is_skipped("an_inode_with_a_wrong_checksum_claims_no_blocks") {
        return;
    }
    let image = Image::make(&SUMMED, 40);
    image.debugfs("write /dev/null prealloc\nfallocate prealloc 0 40\n");
    let with = Ext4::load(image.medium())
        .unwrap()
        .allocation_map(&Silent)
        .unwrap();
    let said = image.debugfs("imap prealloc\n");
    // "located at block B, offset 0xNNNN"
    let (block, offset) = said
        .split_once("located at block ")
        .unwrap()
        .1
        .split_once(", offset 0x")
        .unwrap();
    let at = block.parse::<usize>().unwrap() * 1024
        + usize::from_str_radix(offset.lines().next().unwrap().trim(), 16).unwrap();
    let mut bytes = image.bytes();
    // A microsecond of its time of change.
    bytes[at + 0x84] ^= 1;
    let medium = cardkeep_block::MemoryMedium::from_bytes(&bytes);
    let without = Ext4::load(&medium)
        .unwrap()
        .allocation_map(&Silent)
        .unwrap();
    assert_eq!(
        with.bytes(State::Free),
        without.bytes(State::Free) + 41 * 1024
    );
}
