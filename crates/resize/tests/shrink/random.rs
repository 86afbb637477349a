//! Random options, files, lives and sizes; each seed is one filesystem, which is made smaller,
//! larger and smaller again. `CARDKEEP_SEEDS=FROM..TO` runs other seeds than the usual ones.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use cardkeep_block::{MemoryMedium, ReadAt, Silent, State};
use cardkeep_ext4::Ext4;
use cardkeep_resize::Declined;
use cardkeep_resize::grow;
use cardkeep_resize::shrink::{Wanted, plan};
use cardkeep_testkit::{Churn, Likeness, Loop, Mount, Random, Tool, Tree, is_big_matrix, tool};

use crate::image::{Image, assert_clean, assert_copies, is_skipped, restored};
use crate::options::{self, Options};

const SEEDS: u64 = 10;
const SEEDS_OF_BIG_MATRIX: u64 = 60;
const SEEDS_VARIABLE: &str = "CARDKEEP_SEEDS";

/// What may be declined of what mke2fs makes, as docs/design/0004 lists it.
const DOCUMENTED: [&str; 5] = [
    "quotas, which splitting a file would put out of step",
    "a last cluster that is cut short",
    "a list of bad blocks",
    "both a resize inode and meta block groups",
    "its first meta block group behind its end",
];

/// How a seed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// mke2fs or e2fsck did not like it.
    NotMade,
    Declined,
    /// It was made smaller, but declined to be larger again.
    Smaller,
    /// Smaller, larger and smaller again.
    ThereAndBack,
}

/// A filesystem and how to look at its files.
struct Subject {
    what: String,
    is_mounted: bool,
    before: Tree,
}

impl Subject {
    fn tree(&self, image: &Image, path: &Path) -> Tree {
        if self.is_mounted {
            mounted_tree(path).unwrap()
        } else {
            dumped_tree(image, path)
        }
    }

    /// Asserts that the filesystem at `path` is sound and holds the same files.
    fn assert_same(&self, image: &Image, path: &Path, when: &str) {
        let what = format!("{}, {when}", self.what);
        assert_clean(path, &what);
        let likeness = if self.is_mounted {
            Likeness::Files
        } else {
            Likeness::Contents
        };
        let differences = self.before.differences(&self.tree(image, path), likeness);
        assert!(differences.is_empty(), "{what}: {differences:#?}");
    }
}

/// Returns the files as the kernel shows them. Without looking at the journal: a small one in a
/// small filesystem can stop a kernel for good.
fn mounted_tree(path: &Path) -> Option<Tree> {
    let options = if has_feature(path, "has_journal") {
        "ro,noload"
    } else {
        "ro"
    };
    let device = Loop::attach(path);
    let mount = Mount::new(device.path(), options).ok()?;
    Some(Tree::read(mount.path()).unwrap())
}

fn dumped_tree(image: &Image, path: &Path) -> Tree {
    let folder = image.aside("dumped");
    fs::create_dir(&folder).unwrap();
    let words = format!("rdump / {}", folder.display());
    Tool::new("debugfs").args(["-R", &words]).arg(path).run();
    let tree = Tree::read(&folder).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    tree
}

fn has_feature(path: &Path, name: &str) -> bool {
    let said = Tool::new("dumpe2fs").arg("-h").arg(path).outcome().1;
    let mut features = said
        .lines()
        .filter_map(|line| line.strip_prefix("Filesystem features:"));
    features.any(|line| line.split_whitespace().any(|word| word == name))
}

