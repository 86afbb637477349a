//! A filesystem in a file, and a smaller one made from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cardkeep_block::{AllocationMap, ReadAt, Silent, State};
use cardkeep_ext4::Ext4;
use cardkeep_resize::Declined;
use cardkeep_resize::shrink::{ShrinkPlan, Wanted, plan};
use cardkeep_testkit::{CardFile, Random, Tool, skip_unless_tools, tool};
use tempfile::TempDir;

const TOOLS: [&str; 4] = ["mke2fs", "debugfs", "dumpe2fs", "e2fsck"];

pub(crate) fn is_skipped(test: &str) -> bool {
    skip_unless_tools(test, &TOOLS)
}

/// The options of a filesystem whose first descriptors lie as they always did, those of later
/// groups in meta block groups: what growing leaves where the reserve ran out. The first word goes
/// into mke2fs's environment.
pub(crate) const MIXED: [&str; 9] = [
    "MKE2FS_FIRST_META_BG=2",
    "-t",
    "ext4",
    "-b",
    "1024",
    "-g",
    "512",
    "-O",
    "meta_bg,^resize_inode",
];

/// Calls mke2fs with `options`; such as hold a `=` and come first are put into its environment.
fn mke2fs(options: &[&str]) -> Tool {
    let split = options.iter().take_while(|word| word.contains('=')).count();
    let (environment, options) = options.split_at(split);
    Tool::new("env")
        .args(environment)
        .arg(tool("mke2fs").unwrap())
        .args(["-q", "-F", "-E", "nodiscard"])
        .args(options)
}

pub(crate) struct Image {
    folder: TempDir,
}

impl Image {
    /// Makes an empty filesystem of `mib` MiB.
    pub(crate) fn blank(options: &[&str], mib: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        mke2fs(options)
            .arg(folder.path().join("image"))
            .arg(format!("{mib}M"))
            .run();
        Self { folder }
    }

    /// Makes a filesystem of `mib` MiB whose files lie behind free space.
    pub(crate) fn aged(options: &[&str], mib: u32) -> Self {
        let image = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let tree = image.aside("tree");
        plant(&tree);
        mke2fs(options)
            .arg("-d")
            .arg(&tree)
            .arg(image.path())
            .arg(format!("{mib}M"))
            .run();
        let mut words: String = (0..200)
            .map(|number| format!("rm \"/a/deep/entry {number}\"\n"))
            .collect();
        words.push_str("rm /a/first\n");
        let script = image.aside("words");
        fs::write(&script, words).unwrap();
        Tool::new("debugfs")
            .args(["-w", "-f"])
            .arg(script)
            .arg(image.path())
            .run();
        image
    }

