//! A filesystem in a file that grows, and what e2fsprogs say about it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use cardkeep_block::{MemoryMedium, ReadAt, Run, Silent, State, le_u16, le_u32};
use cardkeep_ext4::{Ext4, Superblock};
use cardkeep_resize::Declined;
use cardkeep_resize::grow::{Grown, plan};
use cardkeep_testkit::{CardFile, Random, Tool, skip_unless_tools};
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;
/// A card that was in use before is full of other things. Longer ones are left sparse.
const JUNK_BYTES_MAX: u64 = 1100 * MIB;
const TOOLS: [&str; 4] = ["mke2fs", "dumpe2fs", "e2fsck", "resize2fs"];

pub(crate) fn is_skipped(test: &str) -> bool {
    skip_unless_tools(test, &TOOLS)
}

/// How much copies of descriptors have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Copies {
    /// All: mke2fs left the filesystem.
    Whole,
    /// Where bitmaps and inode tables lie: counts go stale while a filesystem is in use.
    Places,
}

pub(crate) struct Image {
    folder: TempDir,
}

impl Image {
    /// Makes a filesystem of `kib` KiB with some files; `None` where mke2fs refuses the options.
    pub(crate) fn try_make(options: &[String], kib: u64) -> Option<Self> {
        let image = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let tree = image.folder.path().join("tree");
        plant(&tree);
        let (code, _) = Tool::new("mke2fs")
            .args(["-q", "-F", "-E", "nodiscard"])
            .args(options)
            .arg("-d")
            .arg(tree)
            .arg(image.path())
            .arg(format!("{kib}K"))
            .outcome();
        (code == Some(0)).then_some(image)
    }

