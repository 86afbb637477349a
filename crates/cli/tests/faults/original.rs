//! What is restored: a small card made by the system's own tools, and images of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use cardkeep_block::Extent;
use cardkeep_testkit::{Loop, Random, Tool, skip_unless_fuse, skip_unless_tools};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::cardkeep;

pub(crate) const MIB: u64 = 1 << 20;
/// How long the card is, in bytes: it ends where no unit of anything ends.
pub(crate) const CARD_BYTES: u64 = 96 * MIB;
const FAT: Extent = Extent::between(MIB, 17 * MIB);
/// Where the ext4 filesystem lies.
pub(crate) const EXT: Extent = Extent::between(17 * MIB, 90 * MIB);
const TOOLS: [&str; 7] = [
    "gzip",
    "sfdisk",
    "mkfs.vfat",
    "mcopy",
    "mke2fs",
    "e2fsck",
    "fsck.fat",
];

/// A card in a file, with a FAT and an ext4 filesystem, both well filled.
pub(crate) struct Original {
    folder: TempDir,
    /// All its bytes.
    pub(crate) content: Vec<u8>,
    /// What of them matters.
    pub(crate) used: Vec<Extent>,
    /// What must be zero.
    pub(crate) zero: Vec<Extent>,
}

impl Original {
    /// Returns the card and its images, which all tests share that run at the same time; `None`
    /// where `test` can't be run here.
    pub(crate) fn new(test: &str) -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Original>> = Mutex::new(Weak::new());
        if skip_unless_fuse(test) || skip_unless_tools(test, &TOOLS) {
            return None;
        }
        let mut shared = SHARED.lock().unwrap();
        let original = shared.upgrade().unwrap_or_else(|| Arc::new(Self::made()));
        *shared = Arc::downgrade(&original);
        Some(original)
    }

    fn made() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let card = folder.path().join("card.img");
        make_card(folder.path(), &card);
        let image = folder.path().join("card.img.zst");
        cardkeep([Path::new("backup"), "--quiet".as_ref(), &card, &image]).expect(0);
        let arguments = [Path::new("info"), "--json".as_ref(), &image];
        let info = cardkeep(arguments).expect(0).json();
        let original = Self {
            content: fs::read(&card).unwrap(),
            used: extents(&info["map"]["used"]),
            zero: extents(&info["map"]["zero"]),
            folder,
        }
        .without_tail();
        Tool::new("sh")
            .args(["-c", "gzip -1 <\"$1\" >\"$2\"", "sh"])
            .args([original.raw(), original.gzipped()])
            .run();
        original
    }

    /// Leaves out what is to be zero behind the last partition: of a stream nobody knows in time where it
    /// ends, so that all of that is copied.
    fn without_tail(mut self) -> Self {
        self.zero.retain(|extent| extent.end() <= EXT.end());
        self
    }

    /// Returns the path of the raw card.
    pub(crate) fn raw(&self) -> PathBuf {
        self.folder.path().join("card.img")
    }

    /// Returns the path of the indexed image.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("card.img.zst")
    }

    /// Returns the path of an image that can only be read from its beginning on.
    pub(crate) fn gzipped(&self) -> PathBuf {
        self.folder.path().join("card.img.gz")
    }

    /// Returns a block of 4 KiB of a file's data in the ext4 filesystem, `part` percent into them.
    pub(crate) fn used_place(&self, part: usize) -> Extent {
        let long = self.used.iter().filter(|extent| extent.len() >= MIB);
        let inside = long.filter(|extent| extent.start() >= EXT.start() + MIB);
        let starts = inside.flat_map(|extent| {
            let first = extent.start().next_multiple_of(4096);
            (first..extent.end() - 4096).step_by(4096)
        });
        let is_data = |start: &u64| {
            let block = &self.content[*start as usize..][..4096];
            block.iter().filter(|&&byte| byte == 0).count() < 100
        };
        let starts: Vec<u64> = starts.filter(is_data).collect();
        let start = starts[starts.len() * part / 100];
        Extent::between(start, start + 4096)
    }

    /// Asserts that `card` holds all that matters, and that other programs find nothing wrong.
    pub(crate) fn assert_complete(&self, card: &Path) {
        let bytes = fs::read(card).unwrap();
        for &extent in &self.used {
            let range = extent.start() as usize..extent.end() as usize;
            let is_equal = bytes[range.clone()] == self.content[range];
            assert!(is_equal, "used bytes at {extent} are wrong");
        }
        for &extent in &self.zero {
            let range = extent.start() as usize..extent.end() as usize;
            let is_zero = bytes[range].iter().all(|&byte| byte == 0);
            assert!(is_zero, "bytes at {extent} are not zero");
        }
        let fat = Loop::attach_extent(card, FAT);
        Tool::new("fsck.fat").arg("-n").arg(fat.path()).run();
        let ext = Loop::attach_extent(card, EXT);
        Tool::new("e2fsck").arg("-fn").arg(ext.path()).run();
    }

    /// Returns what no restore may touch: neither used, nor to be zero, nor at the card's ends. What
    /// lies behind the last partition is left out: of a stream nobody knows in time where it ends.
    pub(crate) fn untouchable(&self) -> Vec<Extent> {
        let ends = [
            Extent::between(0, MIB),
            Extent::between(EXT.end(), CARD_BYTES),
        ];
        let mut filled = [&self.used, &self.zero, &ends[..]].concat();
        filled.sort_unstable_by_key(|extent| extent.start());
        let mut free = Vec::new();
        let mut end = 0;
        for extent in filled {
            if extent.start() > end {
                free.push(Extent::between(end, extent.start()));
            }
            end = end.max(extent.end());
        }
        assert!(free.len() > 1, "an image in which nothing is free");
        free
    }
}

