//! The destination image: nothing unfinished under its name, nothing of others destroyed.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use cardkeep_block::{BlockErrorKind, Extent, ReadAt, WriteAt};
use cardkeep_device::{FsKind, Overwrite, PartialFile, PartialFileErrorKind as Kind};
use cardkeep_device::{filesystem_of, free_space, max_file_bytes};

use crate::lab::{self, LoopDevice, Mounted};

fn folder_and_name() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img");
    (folder, path)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_final_name_appears_with_the_whole_content() {
    let (folder, path) = folder_and_name();
    let image = PartialFile::create(&path, Overwrite::Refuse).unwrap();
    image.set_len(1 << 20).unwrap();
    image.write_at(5000, b"content").unwrap();
    assert_eq!(names(folder.path()), ["card.img.partial"]);
    image.start_writeback(Extent::between(0, 8192)).unwrap();
    image.sync_data().unwrap();
    image.drop_cache(Extent::between(0, 8192)).unwrap();
    assert_eq!(image.read_vec(4999, 9).unwrap(), b"\0content\0");
    let reader = image.reader().unwrap();
    assert_eq!(reader.len(), 1 << 20);
    assert_eq!(reader.read_vec(5000, 7).unwrap(), b"content");
    image.finish().unwrap();
    assert_eq!(names(folder.path()), ["card.img"]);
    let mut expected = vec![0; 1 << 20];
    expected[5000..5007].copy_from_slice(b"content");
    assert!(std::fs::read(&path).unwrap() == expected);
    let metadata = path.metadata().unwrap();
    assert!(metadata.blocks() * 512 < 1 << 19, "the holes were filled");
    assert_eq!(metadata.mode() & 0o7133, 0, "{:o}", metadata.mode());
}

#[test]
fn an_existing_image_is_refused_or_replaced_as_a_whole() {
    let (folder, path) = folder_and_name();
    std::fs::write(&path, "old").unwrap();
    let refused = PartialFile::create(&path, Overwrite::Refuse).unwrap_err();
    assert_eq!((refused.kind, &refused.path), (Kind::Exists, &path));
    assert_eq!(names(folder.path()), ["card.img"]);
    let image = PartialFile::create(&path, Overwrite::Replace).unwrap();
    image.write_at(0, b"new image").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    image.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new image");
}

#[test]
fn an_image_that_appeared_meanwhile_is_not_overwritten() {
    let (_folder, path) = folder_and_name();
    let image = PartialFile::create(&path, Overwrite::Refuse).unwrap();
    image.write_at(0, b"mine").unwrap();
    std::fs::write(&path, "theirs").unwrap();
    assert_eq!(image.finish().unwrap_err().kind, Kind::Exists);
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    assert_eq!(
        std::fs::read(PartialFile::partial_path(&path)).unwrap(),
        b"mine"
    );
}

