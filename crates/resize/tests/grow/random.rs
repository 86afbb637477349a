//! Random options, sizes and new sizes; each seed is one filesystem.

use cardkeep_resize::Declined;
use cardkeep_testkit::{Random, is_big_matrix};

use crate::image::{Copies, Image, MIB, is_skipped};

const SEEDS: u64 = 25;
const SEEDS_OF_BIG_MATRIX: u64 = 60;

fn pick(random: &mut Random, from: &[&str]) -> String {
    from[random.below(from.len() as u64) as usize].to_owned()
}

fn options(random: &mut Random) -> Vec<String> {
    let mut options = vec!["-b".into(), pick(random, &["1024", "1024", "2048", "4096"])];
    let kind = pick(random, &["ext2", "ext3", "ext4", "ext4", "ext4"]);
    let mut features = Vec::new();
    let newer = [
        "^64bit",
        "^huge_file",
        "^metadata_csum",
        "^flex_bg",
        "^has_journal",
        "uninit_bg",
        "metadata_csum_seed",
        "orphan_file",
        "inline_data",
        "mmp",
        "large_dir",
        "^dir_index",
        "bigalloc",
    ];
    if kind == "ext4" {
        let chosen = newer.iter().filter(|_| random.below(6) == 0);
        features.extend(chosen.map(|&name| name.to_owned()));
    }
    options.extend(["-t".into(), kind]);
    match random.below(6) {
        0 => features.push("meta_bg,^resize_inode".into()),
        1 => features.push("^resize_inode".into()),
        2 => options.extend([
            "-E".into(),
            format!("resize={}K", 300_000 << random.below(6)),
        ]),
        _ => {}
    }
    match random.below(8) {
        0 => features.push("sparse_super2".into()),
        1 => features.push("^sparse_super".into()),
        _ => {}
    }
    if !features.is_empty() {
        options.extend(["-O".into(), features.join(",")]);
    }
    for (flag, values) in [
        ("-I", &["128", "256", "512"][..]),
        ("-g", &["256", "1024", "8192"]),
        ("-i", &["1024", "4096", "65536", "1000000"]),
        ("-G", &["1", "4", "64"]),
    ] {
        if random.below(3) == 0 {
            options.extend([flag.to_owned(), pick(random, values)]);
        }
    }
    options
}

/// Returns whether mke2fs makes it and it grew.
fn grows(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let options = options(&mut random);
    let kib = 3000 + random.below(60_000);
    let Some(image) = Image::try_make(&options, kib) else {
        return false;
    };
    image.mend();
    if !image.is_clean() {
        return false;
    }
    let times = [2, 8, 40][random.below(3) as usize];
    let len = (kib << 10) + random.below((times * kib) << 10);
    let what = format!("seed {seed}: {options:?}, {kib} KiB to {len}");
    match image.plan(len) {
        // Nothing to judge: its copies are as stale as they were.
        Ok(plan) if plan.len == plan.old_len => return false,
        Ok(plan) => assert!(
            plan.len > len * 3 / 4 || len < 300 * MIB,
            "{what}: {}",
            plan.len
        ),
        Err(Declined::Unsupported(_)) => return false,
        Err(declined) => panic!("{what}: {declined:?}"),
    }
    let grown = image.grown(len);
    grown.assert_clean(&what);
    grown.assert_copies(&what, Copies::Places);
    true
}

#[test]
fn random_filesystems_stay_clean() {
    if is_skipped("random_filesystems_stay_clean") {
        return;
    }
    let seeds = if is_big_matrix() {
        SEEDS_OF_BIG_MATRIX
    } else {
        SEEDS
    };
    let count = (0..seeds).filter(|&seed| grows(seed)).count() as u64;
    assert!(count > seeds / 4, "only {count} of {seeds} grew");
}
