//! Filesystems made by mkfs.erofs, compared with what `dump.erofs` and `fsck.erofs` say of them.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

use std::fs;
use std::path::{Path, PathBuf};

use cardkeep_block::{Driver, Filesystem, MemoryMedium, ReadAt, Silent, State};
use cardkeep_erofs::{Erofs, ErofsDriver};
use cardkeep_testkit::{Tool, skip_unless_tools};
use tempfile::TempDir;

const TOOLS: [&str; 3] = ["mkfs.erofs", "dump.erofs", "fsck.erofs"];
const UUID: &str = "12345678-1234-1234-1234-123456789abc";
const CREATED: u64 = 1_700_000_000;

fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    for (index, len) in [0, 10, 5_000, 300_000].into_iter().enumerate() {
        let bytes: Vec<u8> = (0..len).map(|at: usize| (at / 97) as u8).collect();
        fs::write(tree.join(format!("etc/file {index}")), bytes).unwrap();
    }
    folder
}

/// Packs the tree, and returns the image.
fn packed(folder: &TempDir, options: &[&str]) -> PathBuf {
    let image = folder.path().join("image");
    Tool::new("mkfs.erofs")
        .args(["--quiet", "-U", UUID, "-T", &CREATED.to_string()])
        .args(options)
        .arg(&image)
        .arg(folder.path().join("tree"))
        .run();
    image
}

fn medium(image: &Path) -> MemoryMedium {
    MemoryMedium::from_bytes(&fs::read(image).unwrap())
}

/// What dump.erofs says behind `key`.
fn said(superblock: &str, key: &str) -> String {
    let lines = superblock.lines();
    let mut found = lines.filter_map(|line| line.strip_prefix(key));
    let value = found
        .next()
        .unwrap_or_else(|| panic!("{key}: {superblock}"));
    value.trim().to_owned()
}

#[test]
fn superblocks_are_read_as_dump_erofs_reads_them() {
    if skip_unless_tools("superblocks_are_read_as_dump_erofs_reads_them", &TOOLS) {
        return;
    }
    let folder = tree();
    let cases: [(&[&str], Option<&str>); 6] = [
        (&[], None),
        (&["-zlz4hc"], Some("lz4")),
        (&["-zlz4", "-C65536"], Some("lz4")),
        (&["-zlz4hc,9", "-Eztailpacking"], Some("lz4")),
        (&["-Enosbcrc"], None),
        (&["--chunksize=4096"], None),
    ];
    for (options, compression) in cases {
        let image = packed(&folder, options);
        let (_, faults) = Tool::new("fsck.erofs").arg(&image).outcome();
        assert_eq!(faults, "", "{options:?}");
        let superblock = Tool::new("dump.erofs").arg("-s").arg(&image).run();
        let medium = medium(&image);
        let fs = Erofs::load(&medium).unwrap();
        let blocks = said(&superblock, "Filesystem blocks:");
        assert_eq!(
            fs.superblock().block_count.to_string(),
            blocks,
            "{options:?}"
        );
        assert_eq!(fs.superblock().len(), medium.len(), "{options:?}");
        let summary = fs.summary();
        assert_eq!(summary.uuid.as_deref(), Some(UUID));
        assert_eq!(said(&superblock, "Filesystem UUID:"), UUID);
        assert_eq!(summary.compression.as_deref(), compression, "{options:?}");
        assert_eq!(summary.created_seconds, Some(CREATED));
        assert_eq!(summary.more_devices, 0);
        let map = Filesystem::allocation_map(&fs, &Silent).unwrap();
        assert_eq!(map.bytes(State::Used), medium.len());
    }
}

#[test]
fn files_on_another_device_are_noted() {
    if skip_unless_tools("files_on_another_device_are_noted", &TOOLS) {
        return;
    }
    let folder = tree();
    let blobs = folder.path().join("blobs");
    let option = format!("--blobdev={}", blobs.display());
    let image = packed(&folder, &[&option, "--chunksize=4096"]);
    let medium = medium(&image);
    let fs = ErofsDriver.open(&medium).unwrap();
    assert_eq!(fs.summary().more_devices, 1);
    assert_eq!(fs.summary().len, medium.len());
    assert!(fs::metadata(blobs).unwrap().len() > 300_000);
}

/// Catches: a checksum over other bytes than those that mkfs.erofs and fsck.erofs take.
#[test]
fn a_changed_superblock_is_refused_as_by_fsck_erofs() {
    if skip_unless_tools("a_changed_superblock_is_refused_as_by_fsck_erofs", &TOOLS) {
        return;
    }
    let folder = tree();
    let image = packed(&folder, &[]);
    let whole = fs::read(&image).unwrap();
    for offset in [4, 0x18, 0x24, 0x40, 0x7F] {
        let mut bytes = whole.clone();
        bytes[1024 + offset] ^= 1;
        let medium = MemoryMedium::from_bytes(&bytes);
        assert!(ErofsDriver.probe(&medium));
        assert!(ErofsDriver.open(&medium).is_err(), "{offset}");
        fs::write(&image, bytes).unwrap();
        // Its exit code is 0 all the same.
        let (_, said) = Tool::new("fsck.erofs").arg(&image).outcome();
        assert!(said.contains("failed to verify"), "{offset}: {said}");
    }
    assert!(ErofsDriver.open(&MemoryMedium::from_bytes(&whole)).is_ok());
}
