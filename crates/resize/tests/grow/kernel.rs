//! The kernel mounts what has grown, finds every file as it was, and fills it to the last block.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use cardkeep_ext4::Ext4;
use cardkeep_resize::Declined;
use cardkeep_testkit::{Churn, Likeness, Loop, Mount, Tree, skip_unless_root};

use crate::image::{Image, MIB, is_skipped};

/// Writes until nothing fits any more, and returns how many bytes did.
fn fill(root: &Path) -> u64 {
    let chunk = vec![0x5A; 1 << 20];
    let mut written = 0;
    for number in 0..500 {
        let path = root.join(format!("filler {number}"));
        let Ok(mut file) = File::create(path) else {
            return written;
        };
        for _ in 0..8 {
            if file.write_all(&chunk).is_err() {
                return written;
            }
            written += chunk.len() as u64;
        }
    }
    written
}

fn tree_of(image: &Image) -> Tree {
    let device = Loop::attach(&image.path());
    let mount = Mount::new(device.path(), "ro").unwrap();
    Tree::read(mount.path()).unwrap()
}

fn judge(options: &str) {
    let image = Image::make(options, 48 << 10);
    {
        let device = Loop::attach(&image.path());
        let mount = Mount::new(device.path(), "rw").unwrap();
        Churn::unix(mount.path(), 5).run(150).unwrap();
    }
    let before = tree_of(&image);
    let grown = image.grown(400 * MIB);
    grown.assert_clean(options);
    let differences = before.differences(&tree_of(&grown), Likeness::Inodes);
    assert!(differences.is_empty(), "{options}: {differences:#?}");
    {
        let device = Loop::attach(&grown.path());
        let mount = Mount::new(device.path(), "rw").unwrap();
        for number in 0..200 {
            let folder = mount.path().join(format!("new {number}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "new").unwrap();
        }
        let written = fill(mount.path());
        assert!(written > 250 * MIB, "{options}: only {written} bytes fit");
        for number in 0..200 {
            fs::remove_dir_all(mount.path().join(format!("new {number}"))).unwrap();
        }
    }
    grown.assert_clean(options);
}

#[test]
fn the_kernel_fills_what_has_grown() {
    let test = "the_kernel_fills_what_has_grown";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    for options in [
        "-t ext4 -b 4096",
        "-t ext4 -b 4096 -O ^64bit,^huge_file",
        "-t ext4 -b 1024 -E resize=100000",
        "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg",
        "-t ext4 -b 4096 -O bigalloc",
        "-t ext3 -b 1024",
        "-t ext2 -b 4096",
    ] {
        judge(options);
    }
}

/// The journal is replayed in a view; what waited in it is there on the larger card.
#[test]
fn a_card_that_was_pulled_grows_once_it_is_recovered() {
    let test = "a_card_that_was_pulled_grows_once_it_is_recovered";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    for (seed, options) in (0..).zip(["-t ext4 -b 4096", "-t ext4 -O ^64bit", "-t ext3"]) {
        let image = Image::make(options, 64 << 10);
        let (pulled, before) = {
            let device = Loop::attach(&image.path());
            let mount = Mount::new(device.path(), "noatime").unwrap();
            Churn::unix(mount.path(), seed).run_journalled(150).unwrap();
            let pulled = Image::copy_of(&image.medium());
            (pulled, Tree::read(mount.path()).unwrap())
        };
        let declined = pulled.plan(300 * MIB).unwrap_err();
        assert!(matches!(declined, Declined::Filesystem(_)), "{declined:?}");
        let medium = pulled.medium();
        let fs = Ext4::load(&medium).unwrap();
        let grown = Image::copy_of(&fs.recovered().unwrap()).grown(300 * MIB);
        grown.assert_clean(options);
        let differences = before.differences(&tree_of(&grown), Likeness::Inodes);
        assert!(differences.is_empty(), "{options}: {differences:#?}");
    }
}