    pub(crate) fn make(options: &str, kib: u64) -> Self {
        let words: Vec<String> = options.split_whitespace().map(String::from).collect();
        Self::try_make(&words, kib).unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn medium(&self) -> CardFile {
        CardFile::open(&self.path()).unwrap()
    }

    pub(crate) fn superblock(&self) -> Superblock {
        Superblock::load(&self.medium()).unwrap()
    }

    pub(crate) fn plan(&self, len: u64) -> Result<Grown, Declined> {
        plan(&self.medium(), len)
    }

    /// Returns the copy that a restore leaves on a larger card: what the map of the grown
    /// filesystem calls free keeps what was there before.
    pub(crate) fn grown(&self, len: u64) -> Self {
        let grown = self.plan(len).unwrap();
        assert!(grown.len <= len && grown.len >= grown.old_len);
        let medium = self.medium();
        let old = Ext4::load(&medium)
            .unwrap()
            .allocation_map(&Silent)
            .unwrap();
        let map = grown.map(&old, len);
        let target = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let file = File::create(target.path()).unwrap();
        file.set_len(len).unwrap();
        let is_junk_left = len <= JUNK_BYTES_MAX;
        let left = |run: &Run| run.state == State::Used || run.state == State::Free && is_junk_left;
        for run in map.runs().filter(left) {
            let mut offset = run.extent.start();
            while offset < run.extent.end() {
                let size = (run.extent.end() - offset).min(MIB);
                let mut bytes = vec![0; size as usize];
                match run.state {
                    State::Used if offset < medium.len() => {
                        let size = size.min(medium.len() - offset) as usize;
                        medium.read_at(offset, &mut bytes[..size]).unwrap();
                    }
                    State::Free => bytes.fill(0xA5),
                    _ => {}
                }
                if bytes.iter().any(|&byte| byte != 0) {
                    file.write_all_at(&bytes, offset).unwrap();
                }
                offset += size;
            }
        }
        for patch in &grown.patches {
            assert_eq!(
                map.runs_in(patch.extent()).count(),
                1,
                "{:?}",
                patch.extent()
            );
            file.write_all_at(&patch.bytes, patch.offset).unwrap();
        }
        target
    }

    /// Returns a copy that resize2fs made larger.
    pub(crate) fn grown_by_resize2fs(&self, len: u64) -> Self {
        let target = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::copy(self.path(), target.path()).unwrap();
        let file = File::options().write(true).open(target.path()).unwrap();
        file.set_len(len).unwrap();
        Tool::new("resize2fs").arg(target.path()).run();
        target
    }

    /// Returns a copy of another medium.
    pub(crate) fn copy_of(medium: &impl ReadAt) -> Self {
        let target = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let bytes = medium.read_vec(0, medium.len() as usize).unwrap();
        fs::write(target.path(), bytes).unwrap();
        target
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.check().is_ok()
    }

    fn check(&self) -> Result<(), String> {
        let (code, said) = Tool::new("e2fsck").arg("-fn").arg(self.path()).outcome();
        if code == Some(0) { Ok(()) } else { Err(said) }
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self, what: &str) {
        if let Err(said) = self.check() {
            panic!("{what}: {}", &said[..said.len().min(2000)]);
        }
    }

    /// Lets e2fsck mend what mke2fs left.
    pub(crate) fn mend(&self) {
        Tool::new("e2fsck").arg("-fy").arg(self.path()).outcome();
    }

    /// Returns dumpe2fs's words on the superblock that don't depend on the time, one a line.
    pub(crate) fn dump(&self) -> Vec<String> {
        let said = Tool::new("dumpe2fs").arg("-h").arg(self.path()).run();
        let kept = |line: &&str| {
            let changing = ["Checksum:", "Last write", "Lifetime writes:", "Overhead"];
            !changing.iter().any(|name| line.starts_with(name))
        };
        said.lines().filter(kept).map(String::from).collect()
    }

    pub(crate) fn field(&self, name: &str) -> u64 {
        let dump = self.dump();
        let line = dump.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    }

    /// Checks that each copy of the superblock and of the descriptors says what the first one
    /// does. e2fsck looks at them only in need.
    #[track_caller]
    pub(crate) fn assert_copies(&self, what: &str, likeness: Copies) {
        let superblock = self.superblock();
        let medium = self.medium();
        let bytes = u64::from(superblock.block_bytes);
        let block = |number: u64| medium.read_vec(number * bytes, bytes as usize).unwrap();
        let first = medium.read_vec(1024, 1024).unwrap();
        for (group, range) in self.places_of_copies() {
            let copy = &block(superblock.group_first_block(group))[..1024];
            // s_state, s_block_group_nr and s_checksum are each copy's own.
            assert_eq!(le_u16(copy, 0x5A), group as u16, "{what}: group {group}");
            let own = [0x3A..0x3C, 0x5A..0x5C, 0x3FC..0x400];
            for offset in (0..1024).filter(|at| !own.iter().any(|own| own.contains(at))) {
                assert_eq!(
                    copy[offset], first[offset],
                    "{what}: group {group}, {offset:#x}"
                );
            }
            assert!(Superblock::parse(copy).is_ok(), "{what}: group {group}");
            let Some((start, end)) = range else { continue };
            for (index, place) in (start..=end).enumerate() {
                let original = block(superblock.descriptor_block(index as u64));
                let is_alike = match likeness {
                    Copies::Whole => block(place) == original,
                    Copies::Places => {
                        let size = usize::from(superblock.descriptor_bytes);
                        places(&block(place), size).eq(places(&original, size))
                    }
                };
                assert!(is_alike, "{what}: block {place}");
            }
        }
        assert_eq!(le_u32(&first, 0x5C), superblock.compat);
    }

    /// Returns the groups with a copy, and where its descriptors lie unless in meta block groups.
    fn places_of_copies(&self) -> Vec<(u64, Option<(u64, u64)>)> {
        let superblock = self.superblock();
        let said = Tool::new("dumpe2fs").arg(self.path()).run();
        let copies = said.lines().filter_map(|line| {
            let (place, rest) = line
                .trim()
                .strip_prefix("Backup superblock at ")?
                .split_once(|c: char| !c.is_ascii_digit())
                .unwrap_or((line.trim().rsplit(' ').next()?, ""));
            let place: u64 = place.parse().ok()?;
            let first = u64::from(superblock.first_data_block);
            let group = (place - first) / u64::from(superblock.blocks_per_group);
            let descriptors = rest.strip_prefix(" Group descriptors at ").map(|range| {
                let (start, end) = range.split_once('-').unwrap_or((range, range));
                (start.parse().unwrap(), end.parse().unwrap())
            });
            Some((group, descriptors))
        });
        copies.collect()
    }

    pub(crate) fn in_memory(&self) -> MemoryMedium {
        MemoryMedium::from_bytes(&fs::read(self.path()).unwrap())
    }
}

/// Returns the places of all descriptors in a block, low and high halves.
fn places(block: &[u8], size: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
    let high = |record| <[u8]>::get(record, 0x20..0x2C).unwrap_or_default();
    block
        .chunks_exact(size)
        .map(move |record| (&record[..0x0C], high(record)))
}

/// Files of some sizes, a hole, links, and a folder of several blocks.
fn plant(root: &Path) {
    let mut random = Random::new(7);
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/hostname"), "raspberrypi\n").unwrap();
    for (index, size) in [0, 1, 4096, 70_000, 300_000].into_iter().enumerate() {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        fs::write(root.join(format!("etc/file {index}")), bytes).unwrap();
    }
    let holey = File::create(root.join("etc/holey")).unwrap();
    for hole in 0..20 {
        holey.write_all_at(b"island", hole * 40_000).unwrap();
    }
    symlink("../hostname", root.join("etc/deep/link")).unwrap();
    fs::hard_link(root.join("etc/hostname"), root.join("etc/deep/second name")).unwrap();
    for number in 0..100 {
        let path = root.join(format!("etc/deep/entry number {number}"));
        fs::write(path, [number as u8; 20]).unwrap();
    }
}