/// Lets the kernel age it, and tells whether it did: it mounts not all that mke2fs makes.
fn live(image: &Image, seed: u64, random: &mut Random) -> bool {
    let device = Loop::attach(&image.path());
    let Ok(mount) = Mount::new(device.path(), "noatime") else {
        return false;
    };
    let ballast = mount.path().join("ballast");
    // Full is no failure.
    fs::write(&ballast, vec![7; random.below(12 << 20) as usize]).ok();
    for number in 0..random.below(40) {
        let folder = mount.path().join(format!("spread {number}"));
        if fs::create_dir(&folder).is_ok() {
            fs::write(folder.join("content"), vec![number as u8; 3000]).ok();
        }
    }
    let steps = 100 + random.below(500) as u32;
    Churn::unix(mount.path(), seed).run(steps).ok();
    fs::remove_file(ballast).ok();
    let steps = random.below(100) as u32;
    Churn::unix(mount.path(), seed + 100_000).run(steps).ok();
    true
}

/// Lets debugfs delete files, punch holes and add attributes.
fn edit(image: &Image, random: &mut Random) {
    let mut words = String::new();
    fs::write(image.aside("value"), vec![b'v'; 700]).unwrap();
    for number in 0..options::FILES {
        let file = options::file_name(number);
        match random.below(8) {
            0..=2 => words += &format!("rm {file}\n"),
            3 => words += &format!("punch {file} {} {}\n", random.below(4), 4 + random.below(9)),
            4 => words += &format!("ea_set {file} user.short value\n"),
            5 => {
                let value = image.aside("value");
                words += &format!("ea_set -f {} {file} user.long\n", value.display());
            }
            _ => {}
        }
    }
    words += &format!(
        "fallocate {} 2000 2050\n",
        options::file_name(options::FILES - 1)
    );
    let script = image.aside("words");
    fs::write(&script, words).unwrap();
    let debugfs = Tool::new("debugfs").args(["-w", "-f"]).arg(script);
    debugfs.arg(image.path()).outcome();
}

fn is_clean(path: &Path) -> bool {
    let (code, _) = Tool::new("e2fsck").arg("-fn").arg(path).outcome();
    code == Some(0)
}

/// Makes the filesystem of a seed.
fn subject(seed: u64, random: &mut Random) -> Option<(Image, Subject)> {
    let options = Options::pick(random, can_mount());
    let image = Image::planted(&options.words(), options.kib, |root| {
        options::plant(root, random);
    })?;
    edit(&image, random);
    if !is_clean(&image.path()) {
        image.mend();
    }
    if !is_clean(&image.path()) {
        return None;
    }
    let is_mounted = options.is_mounted && live(&image, seed, random);
    if !is_clean(&image.path()) {
        return None;
    }
    let before = match is_mounted {
        true => mounted_tree(&image.path())?,
        false => dumped_tree(&image, &image.path()),
    };
    let what = format!("seed {seed}: {:?}", options);
    Some((
        image,
        Subject {
            what,
            is_mounted,
            before,
        },
    ))
}

fn can_mount() -> bool {
    let is_root = fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
    });
    is_root && Path::new("/dev/loop-control").exists() && tool("losetup").is_some()
}

fn smaller(bytes: &[u8], wanted: Wanted) -> Result<(Vec<u8>, Vec<u8>, u64), Declined> {
    let medium = MemoryMedium::from_bytes(bytes);
    let plan = plan(&Ext4::load(&medium)?, wanted, &Silent)?;
    let view = plan.view(&medium);
    let whole = view.read_vec(0, plan.len() as usize).unwrap();
    let restored = restored(&view, plan.allocation_map());
    Ok((restored, whole, plan.block_count()))
}

