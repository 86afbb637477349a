//! Filesystems that contradict themselves: left alone, or at least never made worse.

use cardkeep_block::{MemoryMedium, ReadAt, Silent};
use cardkeep_ext4::Ext4;
use cardkeep_resize::Declined;
use cardkeep_resize::shrink::{self, ShrinkPlan, Wanted};
use cardkeep_testkit::{Random, Tool};

use crate::image::{Image, assert_clean, is_skipped, restored};

const MARGIN: Wanted = Wanted::Smallest {
    margin_per_mille: 50,
};

#[test]
fn contradictions_are_declined() {
    if is_skipped("contradictions_are_declined") {
        return;
    }
    // `B` is a block of a file, `F` that file, `G` another one.
    let cases = [
        // A block in use that the bitmap calls free, and the other way round.
        ("freeb B 2", "-t ext3 -b 1024"),
        ("freeb B 2", "-t ext4 -b 1024"),
        ("setb 39000 3", "-t ext3 -b 1024"),
        ("freeb B 16", "-t ext4 -b 1024 -O bigalloc"),
        ("setb 39008 16", "-t ext4 -b 1024 -O bigalloc"),
        (
            "freeb B 1",
            "-t ext4 -b 1024 -g 512 -O meta_bg,^resize_inode",
        ),
        ("freei F", "-t ext4 -b 1024"),
        ("sif F file_acl 77000000", "-t ext4 -b 1024"),
        ("sif F file_acl 77000000", "-t ext2 -b 1024"),
        ("ssv state 0", "-t ext4"),
        ("ssv last_orphan 40", "-t ext4"),
        ("feature needs_recovery", "-t ext4"),
        // Two owners.
        ("sif G block[0] B", "-t ext2 -b 1024"),
        ("sif <7> blocks 3", "-t ext4"),
    ];
    for (words, options) in cases {
        let options: Vec<&str> = options.split(' ').collect();
        let image = Image::aged(&options, 40);
        let debugfs = |words: &str| {
            let call = Tool::new("debugfs").args(["-w", "-R", words]);
            call.arg(image.path()).run()
        };
        let (file, other) = ("\"/z/file 4\"", "\"/z/file 2\"");
        let blocks = debugfs(&format!("blocks {file}"));
        let block = blocks.split_whitespace().next().unwrap();
        let words = words
            .replace('B', block)
            .replace('F', file)
            .replace('G', other);
        image.plan(MARGIN).unwrap();
        debugfs(&words);
        match image.plan(MARGIN) {
            Err(Declined::Inconsistent(_) | Declined::Filesystem(_)) => {}
            other => panic!("{words}: {other:?}"),
        }
    }
}

/// What reserved inodes hold that are no files names nothing.
#[test]
fn reserved_inodes_without_a_name_are_left_as_they_are() {
    if is_skipped("reserved_inodes_without_a_name_are_left_as_they_are") {
        return;
    }
    for (number, more) in [(4, ""), (5, ""), (7, "^resize_inode,")] {
        let features = format!("{more}^metadata_csum");
        let image = Image::aged(&["-t", "ext4", "-b", "1024", "-O", &features], 24);
        for field in [
            "mode 0100600",
            "block[0] 24000",
            "block[13] 24001",
            "file_acl 24002",
        ] {
            let words = format!("sif <{number}> {field}");
            let call = Tool::new("debugfs").args(["-w", "-R", &words]);
            call.arg(image.path()).run();
        }
        let record = |path: &std::path::Path| {
            let words = format!("stat <{number}>");
            Tool::new("debugfs").args(["-R", &words]).arg(path).run()
        };
        let plan = image.plan(MARGIN).unwrap();
        assert!(plan.block_count() < 24_000);
        assert_eq!(record(&image.restore(&plan)), record(&image.path()));
    }
}

/// The one that keeps room for descriptors is looked at; it has to be as it should be.
#[test]
fn a_strange_resize_inode_is_declined() {
    if is_skipped("a_strange_resize_inode_is_declined") {
        return;
    }
    for field in [
        "flags 0x80000",
        "file_acl 9000",
        "mode 0",
        "mode 040755",
        "block[0] 9000",
    ] {
        let image = Image::aged(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], 24);
        image.plan(MARGIN).unwrap();
        let words = format!("sif <7> {field}");
        let call = Tool::new("debugfs").args(["-w", "-R", &words]);
        call.arg(image.path()).run();
        let declined = image.plan(MARGIN).unwrap_err();
        assert!(
            matches!(declined, Declined::Inconsistent(_)),
            "{field}: {declined}"
        );
    }
}

/// Asserts that planning finds the smaller filesystem as sound as it found the larger one.
fn assert_sound(whole: &[u8], plan: &ShrinkPlan) {
    let fs = Ext4::load(MemoryMedium::from_bytes(whole)).unwrap();
    let again = shrink::plan(&fs, Wanted::Blocks(plan.block_count()), &Silent).unwrap();
    assert_eq!(again.block_count(), plan.block_count());
    assert_eq!(again.free_block_count(), plan.free_block_count());
    assert_eq!(again.moved_block_count(), 0);
}

/// Random bytes in metadata: no panic, no endless loop; and what e2fsck calls clean stays clean.
#[test]
fn random_damage_is_survived() {
    if is_skipped("random_damage_is_survived") {
        return;
    }
    let no_sums = "meta_bg,^resize_inode,^metadata_csum";
    let cases: [&[&str]; 5] = [
        &["-t", "ext4", "-b", "1024", "-g", "2048"],
        &[
            "-t",
            "ext4",
            "-O",
            "^metadata_csum",
            "-b",
            "1024",
            "-g",
            "4096",
        ],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "1024", "-g", "512", "-O", no_sums],
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc,^metadata_csum"],
    ];
    for (options, seed) in cases.into_iter().zip(1..) {
        let image = Image::aged(options, 24);
        let bytes = std::fs::read(image.path()).unwrap();
        let mut random = Random::new(seed);
        let mut declined = 0;
        for round in 0..60 {
            let mut damaged = bytes.clone();
            for _ in 0..=random.below(3) {
                // The first half MiB holds the first groups' metadata and the root's.
                let reach = if round % 2 == 0 { 4096 } else { 512 << 10 };
                let place = (1024 + random.below(reach)) as usize;
                damaged[place] ^= 1 << random.below(8);
            }
            let medium = MemoryMedium::from_bytes(&damaged);
            let Ok(fs) = Ext4::load(&medium) else {
                declined += 1;
                continue;
            };
            let Ok(plan) = shrink::plan(&fs, MARGIN, &Silent) else {
                declined += 1;
                continue;
            };
            let view = plan.view(&medium);
            let whole = view.read_vec(0, plan.len() as usize).unwrap();
            assert_sound(&whole, &plan);
            std::fs::write(image.aside("damaged"), &damaged).unwrap();
            let (code, _) = Tool::new("e2fsck")
                .arg("-fn")
                .arg(image.aside("damaged"))
                .outcome();
            if code == Some(0) {
                let path = image.aside("smaller");
                std::fs::write(&path, restored(&view, plan.allocation_map())).unwrap();
                assert_clean(&path, &format!("{options:?} round {round}"));
            }
        }
        assert!(declined > 5, "{options:?}: only {declined} declined");
    }
}
