//! A filesystem in a file, and what e2fsprogs say about it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cardkeep_block::{AllocationMap, BlockError, MemoryMedium, ReadAt, State};
use cardkeep_testkit::{Random, Tool, skip_unless_tools};
use tempfile::TempDir;

const TOOLS: [&str; 4] = ["mke2fs", "debugfs", "dumpe2fs", "e2fsck"];

pub(crate) fn is_skipped(test: &str) -> bool {
    skip_unless_tools(test, &TOOLS)
}

/// A file as a medium.
#[derive(Debug)]
pub(crate) struct FileMedium(File);

impl ReadAt for FileMedium {
    fn len(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        match self.0.read_exact_at(buffer, offset) {
            Ok(()) => Ok(()),
            // The error that a real medium gives.
            Err(_) => MemoryMedium::new(0).read_at(1, &mut [0]),
        }
    }
}

pub(crate) struct Image {
    folder: TempDir,
}

impl Image {
    /// Makes a filesystem of `mib` MiB that holds the files of [`Image::tree`].
    pub(crate) fn make(options: &[&str], mib: u32) -> Self {
        let image = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        plant(&image.tree());
        Tool::new("mke2fs")
            .args(["-q", "-F", "-E", "nodiscard"])
            .args(options)
            .arg("-d")
            .arg(image.tree())
            .arg(image.path())
            .arg(format!("{mib}M"))
            .run();
        image
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    pub(crate) fn aside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn medium(&self) -> FileMedium {
        FileMedium(File::open(self.path()).unwrap())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    pub(crate) fn has_inline_data(&self) -> bool {
        // s_feature_incompat, INLINE_DATA.
        self.bytes()[1024 + 0x61] & 0x80 != 0
    }

    /// Lets debugfs work on it.
    pub(crate) fn debugfs(&self, words: &str) -> String {
        let script = self.aside("words");
        fs::write(&script, words).unwrap();
        let debugfs = Tool::new("debugfs").args(["-w", "-f"]).arg(script);
        debugfs.arg(self.path()).outcome().1
    }

    pub(crate) fn dump(&self) -> Dump {
        Dump::parse(&Tool::new("dumpe2fs").arg(self.path()).outcome().1)
    }

    /// Returns what a backup by `map` leaves on a medium that was full of other things.
    pub(crate) fn restored(&self, map: &AllocationMap) -> Vec<u8> {
        let source = self.bytes();
        let mut target = vec![0xA5; source.len()];
        for run in map.runs() {
            let range = run.extent.start() as usize..run.extent.end() as usize;
            match run.state {
                State::Used => target[range.clone()].copy_from_slice(&source[range]),
                State::Zero => target[range].fill(0),
                State::Free => {}
            }
        }
        target
    }
}

/// Files of all kinds of sizes, a hole, links, and a folder of several blocks.
fn plant(root: &Path) {
    let mut random = Random::new(7);
    fs::create_dir_all(root.join("etc/deep/deeper")).unwrap();
    fs::write(root.join("etc/hostname"), "raspberrypi\n").unwrap();
    for (index, size) in [0, 1, 999, 4096, 70_000, 900_000].into_iter().enumerate() {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        fs::write(root.join(format!("etc/deep/file {index}")), bytes).unwrap();
    }
    let holey = File::create(root.join("etc/deep/holey")).unwrap();
    for hole in 0..40 {
        holey.write_all_at(b"island", hole * 40_000).unwrap();
    }
    std::os::unix::fs::symlink("../hostname", root.join("etc/deep/link")).unwrap();
    let long = format!("{}/etc/hostname", "/etc/..".repeat(20));
    std::os::unix::fs::symlink(long, root.join("long link")).unwrap();
    for number in 0..300 {
        fs::write(
            root.join(format!("etc/deep/deeper/entry {number}")),
            [number as u8; 20],
        )
        .unwrap();
    }
}

/// A group by dumpe2fs's account. Block ranges hold their last block.
#[derive(Debug)]
pub(crate) struct DumpedGroup {
    pub(crate) blocks: (u64, u64),
    pub(crate) metadata: Vec<(u64, u64)>,
    pub(crate) free: Vec<(u64, u64)>,
    pub(crate) inode_table: (u64, u64),
    pub(crate) unused_inodes: u64,
    pub(crate) is_table_zeroed: bool,
}

/// A filesystem by dumpe2fs's account.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) block_bytes: u64,
    pub(crate) block_count: u64,
    pub(crate) free_block_count: u64,
    pub(crate) inode_bytes: u64,
    pub(crate) groups: Vec<DumpedGroup>,
}

impl Dump {
    fn parse(text: &str) -> Self {
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let block_bytes = field("Block size:").unwrap();
        let ratio = field("Cluster size:").map_or(1, |cluster| cluster / block_bytes);
        let mut groups: Vec<DumpedGroup> = Vec::new();
        for line in text.lines() {
            if let Some((_, rest)) = line
                .strip_prefix("Group ")
                .and_then(|l| l.split_once(": (Blocks "))
            {
                groups.push(DumpedGroup {
                    blocks: range(rest.split(')').next().unwrap()),
                    metadata: Vec::new(),
                    free: Vec::new(),
                    inode_table: (0, 0),
                    unused_inodes: 0,
                    is_table_zeroed: line.contains("ITABLE_ZEROED"),
                });
            } else if let Some(group) = groups.last_mut() {
                group.take(line.trim(), ratio);
            }
        }
        Self {
            block_bytes,
            block_count: field("Block count:").unwrap(),
            free_block_count: field("Free blocks:").unwrap(),
            inode_bytes: field("Inode size:").unwrap_or(128),
            groups,
        }
    }
}

impl DumpedGroup {
    fn take(&mut self, line: &str, ratio: u64) {
        if let Some(list) = line.strip_prefix("Free blocks:") {
            let last = self.blocks.1;
            // With clusters, the last one is named by its first block.
            let ranges = list
                .split(',')
                .filter(|item| !item.trim().is_empty())
                .map(range);
            self.free = ranges
                .map(|(a, b)| (a, (b + ratio - 1).min(last)))
                .collect();
            return;
        }
        if line.contains("unused inodes") {
            let unused = line
                .split(',')
                .find(|part| part.contains("unused"))
                .unwrap();
            self.unused_inodes = unused.split_whitespace().next().unwrap().parse().unwrap();
            return;
        }
        for part in line.split(", ") {
            if let Some((name, place)) = part.split_once(" at ") {
                let place = range(
                    place
                        .split_whitespace()
                        .next()
                        .unwrap()
                        .trim_end_matches(','),
                );
                self.metadata.push(place);
                if name.ends_with("Inode table") {
                    self.inode_table = place;
                }
            }
        }
    }
}

/// Reads `a-b` or `a`.
pub(crate) fn range(text: &str) -> (u64, u64) {
    let (first, last) = text
        .trim()
        .split_once('-')
        .unwrap_or((text.trim(), text.trim()));
    (first.parse().unwrap(), last.parse().unwrap())
}
