//! Filesystems made by mksquashfs, compared with what `unsquashfs -s` says of them.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

use std::fs;
use std::path::PathBuf;

use cardkeep_block::{Driver, Extent, MemoryMedium, ReadAt, Silent, Slice, State, Structure};
use cardkeep_squashfs::{Squashfs, SquashfsDriver};
use cardkeep_testkit::{Random, Tool, skip_unless_tools};
use tempfile::TempDir;

const TOOLS: [&str; 2] = ["mksquashfs", "unsquashfs"];
const CREATED: u64 = 1_700_000_000;

/// A folder with files that pack well, badly and not at all, and some directories.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let mut random = Random::new(7);
    for directory in 0..5 {
        let directory = tree.join(format!("directory {directory}"));
        fs::create_dir_all(&directory).unwrap();
        for (index, len) in [0, 10, 5_000, 200_000].into_iter().enumerate() {
            let mut bytes = vec![b'x'; len];
            random.fill(&mut bytes[..len / 2]);
            fs::write(directory.join(format!("file {index}")), &bytes).unwrap();
        }
    }
    folder
}

/// Packs the tree, and returns the image.
fn packed(folder: &TempDir, options: &[&str]) -> PathBuf {
    let image = folder.path().join("image");
    Tool::new("mksquashfs")
        .arg(folder.path().join("tree"))
        .arg(&image)
        .args(["-noappend", "-quiet", "-no-progress"])
        .args(["-mkfs-time", &CREATED.to_string()])
        .args(options)
        .run();
    image
}

/// What unsquashfs says behind `key`.
fn said(superblock: &str, key: &str) -> String {
    let lines = superblock.lines();
    let mut found = lines.filter_map(|line| line.strip_prefix(key));
    let value = found
        .next()
        .unwrap_or_else(|| panic!("{key}: {superblock}"));
    value.trim().to_owned()
}

#[test]
fn superblocks_are_read_as_unsquashfs_reads_them() {
    if skip_unless_tools("superblocks_are_read_as_unsquashfs_reads_them", &TOOLS) {
        return;
    }
    let folder = tree();
    let cases: [&[&str]; 10] = [
        &["-comp", "gzip"],
        &["-comp", "lzo"],
        &["-comp", "lz4"],
        &["-comp", "xz", "-b", "1M"],
        &["-comp", "zstd", "-b", "4K"],
        &["-nopad"],
        &["-no-fragments", "-no-exports", "-no-xattrs"],
        &["-always-use-fragments"],
        &["-noI", "-noD", "-noF", "-noX"],
        &["-root-owned", "-no-duplicates"],
    ];
    for options in cases {
        let image = packed(&folder, options);
        let superblock = Tool::new("unsquashfs").arg("-s").arg(&image).run();
        let medium = MemoryMedium::from_bytes(&fs::read(&image).unwrap());
        let fs = Squashfs::load(&medium).unwrap();
        let own = fs.superblock();
        let size = said(&superblock, "Filesystem size ");
        let size: u64 = size.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(own.bytes_used, size, "{options:?}");
        assert_eq!(fs.claimed_len(), medium.len(), "{options:?}");
        let numbers = [
            ("Block size ", u64::from(own.block_bytes)),
            ("Number of inodes ", u64::from(own.inode_count)),
        ];
        for (key, value) in numbers {
            assert_eq!(said(&superblock, key), value.to_string(), "{options:?}");
        }
        let compression = own.compression.to_string();
        assert_eq!(said(&superblock, "Compression "), compression);
        assert_eq!(u64::from(own.created_seconds), CREATED);
    }
}

/// Catches: parts of the filesystem under wrong names. What is called packed contents can be damaged
/// without harm to any name, and the tables can't.
#[test]
fn damage_hits_what_the_owner_says() {
    if skip_unless_tools("damage_hits_what_the_owner_says", &TOOLS) {
        return;
    }
    let folder = tree();
    let image = packed(&folder, &[]);
    let bytes = fs::read(&image).unwrap();
    let medium = MemoryMedium::from_bytes(&bytes);
    let fs = SquashfsDriver.open(&medium).unwrap();
    let owners = fs.owners(&[Extent::between(0, medium.len())], &Silent);
    let list = |structure: Option<Structure>| {
        let mut damaged = bytes.clone();
        let own = owners.iter().filter(|owner| owner.structure == structure);
        for owner in own {
            let (start, end) = (owner.extent.start() as usize, owner.extent.end() as usize);
            damaged[start..end].fill(0xFF);
        }
        let path = folder.path().join("damaged");
        fs::write(&path, damaged).unwrap();
        let tool = Tool::new("unsquashfs").args(["-lls", "-n"]).arg(&path);
        let (code, said) = tool.outcome();
        (code == Some(0)).then_some(said)
    };
    let whole = list(None).unwrap();
    assert!(whole.contains("file 3"), "{whole}");
    assert_eq!(list(Some(Structure::PackedFiles)), Some(whole.clone()));
    for structure in [
        Structure::Superblock,
        Structure::InodeTable,
        Structure::Directories,
    ] {
        assert_ne!(list(Some(structure)), Some(whole.clone()), "{structure}");
    }
}

#[test]
fn one_that_is_cut_short_is_refused_as_by_unsquashfs() {
    if skip_unless_tools("one_that_is_cut_short_is_refused_as_by_unsquashfs", &TOOLS) {
        return;
    }
    let folder = tree();
    let image = packed(&folder, &["-nopad"]);
    let medium = MemoryMedium::from_bytes(&fs::read(&image).unwrap());
    let cut = Slice::new(&medium, Extent::between(0, medium.len() - 1));
    assert!(SquashfsDriver.probe(&cut));
    assert!(SquashfsDriver.open(&cut).is_err());
    let whole = SquashfsDriver.open(&medium).unwrap();
    let map = whole.allocation_map(&Silent).unwrap();
    assert_eq!(map.bytes(State::Used), medium.len());
}
