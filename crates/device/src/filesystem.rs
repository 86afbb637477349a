//! What a destination folder's filesystem can hold.

use std::fmt;
use std::path::{Path, PathBuf};

use cardkeep_block::{BlockError, Operation};

use crate::transfer::system_error;

/// A kind of filesystem, as far as it matters for keeping images on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FsKind {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// F2FS.
    F2fs,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// exFAT.
    Exfat,
    /// NTFS by a kernel driver.
    Ntfs,
    /// ZFS.
    Zfs,
    /// In memory: gone after a restart.
    Tmpfs,
    /// One folder laid over another: the upper one counts.
    Overlay,
    /// A network share by NFS.
    Nfs,
    /// A network share by SMB.
    Smb,
    /// A filesystem served by a program.
    Fuse,
    /// Apple's APFS.
    Apfs,
    /// Apple's HFS+.
    Hfs,
    /// Anything else.
    Other,
}

impl fmt::Display for FsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext => "ext4",
            Self::Xfs => "XFS",
            Self::Btrfs => "btrfs",
            Self::F2fs => "F2FS",
            Self::Fat => "FAT32",
            Self::Exfat => "exFAT",
            Self::Ntfs => "NTFS",
            Self::Zfs => "ZFS",
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlay",
            Self::Nfs => "NFS",
            Self::Smb => "SMB",
            Self::Fuse => "FUSE",
            Self::Apfs => "APFS",
            Self::Hfs => "HFS+",
            Self::Other => "unknown",
        })
    }
}

impl FsKind {
    /// Returns the kind that a filesystem's magic number in statfs(2) stands for.
    #[cfg(any(target_os = "linux", test))]
    #[must_use]
    pub(crate) const fn from_magic(magic: u32) -> Self {
        match magic {
            0xef53 => Self::Ext,
            0x5846_5342 => Self::Xfs,
            0x9123_683e => Self::Btrfs,
            0xf2f5_2010 => Self::F2fs,
            0x4d44 => Self::Fat,
            0x2011_bab0 => Self::Exfat,
            0x5346_544e | 0x7366_746e => Self::Ntfs,
            0x2fc1_2fc1 => Self::Zfs,
            0x0102_1994 | 0x8584_58f6 => Self::Tmpfs,
            0x794c_7630 => Self::Overlay,
            0x6969 => Self::Nfs,
            0x517b | 0xfe53_4d42 | 0xff53_4d42 => Self::Smb,
            0x6573_5546 => Self::Fuse,
            0x482b => Self::Hfs,
            _ => Self::Other,
        }
    }

    /// Returns the kind that a filesystem's name in statfs(2) of macOS stands for.
    #[cfg(any(target_os = "macos", test))]
    #[must_use]
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "apfs" => Self::Apfs,
            "hfs" => Self::Hfs,
            "msdos" => Self::Fat,
            "exfat" => Self::Exfat,
            "ntfs" => Self::Ntfs,
            "nfs" => Self::Nfs,
            "smbfs" => Self::Smb,
            "zfs" => Self::Zfs,
            _ => Self::Other,
        }
    }

    /// Returns the length in bytes of the largest file it holds, where images can reach it.
    #[must_use]
    pub const fn max_file_bytes(self) -> Option<u64> {
        match self {
            // A FAT directory entry has 32 bits for the size: DIR_FileSize, FAT specification 1.03.
            Self::Fat => Some(u32::MAX as u64),
            _ => None,
        }
    }
}

/// Returns the bytes that this user may still write to the filesystem of `folder`. A path that
/// does not exist yet counts as its nearest existing folder.
///
/// # Errors
/// What the system said.
pub fn free_space(folder: &Path) -> Result<u64, BlockError> {
    #[cfg(unix)]
    {
        let status = rustix::fs::statvfs(nearest_existing(folder))
            .map_err(|error| system_error(Operation::Open, error.into()))?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let unsupported = std::io::ErrorKind::Unsupported;
        Err(
            system_error(Operation::Open, unsupported.into()).caused_by(format!(
                "the free space of {} is not available on this platform yet",
                nearest_existing(folder).display()
            )),
        )
    }
}

