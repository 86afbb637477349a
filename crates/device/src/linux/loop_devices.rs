//! Which files serve as loop devices: told by the kernel's numbers, not by the text in sysfs.
//!
//! The path in `/sys/block/loopN/loop/backing_file` is what the file was called when it was
//! attached, in the mount namespace of the program that attached it. It can be renamed, unlinked,
//! not valid UTF-8, and end in a line feed; the numbers of its filesystem and inode stay.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cardkeep_block::Operation;

use crate::file_id::FileId;
use crate::refusal::Refusal;
use crate::transfer::system_error;

/// `LOOP_GET_STATUS64`: linux/loop.h.
const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
/// What sysfs appends to the name of a file that has none any more: `d_path`, fs/d_path.c.
const DELETED: &[u8] = b" (deleted)";

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// What a loop device is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// This file or device.
    Thing {
        /// It.
        id: FileId,
        /// The number of the filesystem that it lies on, packed as in `st_dev`.
        filesystem: u64,
    },
    /// Nothing that can be opened any more: it is detached, or the filesystem of its file is gone.
    Nothing,
    /// It can't be told: it may be any file.
    Unknown,
}

impl Backing {
    /// Returns the identity of what it is made of, where there is one.
    pub(super) const fn id(self) -> Option<FileId> {
        match self {
            Self::Thing { id, .. } => Some(id),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// Refuses a file that serves as a loop device, as a mounted image always does, or may serve as one of
/// which it can't be told what it is made of.
///
/// # Errors
/// [`Refusal::BacksDevice`], [`Refusal::MayBackDevice`], and [`Refusal::Machine`] where the system shows
/// no list of its devices.
pub(crate) fn expect_no_device(path: &Path, file: &Metadata) -> Result<(), Refusal> {
    let failed = |error| Refusal::Machine(system_error(Operation::Open, error));
    let own = FileId::from_metadata(file);
    let mut doubtful = None;
    for (name, attached) in loop_devices().map_err(failed)? {
        let file = path.to_path_buf();
        let device = name.to_string_lossy().into_owned();
        match backing(&name, &attached) {
            thing if thing.id().is_some() && thing.id() == own => {
                return Err(Refusal::BacksDevice { file, device });
            }
            Backing::Unknown => doubtful = Some(Refusal::MayBackDevice { file, device }),
            Backing::Thing { .. } | Backing::Nothing => {}
        }
    }
    doubtful.map_or(Ok(()), Err)
}

/// Returns the names of all loop devices that are attached, with the folder in sysfs that only such
/// have. Without sysfs, of all that have a special file.
fn loop_devices() -> io::Result<Vec<(OsString, PathBuf)>> {
    let attached = |name: &OsStr| Path::new("/sys/block").join(name).join("loop");
    let (folder, has_sysfs) = match std::fs::read_dir("/sys/block") {
        Ok(folder) => (folder, true),
        Err(_) => (std::fs::read_dir("/dev")?, false),
    };
    let mut found = Vec::new();
    for entry in folder {
        let name = entry?.file_name();
        let attached = attached(&name);
        let is_loop = name
            .as_bytes()
            .strip_prefix(b"loop")
            .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit));
        if is_loop && (!has_sysfs || attached.exists()) {
            found.push((name, attached));
        }
    }
    Ok(found)
}

/// Returns what a loop device is made of: the kernel's word, or else what sysfs names; `attached` is
/// its folder there.
pub(super) fn backing(name: &OsStr, attached: &Path) -> Backing {
    let device = Path::new("/dev").join(name);
    let told = OpenOptions::new()
        .read(true)
        // It is looked at, and must not be waited for.
        .custom_flags(libc::O_NONBLOCK)
        .open(device)
        .and_then(|device| status(&device));
    let error = match told {
        Ok(backing) => return backing,
        Err(error) => error.raw_os_error(),
    };
    match error {
        // Not attached, or no longer.
        Some(libc::ENXIO) if !attached.exists() => Backing::Nothing,
        // The kernel asked the file's filesystem, as stat(2) does: drivers/block/loop.c,
        // `loop_get_status`. Its server or share is gone, and what is gone can't be what was
        // just looked at.
        Some(libc::ENOTCONN | libc::ESTALE) => Backing::Nothing,
        _ => named(attached),
    }
}

/// Asks the kernel.
#[allow(unsafe_code)]
fn status(device: &File) -> io::Result<Backing> {
    let mut info = LoopInfo64 {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    // SAFETY: the descriptor is open while `device` is borrowed; the request fills a `loop_info64`, whose
    // layout `LoopInfo64` has, and keeps no pointer to it.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) } {
        0 => Ok(info.backing()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl LoopInfo64 {
    /// Returns what the record says the device is made of: a file has no device number of its own.
    const fn backing(&self) -> Backing {
        let id = match self.rdevice {
            0 => FileId::File {
                filesystem: self.device,
                inode: self.inode,
            },
            number => FileId::Device { number },
        };
        let filesystem = self.device;
        Backing::Thing { id, filesystem }
    }
}

/// Returns what sysfs names, where that can be believed.
pub(super) fn named(attached: &Path) -> Backing {
    let Ok(text) = std::fs::read(attached.join("backing_file")) else {
        return Backing::Unknown;
    };
    let path = text.strip_suffix(b"\n").unwrap_or(&text);
    if path.ends_with(DELETED) {
        return Backing::Unknown;
    }
    let found = std::fs::metadata(OsStr::from_bytes(path)).ok();
    let id = found.as_ref().and_then(FileId::from_metadata);
    match (found, id) {
        (Some(found), Some(id)) => Backing::Thing {
            id,
            filesystem: found.dev(),
        },
        _ => Backing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Backing, LoopInfo64, named};
    use crate::file_id::FileId;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_record_has_the_kernels_layout() {
        // 232 bytes: linux/loop.h, five u64, four u32, three arrays, two u64.
        assert_eq!(size_of::<LoopInfo64>(), 232);
    }

    #[test]
    fn what_sysfs_names_is_believed_only_where_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("card\n");
        fs::write(&file, "x").unwrap();
        let metadata = file.metadata().unwrap();
        let own = Backing::Thing {
            id: FileId::from_metadata(&metadata).unwrap(),
            filesystem: metadata.dev(),
        };
        for (text, expected) in [
            (format!("{}\n", file.display()), own),
            (format!("{} (deleted)\n", file.display()), Backing::Unknown),
            ("/no/such/file\n".to_owned(), Backing::Unknown),
        ] {
            fs::write(folder.path().join("backing_file"), text).unwrap();
            assert_eq!(named(folder.path()), expected);
        }
        assert_eq!(named(&folder.path().join("none")), Backing::Unknown);
    }
}
