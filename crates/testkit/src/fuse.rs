//! A folder with one file in it, `card`, whose bytes a medium of this process supplies.
//!
//! ```text
//!   kernel ──▶ /dev/fuse ──▶ server thread ──▶ medium
//! ```
//!
//! The process must not wait for its own server to do what only the process can do. So the server
//! touches neither the mounted folder nor anything on top of it, and nothing here joins it: it
//! serves until the kernel lets go of the file, be that after the folder is gone.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, ReadWriteAt};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};
use rustix::fs::FallocateFlags;
use tempfile::TempDir;

use crate::tool::Tool;

const CARD_NAME: &str = "card";
const CARD: INodeNo = INodeNo(2);
/// How long the kernel may cache names and lengths: nothing changes.
const FOREVER: Duration = Duration::from_secs(3600);
const SECTOR_BYTES: u64 = 512;

/// A medium served as a file, until dropped. Needs root and `/dev/fuse`.
#[derive(Debug)]
pub(crate) struct Served {
    folder: TempDir,
    /// Ends by itself when the kernel lets go; see the module's words.
    session: BackgroundSession,
}

impl Served {
    /// Mounts a new folder with `medium` in it.
    ///
    /// # Errors
    /// What mounting reports.
    pub(crate) fn mount(medium: Arc<dyn ReadWriteAt>) -> io::Result<Self> {
        let folder = TempDir::with_prefix("cardkeep-card-")?;
        let mut config = Config::default();
        let name = MountOption::FSName("cardkeep-card".to_owned());
        config.mount_options = vec![name, MountOption::NoDev, MountOption::NoSuid];
        let session = Session::new(CardFolder { medium }, folder.path(), &config)?;
        Ok(Self {
            folder,
            session: session.spawn()?,
        })
    }

    /// Ends the serving as if this process had been killed: whatever is asked of the file from now on is
    /// answered with `ENOTCONN` (the kernel's Documentation/filesystems/fuse, "abort").
    ///
    /// # Errors
    /// What mounting the kernel's list of connections, or writing to it, reports.
    pub(crate) fn abandon(&self) -> io::Result<()> {
        // The attributes, which the kernel was told to believe, have been forgotten by then.
        self.session.notifier().inval_inode(CARD, 0, 0)?;
        // A connection has the minor number of its filesystem.
        let number = rustix::fs::minor(self.folder.path().metadata()?.dev());
        let list = TempDir::with_prefix("cardkeep-fusectl-")?;
        let mount = Tool::new("mount")
            .args(["-t", "fusectl", "none"])
            .arg(list.path());
        mount.run();
        let abort = list.path().join(number.to_string()).join("abort");
        let aborted = std::fs::write(abort, "1");
        Tool::new("umount").arg(list.path()).run();
        aborted
    }

    /// Returns the path of the card's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(CARD_NAME)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Lazily: somebody may still look in, and must not keep the folder from going.
        let folder = self.folder.path();
        Tool::new("umount").arg("--lazy").arg(folder).outcome();
    }
}

struct CardFolder {
    medium: Arc<dyn ReadWriteAt>,
}

impl CardFolder {
    fn attributes(&self, node: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match node {
            INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            CARD => (FileType::RegularFile, 0o600, self.medium.len()),
            _ => return None,
        };
        Some(FileAttr {
            ino: node,
            size,
            blocks: size / SECTOR_BYTES,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn load(&self, offset: u64, size: u32) -> Result<Vec<u8>, BlockError> {
        let end = offset.saturating_add(u64::from(size));
        let extent = Extent::between(offset, end.min(self.medium.len()));
        // OK to cast: at most `size`, which the kernel bounds.
        self.medium.read_vec(extent.start(), extent.len() as usize)
    }
}

/// Returns the number by which the kernel hears of an error. Through a loop device and direct
/// I/O, these reach the reader unchanged (tried on Linux 6.18, 2026-11), except that of a
/// write-protected card.
fn errno(error: &BlockError) -> Errno {
    match error.kind() {
        BlockErrorKind::Gone => Errno::ENODEV,
        BlockErrorKind::NoSpace | BlockErrorKind::OutOfBounds => Errno::ENOSPC,
        BlockErrorKind::ReadOnly => Errno::EROFS,
        _ => Errno::EIO,
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), BlockError>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(&error)),
    }
}

impl Filesystem for CardFolder {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let card = (parent == INodeNo::ROOT && name == CARD_NAME)
            .then(|| self.attributes(CARD))
            .flatten();
        match card {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(node) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Nothing may be answered from a cache above the faults.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.load(offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.medium.write_at(offset, data) {
            // OK to cast: the kernel bounds a request by far less.
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.medium.flush());
    }

    /// How a loop device passes on a discard or a request for zeros.
    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let zeroing = FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        match Extent::new(offset, length) {
            Some(extent) if flags.intersects(zeroing) => {
                answer(reply, self.medium.write_zeros(extent));
            }
            _ => reply.error(Errno::EOPNOTSUPP),
        }
    }
}
