//! Which files serve as loop devices: told by the kernel's numbers, not by the text in sysfs.
//!
//! The path in `/sys/block/loopN/loop/backing_file` is what the file was called when it was attached, in
//! the mount namespace of whoever did that. It can be renamed, unlinked, not valid UTF-8, and end in a line
//! feed; the numbers of its filesystem and inode stay.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

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

/// What is known of the file behind a loop device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backing {
    /// Its filesystem and inode.
    File(u64, u64),
    /// Nothing: it may be any file.
    Unknown,
}

/// Returns the name of a loop device that a file serves as, where there is one; a mounted image always
/// has one. Where it can't be told what a loop device is made of, that one is named: it may be this file.
pub(crate) fn device_backed_by(file: &Metadata) -> Option<String> {
    // Without sysfs nothing can be told, and loop devices are rare.
    let disks = std::fs::read_dir("/sys/block").ok()?;
    let own = Backing::File(file.dev(), file.ino());
    let mut backed = disks.flatten().filter(|disk| {
        // Only a loop device that is attached has this folder.
        let attached = disk.path().join("loop");
        attached.exists()
            && [own, Backing::Unknown].contains(&backing(&disk.file_name(), &attached))
    });
    Some(backed.next()?.file_name().to_string_lossy().into_owned())
}

/// Returns what a loop device is made of: the kernel's word, or else the file that sysfs names.
fn backing(name: &OsStr, attached: &Path) -> Backing {
    let device = Path::new("/dev").join(name);
    let told = OpenOptions::new()
        .read(true)
        // It is looked at, and must not be waited for.
        .custom_flags(libc::O_NONBLOCK)
        .open(device)
        .and_then(|device| status(&device));
    match told {
        Ok(backing) => backing,
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => detached(attached),
        Err(_) => named(attached),
    }
}

/// Returns what a device that says that it is not attached is made of: nothing, unless it is attached
/// all the same.
fn detached(attached: &Path) -> Backing {
    match attached.exists() {
        // No file has these numbers.
        false => Backing::File(0, 0),
        true => named(attached),
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
        0 => Ok(Backing::File(info.device, info.inode)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the file that sysfs names, where that can be believed.
fn named(attached: &Path) -> Backing {
    let Ok(text) = std::fs::read(attached.join("backing_file")) else {
        return Backing::Unknown;
    };
    let path = text.strip_suffix(b"\n").unwrap_or(&text);
    if path.ends_with(DELETED) {
        return Backing::Unknown;
    }
    match std::fs::metadata(OsStr::from_bytes(path)) {
        Ok(found) => Backing::File(found.dev(), found.ino()),
        Err(_) => Backing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Backing, LoopInfo64, named};
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
        let own = Backing::File(metadata.dev(), metadata.ino());
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
