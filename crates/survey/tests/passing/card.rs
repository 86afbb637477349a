//! Cards in memory, made by other tools, and what is learnt of them in passing.

use std::fs;
use std::path::Path;

use cardkeep_block::{AllocationMap, Extent, MapBuilder, MemoryMedium, Run, Silent, State};
use cardkeep_survey::{PassingSurvey, Scope, survey};
use cardkeep_testkit::{Random, Tool};

pub(crate) const MIB: usize = 1 << 20;
const SECTOR: usize = 512;

/// What lies in a partition, by its type in the table.
pub(crate) const LINUX: u8 = 0x83;
pub(crate) const FAT32: u8 = 0x0C;
pub(crate) const SWAP: u8 = 0x82;

/// Makes an ext filesystem of `mib` MiB with a few files in it, some of them deleted again.
pub(crate) fn ext(options: &[&str], mib: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    let mut random = Random::new(mib as u64);
    for (index, size) in [10, 5_000, 60_000, 700_000, 1_500_000]
        .into_iter()
        .enumerate()
    {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        fs::write(tree.join(format!("etc/file {index}")), &bytes).unwrap();
        fs::write(tree.join(format!("etc/gone {index}")), &bytes).unwrap();
    }
    let image = folder.path().join("image");
    Tool::new("mke2fs")
        .args(["-q", "-F", "-E", "nodiscard"])
        .args(options)
        .arg("-d")
        .arg(&tree)
        .arg(&image)
        .arg(format!("{mib}M"))
        .run();
    debugfs(
        &image,
        "cd etc\nrm \"gone 0\"\nrm \"gone 1\"\nrm \"gone 3\"\nrm \"gone 4\"\n",
    );
    fs::read(image).unwrap()
}

/// Lets debugfs work on a filesystem in a file.
pub(crate) fn debugfs(image: &Path, words: &str) {
    let script = image.with_extension("words");
    fs::write(&script, words).unwrap();
    let debugfs = Tool::new("debugfs").args(["-w", "-f"]).arg(script);
    debugfs.arg(image).outcome();
}

/// Lets debugfs work on a filesystem in memory.
pub(crate) fn changed(bytes: &[u8], words: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    fs::write(&image, bytes).unwrap();
    debugfs(&image, words);
    fs::read(image).unwrap()
}

/// Makes a FAT filesystem of `mib` MiB with one file of 300 kB behind a hole.
pub(crate) fn fat(options: &[&str], mib: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (image, file) = (folder.path().join("image"), folder.path().join("file"));
    Tool::new("mkfs.vfat")
        .args(options)
        .arg("-C")
        .arg(&image)
        .arg((mib * 1024).to_string())
        .run();
    let mut bytes = vec![0; 300_000];
    Random::new(1).fill(&mut bytes);
    fs::write(&file, bytes).unwrap();
    for name in ["::first", "::second"] {
        Tool::new("mcopy")
            .arg("-i")
            .args([&image, &file])
            .arg(name)
            .run();
    }
    Tool::new("mdel").arg("-i").arg(&image).arg("::first").run();
    fs::read(image).unwrap()
}

/// Makes a swap area of `mib` MiB.
pub(crate) fn swap(mib: usize) -> Vec<u8> {
    let mut bytes = vec![0x77; mib * MIB];
    bytes[..4096].fill(0);
    bytes[1024] = 1;
    bytes[1028..1032].copy_from_slice(&((mib * 256) as u32 - 1).to_le_bytes());
    bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
    bytes
}

fn entry(record: &mut [u8], index: usize, kind: u8, (first, count): (usize, usize)) {
    let entry = &mut record[446 + index * 16..][..16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&(first as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&(count as u32).to_le_bytes());
    record[510..512].copy_from_slice(&[0x55, 0xAA]);
}

/// Lays out partitions behind 1 MiB of boot area, each followed by a gap of 3 MiB of rubbish.
pub(crate) fn mbr(partitions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut card = vec![0; MIB];
    for (index, (kind, bytes)) in partitions.iter().enumerate() {
        let place = (card.len() / SECTOR, bytes.len() / SECTOR);
        entry(&mut card[..SECTOR], index, *kind, place);
        card.extend_from_slice(bytes);
        card.extend_from_slice(&vec![0x99; 3 * MIB]);
    }
    card
}

/// As [`mbr`], with all but the first partition in a chain of logical ones.
pub(crate) fn logical(partitions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut card = mbr(&partitions[..1]);
    let base = card.len();
    let rest = &partitions[1..];
    for (index, (kind, bytes)) in rest.iter().enumerate() {
        let (own, size) = (card.len(), MIB + bytes.len());
        card.resize(own + MIB, 0);
        let place = (MIB / SECTOR, bytes.len() / SECTOR);
        entry(&mut card[own..own + SECTOR], 0, *kind, place);
        if let Some((_, next)) = rest.get(index + 1) {
            let link = ((own + size - base) / SECTOR, (MIB + next.len()) / SECTOR);
            entry(&mut card[own..own + SECTOR], 1, 0x05, link);
        }
        card.extend_from_slice(bytes);
    }
    let container = (base / SECTOR, (card.len() - base) / SECTOR);
    entry(&mut card[..SECTOR], 1, 0x05, container);
    card
}

/// What is learnt in passing, each piece judged as soon as it has passed.
pub(crate) fn judged(card: &[u8], len: Option<u64>, step: usize) -> (AllocationMap, PassingSurvey) {
    let mut passing = PassingSurvey::new(len, SECTOR as u32);
    let mut builder = MapBuilder::new(card.len() as u64);
    for piece in card.chunks(step) {
        passing.see(piece);
        let here = Extent::new(builder.end(), piece.len() as u64).unwrap();
        let runs = passing.runs(here);
        assert_tiling(&runs, here);
        for run in runs {
            builder.push_to(run.extent.end(), run.state);
        }
    }
    (builder.finish(State::Used), passing)
}

fn assert_tiling(runs: &[Run], whole: Extent) {
    let mut end = whole.start();
    for run in runs {
        assert_eq!(run.extent.start(), end);
        assert!(!run.extent.is_empty());
        end = run.extent.end();
    }
    assert_eq!(end, whole.end());
}

/// What a survey with access to any place says.
pub(crate) fn surveyed(card: &[u8]) -> AllocationMap {
    let medium = MemoryMedium::from_bytes(card);
    survey(&medium, SECTOR as u32, Scope::UsedOnly, &Silent).map
}

/// Asserts that nothing is free in passing that is not free to who can look everywhere.
pub(crate) fn assert_no_less_cautious(passing: &AllocationMap, whole: &AllocationMap) {
    for free in passing.extents(State::Free) {
        for run in whole.runs_in(free) {
            assert_eq!(run.state, State::Free, "{}", run.extent);
        }
    }
    for zero in passing.extents(State::Zero) {
        for run in whole.runs_in(zero) {
            assert_ne!(run.state, State::Used, "{}", run.extent);
        }
    }
}

/// Returns how much of what `whole` calls free is free in passing too, in percent.
pub(crate) fn percent(passing: &AllocationMap, whole: &AllocationMap) -> u64 {
    let free = whole.bytes(State::Free).max(1);
    passing.bytes(State::Free) * 100 / free
}