#[test]
fn a_leftover_is_told_of_resumed_or_discarded() {
    let (folder, path) = folder_and_name();
    let image = PartialFile::create(&path, Overwrite::Refuse).unwrap();
    image.write_at(0, b"half").unwrap();
    let second = PartialFile::reopen(&path, Overwrite::Refuse).unwrap_err();
    assert_eq!(second.kind, Kind::InUse);
    let discarded = PartialFile::discard_leftover(&path).unwrap_err();
    assert_eq!(discarded.kind, Kind::InUse);
    image.keep().unwrap();
    let again = PartialFile::create(&path, Overwrite::Refuse).unwrap_err();
    assert_eq!(again.kind, Kind::PartialExists);
    assert!(again.hint().unwrap().contains("resume"));
    let resumed = PartialFile::reopen(&path, Overwrite::Refuse).unwrap();
    assert_eq!(resumed.len(), 4);
    resumed.write_at(4, b"whole").unwrap();
    drop(resumed);
    assert_eq!(
        std::fs::read(PartialFile::partial_path(&path)).unwrap(),
        b"halfwhole"
    );
    PartialFile::discard_leftover(&path).unwrap();
    PartialFile::discard_leftover(&path).unwrap();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn an_abandoned_file_leaves_nothing() {
    let (folder, path) = folder_and_name();
    PartialFile::create(&path, Overwrite::Refuse)
        .unwrap()
        .abandon()
        .unwrap();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_planted_link_is_not_followed() {
    let (folder, path) = folder_and_name();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    symlink(&victim, PartialFile::partial_path(&path)).unwrap();
    let created = PartialFile::create(&path, Overwrite::Replace).unwrap_err();
    assert_eq!(created.kind, Kind::PartialExists);
    let reopened = PartialFile::reopen(&path, Overwrite::Replace).unwrap_err();
    assert_eq!(reopened.kind, Kind::Medium);
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn folders_and_devices_are_no_destinations() {
    let (folder, _) = folder_and_name();
    for path in [folder.path(), Path::new("/dev/null"), Path::new("/")] {
        let refused = PartialFile::create(path, Overwrite::Replace).unwrap_err();
        assert_eq!(refused.kind, Kind::NotAFile, "{}", path.display());
    }
    let missing = folder.path().join("no/such/folder/card.img");
    let refused = PartialFile::create(&missing, Overwrite::Refuse).unwrap_err();
    assert_eq!(refused.kind, Kind::Medium);
    assert_eq!(refused.medium_error().unwrap().kind(), BlockErrorKind::Gone);
}

#[test]
fn a_full_filesystem_is_no_space() {
    if !lab::is_open() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tiny = Mounted::mount(&["-t", "tmpfs", "-o", "size=256k", "none"], folder.path());
    assert_eq!(filesystem_of(&tiny.folder).unwrap(), FsKind::Tmpfs);
    assert_eq!(free_space(&tiny.folder.join("new.img")).unwrap(), 256 << 10);
    let image = PartialFile::create(&tiny.folder.join("card.img"), Overwrite::Refuse).unwrap();
    image.write_at(0, &[1; 128 << 10]).unwrap();
    let error = image.write_at(128 << 10, &[1; 256 << 10]).unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::NoSpace);
    assert_eq!(error.extent(), Some(Extent::between(128 << 10, 384 << 10)));
    assert_eq!(image.reader().unwrap().read_vec(0, 9).unwrap(), [1; 9]);
    image.abandon().unwrap();
}

#[test]
fn the_limit_of_fat_is_known_and_real() {
    if !lab::is_open() || !lab::has("mkfs.vfat") || !lab::knows("vfat") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fat.img");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    lab::run("mkfs.vfat", &["-F", "32", file.to_str().unwrap()]);
    let device = LoopDevice::attach(&file, &[]);
    let target = folder.path().join("mnt");
    std::fs::create_dir(&target).unwrap();
    let fat = Mounted::mount(&["-t", "vfat", device.path.to_str().unwrap()], &target);
    let path = fat.folder.join("card.img");
    assert_eq!(filesystem_of(&path).unwrap(), FsKind::Fat);
    let limit = max_file_bytes(&path).unwrap();
    let image = PartialFile::create(&path, Overwrite::Refuse).unwrap();
    let error = image.set_len(limit + 1).unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::NoSpace);
    image.write_at(0, b"content").unwrap();
    assert_eq!(image.reader().unwrap().read_vec(0, 7).unwrap(), b"content");
    image.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"content");
    let second = PartialFile::create(&path, Overwrite::Replace).unwrap();
    second.finish().unwrap();
}

#[test]
fn a_file_too_large_for_its_filesystem_is_no_space() {
    if !lab::is_open() || !lab::has("mkfs.ext4") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ext.img");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(16 << 20)
        .unwrap();
    // Block maps of 1 KiB blocks end at 16 GiB and a little.
    lab::run(
        "mkfs.ext4",
        &[
            "-q",
            "-b",
            "1024",
            "-O",
            "^extent,^64bit",
            file.to_str().unwrap(),
        ],
    );
    let device = LoopDevice::attach(&file, &[]);
    let target = folder.path().join("mnt");
    std::fs::create_dir(&target).unwrap();
    let small = Mounted::mount(&[device.path.to_str().unwrap()], &target);
    assert_eq!(filesystem_of(&small.folder).unwrap(), FsKind::Ext);
    let path = small.folder.join("card.img");
    let image = PartialFile::create(&path, Overwrite::Refuse).unwrap();
    assert_eq!(
        image.set_len(32 << 30).unwrap_err().kind(),
        BlockErrorKind::NoSpace
    );
    let error = image.write_at(32 << 30, b"x").unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::NoSpace);
    image.abandon().unwrap();
}