    /// Makes a filesystem of `kib` KiB with files; `None` where mke2fs refuses the options.
    pub(crate) fn planted(options: &[&str], kib: u64, plant: impl FnOnce(&Path)) -> Option<Self> {
        let image = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let tree = image.aside("tree");
        plant(&tree);
        let made = mke2fs(options).arg("-d").arg(&tree).arg(image.path());
        let (code, _) = made.arg(format!("{kib}K")).outcome();
        (code == Some(0)).then_some(image)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Lets e2fsck mend what mke2fs and debugfs left. Twice: it counts for quotas before it makes
    /// trees smaller.
    pub(crate) fn mend(&self) {
        for _ in 0..2 {
            Tool::new("e2fsck").arg("-fy").arg(self.path()).outcome();
        }
    }

    pub(crate) fn aside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn medium(&self) -> CardFile {
        CardFile::open(&self.path()).unwrap()
    }

    pub(crate) fn plan(&self, wanted: Wanted) -> Result<ShrinkPlan, Declined> {
        plan(&Ext4::load(self.medium()).unwrap(), wanted, &Silent)
    }

    /// Writes what a backup of the view leaves on a medium that was full of other things.
    pub(crate) fn restore(&self, plan: &ShrinkPlan) -> PathBuf {
        let view = plan.view(self.medium());
        let path = self.aside("smaller");
        fs::write(&path, restored(&view, plan.allocation_map())).unwrap();
        path
    }
}

pub(crate) fn restored(view: &impl ReadAt, map: &AllocationMap) -> Vec<u8> {
    assert_eq!(view.len(), map.len());
    let mut target = vec![0xA5; view.len() as usize];
    for run in map.runs() {
        let part = &mut target[run.extent.start() as usize..run.extent.end() as usize];
        match run.state {
            State::Used => view.read_at(run.extent.start(), part).unwrap(),
            State::Zero => part.fill(0),
            State::Free => {}
        }
    }
    target
}

/// Asserts that e2fsck finds nothing to say.
pub(crate) fn assert_clean(path: &Path, what: &str) {
    let (code, said) = Tool::new("e2fsck").arg("-fn").arg(path).outcome();
    assert_eq!(code, Some(0), "{what}: {said}");
}

/// Asserts that each copy of a block of group descriptors is one (e2fsck looks at them only in
/// need), and returns how many there are.
pub(crate) fn assert_copies(path: &Path, what: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    let size = dumped(path, "Block size:");
    let per_block = size / dumped_or(path, "Group descriptor size:", 32);
    let block = |number: u64| &bytes[(number * size) as usize..((number + 1) * size) as usize];
    let said = Tool::new("dumpe2fs").arg(path).run();
    let groups = said.split("\nGroup ");
    let groups = groups.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    let mut firsts: Vec<&[u8]> = Vec::new();
    let mut copies = 0;
    for (group, text) in (0u64..).zip(groups) {
        let Some((_, text)) = text.split_once("Group descriptor") else {
            continue;
        };
        let words = text.trim_start_matches("s").trim_start_matches(" at ");
        let range = words.split_whitespace().next().unwrap();
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let (start, end): (u64, u64) = (start.parse().unwrap(), end.parse().unwrap());
        // In meta block groups: just the one that describes the group itself.
        let is_plain = text.starts_with('s');
        for (place, own) in (start..=end).zip(0..) {
            let index = if is_plain { own } else { group / per_block } as usize;
            if index == firsts.len() {
                firsts.push(block(place));
            } else {
                assert!(block(place) == firsts[index], "{what}: copy at {place}");
                copies += 1;
            }
        }
    }
    copies
}

/// Returns how many clusters the superblock calls overhead that are not fixed metadata as dumpe2fs
/// lists it: the journal's.
pub(crate) fn other_overhead(path: &Path) -> u64 {
    let cluster = dumped_or(path, "Cluster size:", 0) / dumped(path, "Block size:");
    let said = Tool::new("dumpe2fs").arg(path).run();
    let names = [
        "superblock at ",
        "Group descriptors at ",
        "Group descriptor at ",
        "Reserved GDT blocks at ",
        "Block bitmap at ",
        "Inode bitmap at ",
        "Inode table at ",
    ];
    let mut clusters = BTreeSet::new();
    for place in names.iter().flat_map(|name| said.split(name).skip(1)) {
        let end = place.find(|c: char| !c.is_ascii_digit() && c != '-');
        let range = &place[..end.unwrap_or(place.len())];
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let (start, end): (u64, u64) = (start.parse().unwrap(), end.parse().unwrap());
        clusters.extend((start..=end).map(|block| block / cluster.max(1)));
    }
    dumped(path, "Overhead clusters:") - clusters.len() as u64
}

/// Returns a number that dumpe2fs tells.
pub(crate) fn dumped(path: &Path, name: &str) -> u64 {
    let said = Tool::new("dumpe2fs").arg("-h").arg(path).outcome().1;
    let line = said.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

/// Returns a number that dumpe2fs tells only where it is not `usual`.
fn dumped_or(path: &Path, name: &str, usual: u64) -> u64 {
    let said = Tool::new("dumpe2fs").arg("-h").arg(path).outcome().1;
    let line = said.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(usual, |number| number.trim().parse().unwrap())
}

/// A large file to be deleted, files of all kinds of sizes, a hole, links, a folder of many.
fn plant(root: &Path) {
    let mut random = Random::new(7);
    fs::create_dir_all(root.join("a/deep")).unwrap();
    fs::create_dir_all(root.join("z/deeper")).unwrap();
    let mut file = |name: &str, size: usize| {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        fs::write(root.join(name), bytes).unwrap();
    };
    file("a/first", 6_000_000);
    for number in 0..260 {
        file(&format!("a/deep/entry {number}"), number * 40);
    }
    for (index, size) in [0, 1, 999, 70_000, 900_000, 3_000_000]
        .into_iter()
        .enumerate()
    {
        file(&format!("z/file {index}"), size);
    }
    let holey = fs::File::create(root.join("z/holey")).unwrap();
    for hole in 0..40 {
        std::os::unix::fs::FileExt::write_all_at(&holey, b"island", hole * 40_000).unwrap();
    }
    fs::hard_link(root.join("z/file 3"), root.join("z/deeper/linked")).unwrap();
    std::os::unix::fs::symlink("../file 3", root.join("z/deeper/link")).unwrap();
    std::os::unix::fs::symlink("/x".repeat(70), root.join("z/long link")).unwrap();
}
