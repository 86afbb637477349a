//! The same counts as resize2fs, and clean.

use crate::image::{Copies, Image, MIB, is_skipped};

/// Grows, and lets e2fsck and resize2fs judge; the former alone where the latter differs.
fn judge(options: &str, kib: u64, lens: &[u64], expected: &[&str]) {
    let image = Image::make(options, kib);
    image.assert_clean("before");
    for &len in lens {
        let what = format!("{options}: {kib} KiB to {len}");
        let grown = image.grown(len);
        grown.assert_clean(&what);
        grown.assert_copies(&what, Copies::Whole);
        let (ours, theirs) = (grown.dump(), image.grown_by_resize2fs(len).dump());
        let differing = ours.iter().filter(|line| !theirs.contains(line));
        let unexpected: Vec<_> = differing
            .filter(|line| !expected.iter().any(|name| line.starts_with(name)))
            .collect();
        assert!(unexpected.is_empty(), "{what}: {unexpected:#?}");
    }
}

#[test]
fn filesystems_grow_as_resize2fs_makes_them_grow() {
    if is_skipped("filesystems_grow_as_resize2fs_makes_them_grow") {
        return;
    }
    let lens = [210 * MIB, 1024 * MIB];
    judge("-t ext4 -b 4096", 200 << 10, &lens, &[]);
    judge(
        "-t ext4 -b 4096 -O ^64bit,^huge_file",
        200 << 10,
        &lens,
        &[],
    );
    judge("-t ext4 -b 1024", 70 << 10, &[90 * MIB, 700 * MIB], &[]);
    judge("-t ext4 -b 2048 -O ^flex_bg", 70 << 10, &[400 * MIB], &[]);
    judge("-t ext3", 200 << 10, &lens, &[]);
    judge("-t ext2 -b 4096", 200 << 10, &lens, &[]);
    let old_sums = "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg";
    judge(old_sums, 200 << 10, &lens, &[]);
}

/// Sparse: what is new on the larger card reads as zero here.
#[test]
fn a_card_of_32_gb_is_filled_by_little_metadata() {
    if is_skipped("a_card_of_32_gb_is_filled_by_little_metadata") {
        return;
    }
    for options in ["-t ext4 -b 4096", "-t ext4 -b 4096 -O ^64bit,^huge_file"] {
        let image = Image::make(options, 600 << 10);
        for len in [8_000_000_000, 31_000_000_000_u64] {
            let plan = image.plan(len).unwrap();
            let bytes: usize = plan.patches.iter().map(|patch| patch.bytes.len()).sum();
            assert!(bytes < 2 << 20, "{bytes} bytes for {len}");
            assert!(plan.zeros.is_empty());
            assert!(len - plan.len < 128 * MIB + 4096);
            let grown = image.grown(len);
            grown.assert_clean(options);
            grown.assert_copies(options, Copies::Whole);
            assert_eq!(grown.field("Block count:") * 4096, plan.len);
        }
    }
}

/// The kernel goes on with meta block groups where resize2fs would move what is in its way.
#[test]
fn without_a_reserve_descriptors_go_into_meta_block_groups() {
    if is_skipped("without_a_reserve_descriptors_go_into_meta_block_groups") {
        return;
    }
    let cases = [
        "-t ext4 -b 1024 -O ^resize_inode",
        "-t ext2 -b 1024 -O ^resize_inode",
        "-t ext4 -b 1024 -E resize=300000",
        "-t ext4 -b 1024 -O ^64bit -E resize=300000",
        "-t ext3 -b 1024 -E resize=300000",
    ];
    for options in cases {
        let image = Image::make(options, 50 << 10);
        assert!(!image.dump().iter().any(|line| line.contains("meta_bg")));
        let grown = image.grown(1000 * MIB);
        grown.assert_clean(options);
        grown.assert_copies(options, Copies::Whole);
        assert!(grown.dump().iter().any(|line| line.contains("meta_bg")));
        let again = grown.grown(1090 * MIB);
        again.assert_clean(options);
        again.assert_copies(options, Copies::Whole);
    }
}

#[test]
fn other_layouts_grow_into_clean_filesystems() {
    if is_skipped("other_layouts_grow_into_clean_filesystems") {
        return;
    }
    let cases = [
        "-t ext4 -b 1024 -O meta_bg,^resize_inode",
        "-t ext4 -b 4096 -O sparse_super2",
        "-t ext4 -b 4096 -O bigalloc -C 65536",
        "-t ext4 -b 1024 -O bigalloc,^has_journal",
        "-t ext4 -b 4096 -O metadata_csum_seed,mmp,orphan_file,inline_data",
        "-t ext4 -b 4096 -O ^sparse_super,^resize_inode",
        "-t ext4 -b 4096 -g 1024 -G 4 -I 128",
        "-t ext4 -b 65536",
    ];
    for options in cases {
        let image = Image::make(options, 64 << 10);
        let grown = image.grown(300 * MIB);
        grown.assert_clean(options);
        grown.assert_copies(options, Copies::Whole);
        assert!(grown.field("Block count:") > 4 * image.field("Block count:"));
    }
}

#[test]
fn what_has_grown_grows_again() {
    if is_skipped("what_has_grown_grows_again") {
        return;
    }
    for options in [
        "-t ext4 -b 1024",
        "-t ext4 -b 4096 -g 2048",
        "-t ext3 -b 1024",
    ] {
        let mut image = Image::make(options, 20 << 10);
        for len in [21 * MIB, 33 * MIB + 7, 100 * MIB, 101 * MIB, 400 * MIB] {
            image = image.grown(len);
            let what = format!("{options} at {len}");
            image.assert_clean(&what);
            image.assert_copies(&what, Copies::Whole);
        }
    }
}

#[test]
fn a_few_blocks_more_than_groups_can_use_are_left_alone() {
    if is_skipped("a_few_blocks_more_than_groups_can_use_are_left_alone") {
        return;
    }
    let image = Image::make("-t ext4 -b 4096", 128 << 10);
    let grown = image.plan(129 * MIB).unwrap();
    assert_eq!((grown.len, grown.old_len), (128 * MIB, 128 * MIB));
    assert!(grown.patches.is_empty() && grown.zeros.is_empty());
    let same = image.plan(128 * MIB).unwrap();
    assert_eq!(same, grown);
}
