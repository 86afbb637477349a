//! An image whose own disk fails while it is read.

use std::fs;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, FaultDisk, Mount, SectorSize, Tool};

use crate::original::{MIB, Original};
use crate::program::{cardkeep, restore};
use crate::target::Target;

/// A filesystem with one image in it, on a disk that fails.
pub(crate) struct Shelf {
    // ORDER: the mount goes before the disk.
    mount: Mount,
    pub(crate) disk: FaultDisk,
    /// Where a block of the image lies on the disk.
    pub(crate) block: Extent,
    _folder: tempfile::TempDir,
}

impl Shelf {
    /// Puts `image` on it, whose block of 4 KiB at `place` is to be found again.
    pub(crate) fn holding(image: &Path, place: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        fs::copy(image, files.join("image")).unwrap();
        let file = folder.path().join("disk");
        fs::File::create(&file).unwrap().set_len(192 * MIB).unwrap();
        Tool::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"])
            .args([&files, &file])
            .run();
        let content = fs::read(image).unwrap();
        let block = Self::place_of(&content[place..place + 4096], &fs::read(&file).unwrap());
        let disk = FaultDisk::over(&file, SectorSize::Bytes512).unwrap();
        let mount = Mount::new(disk.path(), "ro,noload").unwrap();
        Self {
            mount,
            disk,
            block,
            _folder: folder,
        }
    }

    /// Returns the path of the image.
    pub(crate) fn image(&self) -> PathBuf {
        self.mount.path().join("image")
    }

    /// Returns where `block` lies within `disk`.
    fn place_of(block: &[u8], disk: &[u8]) -> Extent {
        let index = disk.chunks(4096).position(|own| own == block);
        let offset = index.expect("the block") as u64 * 4096;
        Extent::between(offset, offset + 4096)
    }
}

#[test]
fn an_image_that_can_t_be_read_ends_the_restore_with_its_name() {
    let test = "an_image_that_can_t_be_read_ends_the_restore_with_its_name";
    let Some(original) = Original::new(test) else {
        return;
    };
    // A file's data within the raw image, and the middle of the compressed ones.
    let place_of_data = original.used_place(50).start() as usize;
    for image in [original.image(), original.raw(), original.gzipped()] {
        let middle = fs::metadata(&image).unwrap().len() as usize / 8192 * 4096;
        let place = match image == original.raw() {
            true => place_of_data,
            false => middle,
        };
        let shelf = Shelf::holding(&image, place);
        shelf.disk.declare(Fault::Unreadable(shelf.block));
        let path = shelf.image();
        let target = Target::new();
        let answer = cardkeep(restore(&path, target.path(), &["--json", "--no-probe"]));
        let answer = answer.expect(5).says(&["can't be read", "image"]);
        assert_eq!(answer.errors()[0]["exit_code"], 5);
        let bytes = target.bytes();
        let is_left = bytes.iter().all(|&byte| byte == crate::target::STALE);
        if !is_left {
            target.assert_given_up(&original);
        }
    }
}
