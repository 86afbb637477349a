//! The disk that an image is written to: a filesystem on a device that fails.

use std::fs::File;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, FaultDisk, Loop, Mount, SectorSize, Tool};
use tempfile::TempDir;

/// How long it is, in bytes: enough for a filesystem with a journal.
const DISK_BYTES: u64 = 256 << 20;

/// Where it keeps what is in files: behind the first groups' own tables and the folders, before the tables
/// of later groups.
pub(crate) const FILES: Extent = Extent::between(7973 << 10, 100 << 20);

/// Whether its filesystem keeps a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    Kept,
    /// So that an error on the disk strikes the image rather than stops the filesystem.
    None,
}

/// A disk with a mounted filesystem.
pub(crate) struct Disk {
    // ORDER: the mount goes before the device, and that before the file that it stands on.
    mount: Mount,
    device: Device,
    file: PathBuf,
    folder: TempDir,
}

enum Device {
    Failing(FaultDisk),
    Sound { _device: Loop },
}

impl Disk {
    /// Makes a disk that fails when it is told to.
    pub(crate) fn new(journal: Journal) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        File::create(&file).unwrap().set_len(DISK_BYTES).unwrap();
        let features: &[&str] = match journal {
            Journal::Kept => &["-J", "size=8"],
            Journal::None => &["-O", "^has_journal"],
        };
        Tool::new("mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-E",
                "nodiscard,lazy_itable_init=1",
            ])
            .args(features)
            .arg(&file)
            .run();
        let disk = FaultDisk::over(&file, SectorSize::Bytes512).unwrap();
        // What the kernel fills in later would be written among the image's bytes.
        let mount = Mount::new(disk.path(), "noinit_itable").unwrap();
        Self {
            mount,
            device: Device::Failing(disk),
            file,
            folder,
        }
    }

    /// Returns the folder at its root.
    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Returns what fails.
    pub(crate) fn failing(&self) -> &FaultDisk {
        match &self.device {
            Device::Failing(disk) => disk,
            Device::Sound { .. } => panic!("it was put back, and fails no more"),
        }
    }

    pub(crate) fn declare(&self, fault: Fault) {
        self.failing().declare(fault);
    }

    /// Takes the disk out, with all that no cache tells, and mounts it again as a sound one.
    pub(crate) fn put_back(self) -> Self {
        self.taken_out(|_| {})
    }

    /// As [`Disk::put_back`], but for what `e2fsck` finds to mend.
    pub(crate) fn repaired(self) -> Self {
        self.taken_out(mend)
    }

    fn taken_out(self, meanwhile: impl Fn(&Path)) -> Self {
        let Self {
            mount,
            device,
            file,
            folder,
        } = self;
        // ORDER: as above; the faults end with the device, so that nothing reaches it on the way out.
        drop(mount);
        drop(device);
        meanwhile(&file);
        let sound = Loop::attach(&file);
        let mounted = Mount::new(sound.path(), "noinit_itable");
        let mount = mounted.unwrap_or_else(|_| {
            // A superblock of two sectors may be torn, and is not mounted then by anybody.
            mend(sound.path());
            Mount::new(sound.path(), "noinit_itable").unwrap()
        });
        Self {
            mount,
            device: Device::Sound { _device: sound },
            file,
            folder,
        }
    }
}

/// Has `e2fsck` mend a filesystem.
fn mend(device: &Path) {
    let (code, said) = Tool::new("e2fsck").arg("-fy").arg(device).outcome();
    // 1 is the code for errors that were mended: e2fsck(8).
    assert!(matches!(code, Some(0 | 1)), "{said}");
}
