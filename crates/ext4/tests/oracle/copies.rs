//! Filesystems whose superblock or group descriptors can't be read, against what they say where they
//! can.

use cardkeep_block::{AllocationMap, Extent, ReadAt, Silent, State, Structure};
use cardkeep_ext4::{Error, Ext4, OwnerKind, probe, probe_copies};
use cardkeep_testkit::{Fault, FaultyMedium};

use crate::image::{FileMedium, Image, is_skipped};

const SUPERBLOCK: Extent = Extent::between(1024, 1536);

fn damaged(image: &Image, bad: Extent) -> FaultyMedium<FileMedium> {
    FaultyMedium::new(image.medium()).with(Fault::Unreadable(bad))
}

fn map(medium: impl ReadAt) -> Result<AllocationMap, Error> {
    Ext4::load(medium)?.allocation_map(&Silent)
}

/// Nothing that is used may be called anything else by `found`.
fn assert_as_cautious(found: &AllocationMap, expected: &AllocationMap, what: &str) {
    for used in expected.extents(State::Used) {
        let is_kept = found.runs_in(used).all(|run| run.state == State::Used);
        assert!(is_kept, "{what}: {used}");
    }
}

#[test]
fn a_copy_of_the_superblock_serves_where_checksums_prove_the_rest() {
    if is_skipped("a_copy_of_the_superblock_serves_where_checksums_prove_the_rest") {
        return;
    }
    for options in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext4", "-b", "1024", "-O", "^64bit"],
        &["-t", "ext4", "-b", "2048"],
    ] {
        let image = Image::make(options, 100);
        let medium = damaged(&image, SUPERBLOCK);
        assert!(!probe(&medium) && probe_copies(&medium));
        let fs = Ext4::load(&medium).unwrap();
        assert!(fs.is_from_copy() && !fs.info().is_clean);
        assert!(fs.check_at_rest().is_err());
        let expected = map(image.medium()).unwrap();
        assert_eq!(map(&medium).unwrap(), expected, "{options:?}");
        let hostname = fs.read_file("etc/hostname", 100).unwrap();
        assert_eq!(hostname, Some(b"raspberrypi\n".to_vec()));
    }
}

#[test]
fn a_copy_proves_nothing_without_journal_or_checksums() {
    if is_skipped("a_copy_proves_nothing_without_journal_or_checksums") {
        return;
    }
    for options in [
        &["-t", "ext2", "-b", "1024"][..],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "1024", "-O", "^has_journal"],
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"],
    ] {
        let image = Image::make(options, 60);
        let medium = damaged(&image, SUPERBLOCK);
        assert!(
            matches!(map(&medium), Err(Error::Corrupt(_))),
            "{options:?}"
        );
        // The names are there all the same.
        let fs = Ext4::load(&medium).unwrap();
        assert!(fs.read_file("etc/hostname", 100).unwrap().is_some());
    }
}

#[test]
fn a_medium_with_one_group_has_no_copy() {
    if is_skipped("a_medium_with_one_group_has_no_copy") {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "4096"], 30);
    let medium = damaged(&image, SUPERBLOCK);
    assert!(!probe_copies(&medium));
    assert!(matches!(Ext4::load(&medium), Err(Error::Io(_))));
    assert!(!probe_copies(&image.medium()));
}

#[test]
fn groups_whose_descriptors_are_unreadable_are_used_and_their_files_have_names() {
    if is_skipped("groups_whose_descriptors_are_unreadable_are_used_and_their_files_have_names") {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024"], 100);
    let healthy = Ext4::load(image.medium()).unwrap();
    let expected = healthy.allocation_map(&Silent).unwrap();
    // Descriptors of 64 bytes from block 2 on: one sector holds those of 8 groups.
    for (bad, groups) in [((2048, 2560), 0..8), ((2560, 3072), 8..13_u64)] {
        let medium = damaged(&image, Extent::between(bad.0, bad.1));
        let fs = Ext4::load(&medium).unwrap();
        assert!(!fs.is_from_copy());
        assert!(fs.check_at_rest().is_err());
        let found = fs.allocation_map(&Silent).unwrap();
        assert_as_cautious(&found, &expected, &format!("{groups:?}"));
        let first = Extent::between(
            1024 + groups.start * (8 << 20),
            1024 + (8 << 20) * groups.end,
        );
        let cut = first.intersection(Extent::between(0, fs.info().len));
        assert!(
            found.runs_in(cut).all(|run| run.state == State::Used),
            "{groups:?}"
        );
        assert!(found.bytes(State::Free) > 0, "the others are read");
        assert!(fs.read_file("etc/hostname", 100).unwrap().is_some());
        let place = expected.extents(State::Used).last().unwrap();
        assert_eq!(
            fs.owners(&[place], &Silent).unwrap(),
            healthy.owners(&[place], &Silent).unwrap()
        );
    }
}

#[test]
fn what_is_lost_has_names_though_inode_tables_and_directories_are_lost_in_part() {
    if is_skipped("what_is_lost_has_names_though_inode_tables_and_directories_are_lost_in_part") {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024"], 60);
    let healthy = Ext4::load(image.medium()).unwrap();
    let whole = Extent::between(0, healthy.info().len);
    let owners = healthy.owners(&[whole], &Silent).unwrap();
    let of = |kind: &OwnerKind| owners.iter().find(|o| o.kind == *kind).unwrap().extent;
    let file = of(&OwnerKind::Path("/etc/deep/file 5".to_owned()));
    let folder = of(&OwnerKind::Path("/etc/deep/deeper".to_owned()));
    let table = of(&OwnerKind::Metadata(Structure::InodeTable));
    // The last inodes in use are those of the entries in the folder.
    let lost = [
        Extent::between(file.start() + 1024, file.start() + 1536),
        Extent::between(folder.start(), folder.start() + 512),
        Extent::between(table.start() + 16_384, table.start() + 16_896),
    ];
    let medium = FaultyMedium::new(image.medium());
    for bad in lost {
        medium.declare(Fault::Unreadable(bad));
    }
    let fs = Ext4::load(&medium).unwrap();
    let mut found: Vec<(Extent, OwnerKind)> = fs
        .owners(&lost, &Silent)
        .unwrap()
        .into_iter()
        .map(|owner| (owner.extent, owner.kind))
        .collect();
    found.sort_by_key(|(extent, _)| *extent);
    let mut expected = vec![
        (lost[0], OwnerKind::Path("/etc/deep/file 5".to_owned())),
        (lost[1], OwnerKind::Path("/etc/deep/deeper".to_owned())),
        (lost[2], OwnerKind::Metadata(Structure::InodeTable)),
    ];
    expected.sort_by_key(|(extent, _)| *extent);
    assert_eq!(found, expected);
}