/// Returns the bytes that a file takes of its disk, which are fewer than its length where it has holes; 0
/// where there is no such file.
#[must_use]
pub fn stored_bytes(file: &Path) -> u64 {
    // A figure for people.
    let Ok(metadata) = std::fs::metadata(file) else {
        return 0;
    };
    #[cfg(unix)]
    {
        // In units of 512 bytes, whatever the filesystem's blocks are: stat(2), "st_blocks".
        std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512)
    }
    #[cfg(not(unix))]
    {
        metadata.len()
    }
}

/// Returns the kind of filesystem that `path` lies on, or will lie on.
///
/// # Errors
/// What the system said.
pub fn filesystem_of(path: &Path) -> Result<FsKind, BlockError> {
    #[cfg(unix)]
    {
        let status = rustix::fs::statfs(nearest_existing(path))
            .map_err(|error| system_error(Operation::Open, error.into()))?;
        Ok(kind_of(&status))
    }
    #[cfg(not(unix))]
    {
        nearest_existing(path);
        Ok(FsKind::Other)
    }
}

/// Returns the length in bytes of the largest file that fits the filesystem of `path`, where
/// images can reach it: 4 GiB less one on FAT. `None` as well where the system can't tell.
#[must_use]
pub fn max_file_bytes(path: &Path) -> Option<u64> {
    // Not knowing the limit is not the place to report: writing past it will be.
    filesystem_of(path).ok()?.max_file_bytes()
}

#[cfg(target_os = "linux")]
fn kind_of(status: &rustix::fs::StatFs) -> FsKind {
    // Magic numbers have 32 bits; the field is as wide as the machine, and may be sign-extended.
    FsKind::from_magic((status.f_type as u64 & 0xffff_ffff) as u32)
}

#[cfg(target_os = "macos")]
fn kind_of(status: &rustix::fs::StatFs) -> FsKind {
    let name = status.f_fstypename.iter().take_while(|&&byte| byte != 0);
    let name: Vec<u8> = name.map(|&byte| byte.cast_unsigned()).collect();
    FsKind::from_name(&String::from_utf8_lossy(&name))
}

/// Returns `path`, or the nearest folder above it that exists.
pub(crate) fn nearest_existing(path: &Path) -> PathBuf {
    let mut candidate = path;
    while !candidate.exists() {
        match candidate.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => candidate = parent,
            _ => return PathBuf::from("."),
        }
    }
    candidate.to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::FsKind;

    #[test]
    fn fat_holds_files_of_less_than_4_gib() {
        assert_eq!(
            FsKind::from_magic(0x4d44).max_file_bytes(),
            Some(0xffff_ffff)
        );
        assert_eq!(
            FsKind::from_name("msdos").max_file_bytes(),
            Some(0xffff_ffff)
        );
        assert_eq!(FsKind::from_magic(0xef53).max_file_bytes(), None);
        assert_eq!(FsKind::from_magic(0x2011_bab0).max_file_bytes(), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_to_be_is_on_the_filesystem_of_its_folder() {
        use super::{filesystem_of, free_space, max_file_bytes};
        use std::path::Path;
        let path = Path::new("/proc/no-such/folder/image.img");
        assert_eq!(filesystem_of(path).unwrap(), FsKind::Other);
        assert_eq!(max_file_bytes(path), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/yet/there");
        assert_eq!(
            filesystem_of(&path).unwrap(),
            filesystem_of(folder.path()).unwrap()
        );
        assert!(free_space(&path).unwrap() > 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn holes_take_nothing_of_the_disk() {
        use super::stored_bytes;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(stored_bytes(&path), 0);
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, &[1; 8192]).unwrap();
        file.set_len(1 << 30).unwrap();
        file.sync_all().unwrap();
        let stored = stored_bytes(&path);
        assert!((8192..1 << 20).contains(&stored), "{stored}");
    }
}
