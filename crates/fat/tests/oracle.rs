//! Filesystems made by `mkfs.vfat` and filled by mtools, compared with what `fsck.fat`,
//! `mtype`, `mshowfat` and `partclone.fat` say of them.
//!
//! The tests skip, visibly, where the tools are not installed. None needs root.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cardkeep_block::{AllocationMap, BlockError, Extent, MapBuilder, ReadAt, Silent, State};
use cardkeep_fat::{FatFs, FatKind, Owner, OwnerKind, probe};

/// A sparse image, of which only the filesystem's own structures are read.
#[derive(Debug)]
struct FileMedium(File);

impl ReadAt for FileMedium {
    fn len(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        self.0.read_exact_at(buffer, offset).unwrap();
        Ok(())
    }
}

/// Runs a tool and returns its status and what it printed; `None` where it is not installed.
fn try_run(tool: &str, arguments: &[&str]) -> Option<(bool, Vec<u8>)> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("LC_ALL", "C.UTF-8")
        .args(arguments)
        .output();
    match output {
        Ok(output) => Some((output.status.success(), output.stdout)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skipped(tool);
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a test that proves nothing must say so"
)]
fn skipped(tool: &str) {
    eprintln!("skipped: {tool} is not installed");
}

fn run(tool: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let (is_success, stdout) = try_run(tool, arguments)?;
    assert!(is_success, "{tool} {arguments:?}");
    Some(stdout)
}

/// Counts clusters and free ones as fsck.fat does.
fn fsck_counts(image: &Path) -> Option<(u32, u32)> {
    let (_, report) = try_run("fsck.fat", &["-n", "-v", image.to_str().unwrap()])?;
    let report = String::from_utf8_lossy(&report).into_owned();
    // "card.img: 45 files, 137/2036 clusters"
    let last = report.lines().rfind(|line| line.contains(" files, "));
    let counts = last.expect(&report).rsplit(", ").next().unwrap();
    let (used, all) = counts
        .trim_end_matches(" clusters")
        .split_once('/')
        .unwrap();
    let (used, all): (u32, u32) = (used.parse().unwrap(), all.parse().unwrap());
    Some((all, all - used))
}

/// An image in a folder of its own, with the content of its files.
struct Sample {
    folder: tempfile::TempDir,
    files: BTreeMap<String, Vec<u8>>,
}

const DIRECTORIES: [&str; 3] = ["/overlays", "/overlays/Größe und Länge", "/EMPTY"];

impl Sample {
    /// Makes a filesystem of `kib` KiB and fills it so that files and directories lie in pieces.
    fn new(kib: u64, options: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut sample = Self {
            folder,
            files: BTreeMap::new(),
        };
        let image = sample.image();
        File::create(&image).unwrap().set_len(kib << 10).unwrap();
        let name = image.to_str().unwrap();
        let all = [&["-n", "BOOTFS", "-i", "5049424b"], options, &[name]].concat();
        run("mkfs.vfat", &all)?;
        for directory in DIRECTORIES {
            sample.mtool("mmd", &[&format!("::{directory}")])?;
        }
        sample.add("/config.txt", 700)?;
        sample.add("/gap1", 70_000)?;
        sample.add("/kernel8.img", 50_000)?;
        sample.add("/gap2", 9_000)?;
        sample.add("/overlays/a rather long name.dtbo", 3)?;
        sample.remove("/gap1");
        sample.add("/overlays/Größe und Länge/straße.txt", 90_000)?;
        sample.remove("/gap2");
        sample.add("/empty.txt", 0)?;
        sample.add_overlays()?;
        Some(sample)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("card.img")
    }

    fn mtool(&self, tool: &str, arguments: &[&str]) -> Option<Vec<u8>> {
        let image = self.image();
        run(
            tool,
            &[&["-i", image.to_str().unwrap()], arguments].concat(),
        )
    }

    fn add(&mut self, path: &str, len: usize) -> Option<()> {
        let seed = self.files.len();
        let content: Vec<u8> = (0..len)
            .map(|i| (i * 31 + i / 251 + seed * 7) as u8)
            .collect();
        let source = self.folder.path().join("content");
        std::fs::write(&source, &content).unwrap();
        self.mtool("mcopy", &[source.to_str().unwrap(), &format!("::{path}")])?;
        self.files.insert(path.to_owned(), content);
        Some(())
    }

