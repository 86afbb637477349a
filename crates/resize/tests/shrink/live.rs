//! Filesystems that the kernel filled and aged, made smaller, mounted and filled again: needs
//! root.

use std::fs;
use std::path::Path;

use cardkeep_block::Silent;
use cardkeep_ext4::Ext4;
use cardkeep_resize::Declined;
use cardkeep_resize::shrink::{Wanted, plan};
use cardkeep_testkit::{
    Churn, Likeness, Loop, Mount, Random, Tool, Tree, is_big_matrix, skip_unless_root,
    skip_unless_tools,
};

use crate::image::{Image, MIXED, assert_clean, is_skipped, restored};

const MARGIN: Wanted = Wanted::Smallest {
    margin_per_mille: 40,
};

/// Ages the filesystem and spreads folders over all its groups, so that inodes lie high, too.
fn age(image: &Image, seed: u64) {
    let device = Loop::attach(&image.path());
    let mount = Mount::new(device.path(), "noatime").unwrap();
    let ballast = mount.path().join("ballast");
    fs::write(&ballast, vec![7; 9 << 20]).unwrap();
    for number in 0..40 {
        let folder = mount.path().join(format!("spread {number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("content"), [number; 3000]).unwrap();
    }
    Churn::unix(mount.path(), seed).run(500).unwrap();
    fs::remove_file(ballast).unwrap();
    Churn::unix(mount.path(), seed + 1000).run(60).unwrap();
}

fn tree(path: &Path, options: &str) -> Tree {
    let device = Loop::attach(path);
    let mount = Mount::new(device.path(), options).unwrap();
    Tree::read(mount.path()).unwrap()
}

/// Writes until nothing more fits, and deletes half of it.
fn fill(path: &Path) {
    let device = Loop::attach(path);
    let mount = Mount::new(device.path(), "noatime").unwrap();
    let mut files = Vec::new();
    for number in 0..4000 {
        let file = mount.path().join(format!("fill {number}"));
        if fs::write(&file, vec![1; 50_000]).is_err() {
            break;
        }
        files.push(file);
    }
    for file in files.iter().step_by(2) {
        fs::remove_file(file).unwrap();
    }
    // Full is no failure here. A seed of its own: ageing used the small ones, for names too.
    Churn::unix(mount.path(), 77).run(40).unwrap();
}

fn check(options: &[&str], mib: u32, seed: u64) {
    let image = Image::blank(options, mib);
    age(&image, seed);
    let what = format!("{options:?} seed {seed}");
    assert_clean(&image.path(), &what);
    let before = tree(&image.path(), "ro");
    let mut random = Random::new(seed);
    for margin_per_mille in [0, 20 + random.below(400) as u32] {
        let plan = image.plan(Wanted::Smallest { margin_per_mille }).unwrap();
        assert!(plan.moved_block_count() > 100, "{what}");
        let smaller = image.restore(&plan);
        assert_clean(&smaller, &what);
        let after = tree(&smaller, "ro");
        assert_eq!(
            before.differences(&after, Likeness::Files),
            Vec::<String>::new(),
            "{what}"
        );
        fill(&smaller);
        assert_clean(&smaller, &format!("{what}, filled"));
    }
}

#[test]
fn aged_filesystems_are_the_same_when_smaller() {
    let test = "aged_filesystems_are_the_same_when_smaller";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    let cases: [&[&str]; 13] = [
        &["-t", "ext4"],
        &["-t", "ext4", "-O", "^64bit,^huge_file", "-g", "4096"],
        &["-t", "ext4", "-b", "1024", "-O", "orphan_file"],
        &["-t", "ext4", "-O", "^flex_bg", "-g", "4096", "-N", "2000"],
        &[
            "-t",
            "ext4",
            "-O",
            "^metadata_csum,uninit_bg",
            "-G",
            "4",
            "-g",
            "2048",
        ],
        &["-t", "ext4", "-I", "128", "-b", "2048"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext2"],
        &["-t", "ext4", "-O", "meta_bg,^resize_inode", "-g", "512"],
        &MIXED,
        &["-t", "ext4", "-O", "bigalloc"],
        &["-t", "ext4", "-O", "bigalloc", "-b", "1024", "-g", "1024"],
        &["-t", "ext4", "-O", "bigalloc,^flex_bg", "-C", "8192"],
    ];
    let seeds = if is_big_matrix() { 2 } else { 1 };
    for seed in 1..=seeds {
        for options in cases {
            check(options, 64, seed);
        }
    }
}

/// The power goes away; the journal is replayed on the way, and the medium is left alone.
#[test]
fn a_card_pulled_while_mounted_is_recovered_and_made_smaller() {
    let test = "a_card_pulled_while_mounted_is_recovered_and_made_smaller";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    let cases: [&[&str]; 5] = [
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "^64bit,^huge_file"],
        &MIXED,
        &["-t", "ext4", "-O", "bigalloc", "-b", "1024"],
    ];
    for (options, seed) in cases.into_iter().zip(1..) {
        let image = Image::blank(options, 64);
        age(&image, seed);
        let pulled = image.aside("pulled");
        {
            let device = Loop::attach(&image.path());
            let mount = Mount::new(device.path(), "noatime").unwrap();
            Churn::unix(mount.path(), seed + 7)
                .run_journalled(150)
                .unwrap();
            fs::copy(image.path(), &pulled).unwrap();
        }
        fs::copy(&pulled, image.path()).unwrap();
        let fs = Ext4::load(image.medium()).unwrap();
        assert!(matches!(
            plan(&fs, MARGIN, &Silent),
            Err(Declined::Inconsistent(_))
        ));
        assert!(!fs.info().is_clean);
        let recovered = Ext4::load(fs.recovered().unwrap()).unwrap();
        let plan = plan(&recovered, MARGIN, &Silent).unwrap();
        let smaller = image.aside("smaller");
        let view = plan.view(recovered.medium());
        fs::write(&smaller, restored(&view, plan.allocation_map())).unwrap();
        assert_clean(&smaller, &format!("{options:?}"));
        let (before, after) = (tree(&pulled, "rw"), tree(&smaller, "ro"));
        assert_eq!(
            before.differences(&after, Likeness::Files),
            Vec::<String>::new()
        );
        fill(&smaller);
        assert_clean(&smaller, &format!("{options:?}, filled"));
    }
}

/// Deletes a file in each of the spread folders, and returns them open.
fn delete_while_open(root: &Path) -> Vec<fs::File> {
    let delete = |number: u8| {
        let folder = root.join(format!("spread {number}"));
        let path = folder.join("deleted");
        fs::write(&path, vec![number; 40_000]).unwrap();
        let file = fs::File::open(&path).unwrap();
        file.sync_all().unwrap();
        fs::remove_file(path).unwrap();
        fs::File::open(folder).unwrap().sync_all().unwrap();
        file
    };
    (0..40).map(delete).collect()
}

/// Files that were deleted while they were open wait to be cleaned up when the power goes; they wait
/// in the smaller filesystem, too, under their new numbers, and the kernel cleans them up.
#[test]
fn deleted_files_that_were_open_are_cleaned_up_in_the_smaller_one() {
    let test = "deleted_files_that_were_open_are_cleaned_up_in_the_smaller_one";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    let cases: [&[&str]; 3] = [
        &[
            "-t",
            "ext4",
            "-O",
            "^orphan_file",
            "-g",
            "2048",
            "-N",
            "2048",
        ],
        &[
            "-t",
            "ext4",
            "-O",
            "orphan_file",
            "-g",
            "2048",
            "-N",
            "2048",
        ],
        &["-t", "ext3", "-g", "2048", "-N", "2048"],
    ];
    for options in cases {
        let image = Image::blank(options, 64);
        age(&image, 3);
        let pulled = image.aside("pulled");
        {
            let device = Loop::attach(&image.path());
            let mount = Mount::new(device.path(), "noatime").unwrap();
            let open = delete_while_open(mount.path());
            fs::copy(image.path(), &pulled).unwrap();
            assert_eq!(open.len(), 40);
        }
        fs::copy(&pulled, image.path()).unwrap();
        let fs = Ext4::load(image.medium()).unwrap();
        let recovered = Ext4::load(fs.recovered().unwrap()).unwrap();
        let plan = plan(&recovered, MARGIN, &Silent).unwrap();
        assert!(plan.renumbered_inode_count() > 20, "{plan:?}");
        let smaller = image.aside("smaller");
        let view = plan.view(recovered.medium());
        fs::write(&smaller, restored(&view, plan.allocation_map())).unwrap();
        let waiting = Tool::new("e2fsck").arg("-fn").arg(&smaller).outcome().1;
        assert!(
            waiting.contains("rphan"),
            "{options:?} nothing waits: {waiting}"
        );
        let (before, after) = (tree(&pulled, "rw"), tree(&smaller, "rw"));
        assert_eq!(
            before.differences(&after, Likeness::Files),
            Vec::<String>::new()
        );
        assert_clean(&smaller, &format!("{options:?}"));
        assert_clean(&pulled, &format!("{options:?}, not made smaller"));
        fill(&smaller);
        assert_clean(&smaller, &format!("{options:?}, filled"));
    }
}

/// What was made smaller can be made larger again by others.
#[test]
fn resize2fs_makes_smaller_filesystems_larger() {
    let test = "resize2fs_makes_smaller_filesystems_larger";
    if is_skipped(test) || skip_unless_root(test) || skip_unless_tools(test, &["resize2fs"]) {
        return;
    }
    // None with bigalloc: resize2fs 1.47 miscounts those even as mke2fs made them.
    let cases: [&[&str]; 6] = [
        &["-t", "ext4", "-g", "1024"],
        &[
            "-t",
            "ext4",
            "-O",
            "^64bit,^metadata_csum",
            "-b",
            "1024",
            "-g",
            "1024",
        ],
        &["-t", "ext3", "-b", "1024", "-g", "2048"],
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-g",
            "1024",
            "-O",
            "^resize_inode",
        ],
        &["-t", "ext4", "-g", "512", "-O", "meta_bg,^resize_inode"],
        &MIXED,
    ];
    for (options, seed) in cases.into_iter().zip(1..) {
        let image = Image::blank(options, 64);
        age(&image, seed);
        let smaller = image.restore(&image.plan(MARGIN).unwrap());
        let before = tree(&smaller, "ro");
        let file = fs::File::options().write(true).open(&smaller).unwrap();
        file.set_len(150 << 20).unwrap();
        Tool::new("resize2fs").arg("-f").arg(&smaller).run();
        assert_clean(&smaller, &format!("{options:?}, larger"));
        let after = tree(&smaller, "ro");
        assert_eq!(
            before.differences(&after, Likeness::Files),
            Vec::<String>::new()
        );
    }
}

#[test]
fn inodes_of_dropped_groups_get_other_numbers() {
    let test = "inodes_of_dropped_groups_get_other_numbers";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    let image = Image::blank(&["-t", "ext4", "-g", "2048", "-N", "2048"], 64);
    age(&image, 3);
    let wanted = Wanted::Smallest {
        margin_per_mille: 10,
    };
    let plan = image.plan(wanted).unwrap();
    assert!(plan.renumbered_inode_count() > 20, "{plan:?}");
    let smaller = image.restore(&plan);
    assert_clean(&smaller, "renumbered");
    let (before, after) = (tree(&image.path(), "ro"), tree(&smaller, "ro"));
    assert_eq!(
        before.differences(&after, Likeness::Files),
        Vec::<String>::new()
    );
    assert_ne!(
        before.differences(&after, Likeness::Inodes),
        Vec::<String>::new()
    );
}