/// Returns what restoring it to a larger partition full of other things leaves.
fn larger(bytes: &[u8], len: u64) -> Result<Vec<u8>, Declined> {
    let medium = MemoryMedium::from_bytes(bytes);
    let grown = grow::plan(&medium, len)?;
    let old = Ext4::load(&medium)?.allocation_map(&Silent)?;
    let mut target = vec![0xA5; len as usize];
    for run in grown.map(&old, len).runs() {
        let range = run.extent.start() as usize..run.extent.end() as usize;
        match run.state {
            State::Used => {
                let end = range.end.min(bytes.len());
                if let Some(source) = bytes.get(range.start..end) {
                    target[range.start..end].copy_from_slice(source);
                }
            }
            State::Zero => target[range].fill(0),
            State::Free => {}
        }
    }
    for patch in &grown.patches {
        let start = patch.offset as usize;
        target[start..start + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    target.truncate(grown.len as usize);
    Ok(target)
}

fn assert_documented(declined: &Declined, what: &str) {
    let Declined::Unsupported(reason) = declined else {
        panic!("{what}: {declined:?}");
    };
    let reason = reason.to_string();
    let is_documented = DOCUMENTED.iter().any(|known| reason.contains(known));
    assert!(is_documented, "{what}: {reason}");
}

/// Picks a size that there must be, `least` being the smallest.
fn wanted(random: &mut Random, least: u64, most: u64) -> Wanted {
    match random.below(3) {
        0 => Wanted::Smallest {
            margin_per_mille: 0,
        },
        1 => Wanted::Smallest {
            margin_per_mille: random.below(300) as u32,
        },
        _ => Wanted::Blocks(least + random.below(most - least + 1)),
    }
}

fn there_and_back(seed: u64) -> Ending {
    let mut random = Random::new(seed);
    let Some((image, subject)) = subject(seed, &mut random) else {
        return Ending::NotMade;
    };
    let what = &subject.what;
    let bytes = fs::read(image.path()).unwrap();
    let least = match smaller(&bytes, options::SMALLEST) {
        Ok((_, _, least)) => least,
        Err(declined) => {
            assert_documented(&declined, what);
            return Ending::Declined;
        }
    };
    let most = Ext4::load(MemoryMedium::from_bytes(&bytes)).unwrap();
    let wanted = wanted(&mut random, least, most.superblock().block_count);
    let (small, whole, count) = match smaller(&bytes, wanted) {
        Ok(made) => made,
        Err(declined) => {
            assert_documented(&declined, &format!("{what}, {wanted:?}"));
            return Ending::Declined;
        }
    };
    let path = image.aside("smaller");
    fs::write(&path, &small).unwrap();
    subject.assert_same(
        &image,
        &path,
        &format!("{wanted:?}: {count}, least {least}"),
    );
    assert_copies(&path, what);
    // However a size was asked for, it is the same filesystem.
    let (_, again, _) = smaller(&bytes, Wanted::Blocks(count)).unwrap();
    assert!(again == whole, "{what}, {wanted:?}: {count} is not {count}");

    let times = if random.below(8) == 0 { 5 } else { 1 };
    let len = bytes.len() as u64 + random.below(times * bytes.len() as u64);
    let large = match larger(&small, len) {
        Ok(large) => large,
        Err(Declined::Unsupported(_)) => return Ending::Smaller,
        Err(declined) => panic!("{what}, {wanted:?}, to {len}: {declined:?}"),
    };
    fs::write(&path, &large).unwrap();
    subject.assert_same(&image, &path, &format!("{wanted:?}, then {len} bytes"));

    let margin_per_mille = random.below(100) as u32;
    let again = smaller(&large, Wanted::Smallest { margin_per_mille });
    let (small, _, _) = again.unwrap_or_else(|e| panic!("{what}, {wanted:?}, {len}: {e:?}"));
    fs::write(&path, &small).unwrap();
    subject.assert_same(&image, &path, &format!("{wanted:?}, {len}, smaller again"));
    Ending::ThereAndBack
}

/// Returns the seeds to run.
fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var(SEEDS_VARIABLE) else {
        return 0..if is_big_matrix() {
            SEEDS_OF_BIG_MATRIX
        } else {
            SEEDS
        };
    };
    let (from, to) = range.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn random_filesystems_go_there_and_back() {
    if is_skipped("random_filesystems_go_there_and_back") {
        return;
    }
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let mut endings: BTreeMap<Ending, u64> = BTreeMap::new();
    for seed in seeds {
        *endings.entry(there_and_back(seed)).or_default() += 1;
    }
    let back = endings.get(&Ending::ThereAndBack).copied().unwrap_or(0);
    assert!(back > count / 2 || count < SEEDS, "{endings:?}");
}