    /// Adds enough files for a second cluster of their directory.
    fn add_overlays(&mut self) -> Option<()> {
        let sources = self.folder.path().join("sources");
        std::fs::create_dir(&sources).unwrap();
        let mut arguments = Vec::new();
        for index in 0..40_u8 {
            let name = format!("overlay number {index}.dtbo");
            let source = sources.join(&name);
            std::fs::write(&source, [index; 100]).unwrap();
            arguments.push(source.to_str().unwrap().to_owned());
            self.files
                .insert(format!("/overlays/{name}"), vec![index; 100]);
        }
        arguments.push(String::from("::/overlays"));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.mtool("mcopy", &arguments)?;
        Some(())
    }

    fn remove(&mut self, path: &str) {
        self.mtool("mdel", &[&format!("::{path}")]).unwrap();
        self.files.remove(path);
    }

    fn load(&self) -> FatFs<FileMedium> {
        FatFs::load(FileMedium(File::open(self.image()).unwrap())).unwrap()
    }
}

fn samples() -> Option<Vec<(FatKind, Sample)>> {
    use FatKind::{Fat12, Fat16, Fat32};
    let cases: [(FatKind, u64, &[&str]); 7] = [
        (Fat12, 2 << 10, &["-F", "12"]),
        (Fat12, 7 << 10, &["-F", "12", "-s", "4", "-f", "1"]),
        (Fat12, 16 << 10, &["-F", "12", "-S", "4096"]),
        (Fat16, 32 << 10, &["-F", "16"]),
        (
            Fat16,
            (33 << 10) + 3,
            &["-F", "16", "-s", "8", "-R", "7", "-f", "2"],
        ),
        (Fat32, 64 << 10, &["-F", "32", "-s", "1"]),
        (Fat32, 300 << 10, &["-F", "32", "-S", "4096", "-s", "1"]),
    ];
    let made = cases
        .into_iter()
        .map(|(kind, kib, options)| Some((kind, Sample::new(kib, options)?)));
    made.collect()
}

#[test]
fn filesystems_by_mkfs_are_told_as_they_were_made() {
    let Some(samples) = samples() else { return };
    for (kind, sample) in samples {
        let fs = sample.load();
        let info = fs.info();
        assert_eq!(info.kind, kind);
        assert_eq!(
            probe(&FileMedium(File::open(sample.image()).unwrap())),
            Some(kind)
        );
        assert_eq!(info.label.as_deref(), Some("BOOTFS"));
        assert_eq!(info.volume_id.as_deref(), Some("5049-424B"));
        assert!(!info.dirty);
        let name = sample.image();
        let Some(counts) = fsck_counts(&name) else {
            return;
        };
        assert_eq!((info.cluster_count, info.free_clusters), counts, "{kind}");
        let cluster_bytes = info.cluster_bytes;
        let map = fs.allocation_map(&Silent).unwrap();
        let free = u64::from(info.free_clusters) * u64::from(cluster_bytes);
        assert_eq!(map.bytes(State::Free), free);
        assert_eq!(map.len(), std::fs::metadata(&name).unwrap().len());
    }
}

#[test]
fn a_small_fat32_is_fat32_as_for_linux() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("card.img");
    File::create(&image).unwrap().set_len(3 << 20).unwrap();
    let arguments = ["-F", "32", "-s", "1", image.to_str().unwrap()];
    if run("mkfs.vfat", &arguments).is_none() {
        return;
    }
    let fs = FatFs::load(FileMedium(File::open(&image).unwrap())).unwrap();
    assert_eq!(fs.info().kind, FatKind::Fat32);
    assert_eq!(fs.info().label, None);
    let Some(counts) = fsck_counts(&image) else {
        return;
    };
    assert_eq!((fs.info().cluster_count, fs.info().free_clusters), counts);
}

#[test]
fn files_are_read_as_mtype_reads_them() {
    let Some(samples) = samples() else { return };
    for (kind, sample) in samples {
        let fs = sample.load();
        for (path, content) in &sample.files {
            let found = fs.read_file(path, 1 << 20).unwrap();
            assert_eq!(found.as_ref(), Some(content), "{kind} {path}");
            // "ß" has no upper-case letter of its own.
            let shouted = path
                .to_uppercase()
                .replace("STRASSE", "straße")
                .replace("GRÖSSE", "größe");
            assert_eq!(
                fs.read_file(&shouted, 1 << 20).unwrap().as_ref(),
                Some(content)
            );
        }
        let typed = sample.mtool("mtype", &["::/kernel8.img"]).unwrap();
        assert_eq!(
            fs.read_file("kernel8.img", 1 << 20).unwrap().unwrap(),
            typed
        );
        let cut = fs.read_file("/kernel8.img", 20_001).unwrap().unwrap();
        assert_eq!(cut, typed[..20_001]);
        for missing in ["", "/", "/overlays", "/no", "/config.txt/x", "/gap1"] {
            assert_eq!(fs.read_file(missing, 10).unwrap(), None, "{missing}");
        }
    }
}

