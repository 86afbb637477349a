//! What mke2fs can be asked for, and files to begin with: picked at random.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use cardkeep_resize::shrink::Wanted;
use cardkeep_testkit::Random;

/// As small as it gets.
pub(crate) const SMALLEST: Wanted = Wanted::Smallest {
    margin_per_mille: 0,
};
/// How many files are planted.
pub(crate) const FILES: u64 = 60;

/// One filesystem to be made.
#[derive(Debug)]
pub(crate) struct Options {
    words: Vec<String>,
    pub(crate) kib: u64,
    /// The kernel is to age it.
    pub(crate) is_mounted: bool,
}

/// Features that ext4 may have, each with a chance of one in six.
const FEATURES: [&str; 19] = [
    "^64bit",
    "^huge_file",
    "^metadata_csum",
    "^metadata_csum,uninit_bg",
    "^flex_bg",
    "^has_journal",
    "^dir_index",
    "^extra_isize",
    "metadata_csum_seed",
    "orphan_file",
    "inline_data",
    "large_dir",
    "ea_inode",
    "quota",
    "quota,project",
    "stable_inodes",
    "fast_commit",
    "^extent,^64bit",
    "^dir_nlink",
];

const EXTENDED: [&str; 6] = [
    "packed_meta_blocks=1",
    "lazy_itable_init=1",
    "num_backup_sb=1",
    "num_backup_sb=0",
    "stride=4,stripe_width=16",
    "resize=500000",
];

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

impl Options {
    /// Picks some. Where `can_mount`, about half of them for the kernel to age: large enough for
    /// a journal that it can work with.
    pub(crate) fn pick(random: &mut Random, can_mount: bool) -> Self {
        // Drawn either way: a seed is the same filesystem for everybody, as far as can be.
        let is_mounted = random.below(2) == 0 && can_mount;
        let mut words = Vec::new();
        let first_meta_bg = random.below(8).checked_sub(4);
        let block = match random.below(20) {
            // Several blocks of descriptors take many groups.
            _ if first_meta_bg.is_some_and(|first| first > 0) => 1024,
            0 if !is_mounted => 65536,
            1 if !is_mounted => 8192,
            2..=8 => 1024,
            9..=11 => 2048,
            _ => 4096,
        };
        if let Some(first) = first_meta_bg {
            words.push(format!("MKE2FS_FIRST_META_BG={first}"));
        }
        let features = features(random, first_meta_bg, block, &mut words);
        let mut push = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        push("-b", block.to_string());
        let values = |random: &mut Random, from: &[&str]| pick(random, from).to_owned();
        if first_meta_bg.is_some_and(|first| first > 0) {
            push("-g", values(random, &["256", "512"]));
        } else if random.below(3) == 0 {
            push("-g", values(random, &["256", "1024", "2048", "8192"]));
        }
        for (flag, from) in [
            ("-I", &["128", "256", "512", "1024"][..]),
            ("-i", &["1024", "4096", "65536", "100000"]),
            ("-N", &["600", "3000"]),
        ] {
            if random.below(4) == 0 {
                push(flag, values(random, from));
            }
        }
        let has_flex_bg = words.contains(&"ext4".to_owned()) && !features.contains(&"^flex_bg");
        let mut push = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if random.below(4) == 0 && has_flex_bg {
            push("-G", values(random, &["1", "2", "64"]));
        }
        if random.below(5) == 0 {
            push("-E", values(random, &EXTENDED));
        }
        if block == 2048 && !features.contains(&"^has_journal") {
            // Not the 2 MiB that mke2fs would give it.
            push("-J", "size=4".to_owned());
        }
        if !features.is_empty() {
            push("-O", features.join(","));
        }
        let (least, room) = match block {
            65536 => (40_000, 60_000),
            _ if is_mounted => (40_000, 40_000),
            _ => (12_000, 40_000),
        };
        Self {
            kib: least + random.below(room),
            words,
            // Mounting with MMP takes the kernel eleven seconds.
            is_mounted: is_mounted && !features.contains(&"mmp"),
        }
    }

    /// Returns mke2fs's arguments, and before them what goes into its environment.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// Picks a kind, how descriptors lie, clusters, and other features.
fn features(
    random: &mut Random,
    first_meta_bg: Option<u64>,
    block: u64,
    words: &mut Vec<String>,
) -> Vec<&'static str> {
    let kinds = ["ext2", "ext3", "ext4", "ext4", "ext4", "ext4", "ext4"];
    let kind = pick(random, &kinds);
    words.extend(["-t".to_owned(), kind.to_owned()]);
    if kind == "ext2" && random.below(5) == 0 {
        words.extend(["-r".to_owned(), "0".to_owned()]);
        return vec!["none"];
    }
    let mut features: Vec<&str> = Vec::new();
    if first_meta_bg.is_some() {
        features.push("meta_bg,^resize_inode");
    } else if random.below(3) == 0 {
        features.push("^resize_inode");
    }
    match random.below(8) {
        0 => features.push("sparse_super2"),
        1 if !features.is_empty() => features.push("^sparse_super"),
        _ => {}
    }
    if kind == "ext4" {
        let chosen = FEATURES.iter().filter(|_| random.below(8) == 0);
        features.extend(chosen);
        // Its tools wait before they write to one with MMP.
        if random.below(20) == 0 {
            features.push("mmp");
        }
        if random.below(3) == 0 && !features.contains(&"^extent,^64bit") {
            features.push("bigalloc");
            let ratio = [2, 4, 16, 64][random.below(4) as usize].min((1 << 18) / block);
            words.extend(["-C".to_owned(), (block * ratio).to_string()]);
        }
    }
    if block > 4096 {
        features.push("^has_journal");
    }
    features
}

/// Returns the place of a planted file.
pub(crate) fn file_name(number: u64) -> String {
    format!("/folder{}/file-{number}", number % 7)
}

/// Plants files of all kinds of sizes, links and holes below `root`.
pub(crate) fn plant(root: &Path, random: &mut Random) {
    for number in 0..FILES {
        let path = root.join(&file_name(number)[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if random.below(6) == 0 {
            let file = File::create(path).unwrap();
            for island in 0..random.below(30) {
                let place = island * (1 + random.below(50_000));
                file.write_all_at(b"island", place).unwrap();
            }
            continue;
        }
        let most = [80, 4_000, 60_000, 500_000][random.below(4) as usize];
        let mut bytes = vec![0; random.below(most) as usize];
        random.fill(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
    let deep = root.join("deep/er");
    fs::create_dir_all(&deep).unwrap();
    for number in 0..random.below(300) {
        fs::write(deep.join(format!("entry of a folder {number}")), [1; 9]).unwrap();
    }
    let target = "t".repeat(1 + random.below(200) as usize);
    symlink(target, root.join("symlink")).unwrap();
    fs::hard_link(root.join(&file_name(3)[1..]), root.join("hard link")).unwrap();
}