fn extents(list: &Value) -> Vec<Extent> {
    let pairs = list.as_array().expect("a list of extents").iter();
    pairs
        .map(|pair| {
            let (start, len) = (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
            Extent::between(start, start + len)
        })
        .collect()
}

fn make_card(folder: &Path, card: &Path) {
    File::create(card).unwrap().set_len(CARD_BYTES).unwrap();
    let line = |extent: Extent, kind| {
        format!(
            "start={}, size={}, type={kind}\n",
            extent.start() / 512,
            extent.len() / 512
        )
    };
    let script = format!("label: dos\n{}{}", line(FAT, "c"), line(EXT, "83"));
    Tool::new("sfdisk")
        .args(["--quiet", "--no-reread"])
        .arg(card)
        .run_with(&script);
    let files = folder.join("files");
    fs::create_dir(&files).unwrap();
    let mut random = Random::new(0x0ca4_dc4e);
    for number in 0..5 {
        let mut bytes = vec![0; 4 * MIB as usize];
        random.fill(&mut bytes);
        fs::write(files.join(format!("file{number}")), bytes).unwrap();
    }
    let boot = folder.join("boot.bin");
    fs::copy(files.join("file0"), &boot).unwrap();
    let fat = folder.join("fat");
    File::create(&fat).unwrap().set_len(FAT.len()).unwrap();
    Tool::new("mkfs.vfat").arg(&fat).run();
    Tool::new("mcopy")
        .arg("-i")
        .args([&fat, &boot])
        .arg("::")
        .run();
    let ext = folder.join("ext");
    File::create(&ext).unwrap().set_len(EXT.len()).unwrap();
    Tool::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .args([&files, &ext])
        .run();
    let whole = File::options().write(true).open(card).unwrap();
    let behind = vec![0x5A; (CARD_BYTES - EXT.end()) as usize];
    whole.write_all_at(&behind, EXT.end()).unwrap();
    for (part, extent) in [(fat, FAT), (ext, EXT)] {
        whole
            .write_all_at(&fs::read(part).unwrap(), extent.start())
            .unwrap();
    }
    fs::remove_dir_all(files).unwrap();
}