/// Clusters as `mshowfat` prints them: `::/name <2-16> <23>`.
fn shown_clusters(sample: &Sample, path: &str) -> Vec<(u64, u64)> {
    let text = sample.mtool("mshowfat", &[&format!("::{path}")]).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    let parts = text.split('<').skip(1);
    let ranges = parts.filter_map(|part| {
        let (range, _) = part.split_once('>')?;
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    });
    ranges.collect()
}

#[test]
fn owners_are_those_that_mshowfat_shows() {
    let Some(samples) = samples() else { return };
    for (kind, sample) in samples {
        let fs = sample.load();
        let map = fs.allocation_map(&Silent).unwrap();
        let len = map.len();
        let owners = fs.owners(&[Extent::between(0, len)]).unwrap();
        let data_end = owners
            .iter()
            .filter(|o| !matches!(o.what, OwnerKind::Outside))
            .map(|o| o.extent.end())
            .max()
            .unwrap();
        let info = fs.info();
        let cluster = u64::from(info.cluster_bytes);
        let data_start = data_end - u64::from(info.cluster_count) * cluster;
        let extents_of = |what: &OwnerKind| -> u64 {
            let own = owners.iter().filter(|o| o.what == *what);
            own.map(|o| o.extent.len()).sum()
        };
        let files = sample.files.keys().map(|p| (p, OwnerKind::File(p.clone())));
        let directories = DIRECTORIES.map(str::to_owned);
        let directories = directories
            .iter()
            .map(|p| (p, OwnerKind::Directory(p.clone())));
        for (path, what) in files.chain(directories) {
            let mut clusters = 0;
            for (first, last) in shown_clusters(&sample, path) {
                clusters += last - first + 1;
                for number in first..=last {
                    let start = data_start + (number - 2) * cluster;
                    let owner = owners.iter().find(|o| o.extent.contains(start)).unwrap();
                    assert_eq!(owner.what, what, "{kind} cluster {number}");
                }
            }
            assert_eq!(extents_of(&what), clusters * cluster, "{kind} {path}");
        }
        assert_eq!(extents_of(&OwnerKind::Unknown), 0);
        assert_eq!(map_of(&owners, len), map, "{kind}");
    }
}

/// The map that owners stand for. Every byte must have just one.
fn map_of(owners: &[Owner], len: u64) -> AllocationMap {
    let mut builder = MapBuilder::new(len);
    for owner in owners {
        assert_eq!(owner.extent.start(), builder.end());
        let state = match owner.what {
            OwnerKind::Free => State::Free,
            _ => State::Used,
        };
        builder.push_to(owner.extent.end(), state);
    }
    builder.finish(State::Zero)
}

/// The map in a log of partclone's domain mode: lines of start, length and status.
fn partclone_map(log: &Path, len: u64) -> AllocationMap {
    let text = std::fs::read_to_string(log).unwrap();
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
    let mut builder = MapBuilder::new(len);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [start, len, status @ ("+" | "?")] = words[..] {
            let state = if status == "+" {
                State::Used
            } else {
                State::Free
            };
            builder.push_to(number(start) + number(len), state);
        }
    }
    builder.finish(State::Used)
}

#[test]
fn the_map_is_that_of_partclone() {
    let Some(samples) = samples() else { return };
    for (kind, sample) in samples {
        // partclone 0.3.23 finds 104 used clusters on a FAT12 card where fsck.fat and mshowfat
        // find 68.
        if kind == FatKind::Fat12 {
            continue;
        }
        let fs = sample.load();
        let (image, log) = (sample.image(), sample.folder.path().join("map"));
        let (image, log_name) = (image.to_str().unwrap(), log.to_str().unwrap());
        let arguments = ["-D", "-F", "-L", "/dev/null", "-s", image, "-o", log_name];
        let Some((is_success, _)) = try_run("partclone.fat", &arguments) else {
            return;
        };
        assert!(is_success);
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map, partclone_map(&log, map.len()), "{kind} {image}");
    }
}
