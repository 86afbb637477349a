//! Where a copy reads from: a block device past the page cache, or a file through it.
//!
//! Main type: [`Source`]. It is opened read-only, always; writing is not its business.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use cardkeep_block::{
    BlockError, BlockErrorKind, Extent, MEDIUM_BYTES_MAX, Monitor, Operation, ReadAt,
};

use crate::aligned_file::AlignedFile;
use crate::flock::{Kind, Patience, lock};
use crate::permission::open_asking;
use crate::platform::opening;
use crate::purpose::Purpose;
use crate::transfer::system_error;

/// The sector size in bytes assumed where the system doesn't tell.
pub(crate) const SECTOR_BYTES_DEFAULT: u32 = 512;

/// The alignment in bytes that satisfies direct I/O on every filesystem with blocks of a page.
pub(crate) const FILE_ALIGNMENT: u32 = 4096;

/// A medium opened for reading: a block device or a regular file.
///
/// Devices are read past the page cache, so that reading a card of 64 GB doesn't push everything
/// else out of memory, and so that what is read comes from the card. Requests aligned to
/// [`ReadAt::alignment`] in offset, length and address go straight into the caller's buffer.
#[derive(Debug)]
pub struct Source {
    file: AlignedFile,
    path: PathBuf,
    len: u64,
    sector_bytes: u32,
    is_device: bool,
    diskseq: Option<u64>,
}

/// How a device is opened.
#[derive(Clone, Copy)]
enum How<'a> {
    /// As it is; others may hold it meanwhile.
    Shared,
    /// Refusing one that others hold.
    Exclusive,
    /// As it is, by asking the system where the account may not.
    Asking(&'a dyn Monitor),
}

impl Source {
    /// Opens a block device or a regular file for reading.
    ///
    /// # Errors
    /// What the system said on opening; [`BlockErrorKind::Io`] caused by a [`NotAMedium`] where
    /// `path` names a folder, a pipe or the like.
    pub fn open(path: &Path) -> Result<Self, BlockError> {
        Self::open_as(path, How::Shared)
    }

    /// Opens as [`Source::open`] does; a device that the account may not open is asked for where
    /// the system has a service for that, which may ask a person, and takes as long as that does.
    /// So it is for what the user named, never for a look at all there is.
    ///
    /// # Errors
    /// As [`Source::open`]; [`BlockErrorKind::Permission`] caused by a [`crate::NotPermitted`] where
    /// it was asked in vain.
    pub fn open_asking(path: &Path, monitor: &dyn Monitor) -> Result<Self, BlockError> {
        Self::open_as(path, How::Asking(monitor))
    }

    /// Opens as [`Source::open`] does, but refuses a device that somebody else holds: one that is
    /// mounted, part of an array, or opened exclusively.
    ///
    /// # Errors
    /// As [`Source::open`]; [`BlockErrorKind::Busy`] where the device is held.
    pub fn open_exclusive(path: &Path) -> Result<Self, BlockError> {
        Self::open_as(path, How::Exclusive)
    }

    fn open_as(path: &Path, how: How<'_>) -> Result<Self, BlockError> {
        let failed = |error| system_error(Operation::Open, error);
        // The type is looked at before opening: opening a pipe would wait for its writer.
        match Nature::of(&std::fs::metadata(path).map_err(failed)?) {
            Nature::Device => Self::open_device(path, how),
            Nature::File => Self::open_file(path),
            Nature::Other(what) => Err(not_a_medium(path, what)),
        }
    }

    fn open_device(path: &Path, how: How<'_>) -> Result<Self, BlockError> {
        let failed = |error| system_error(Operation::Open, error);
        let (file, direct) = match how {
            How::Shared => opening::open_device(path, false).map_err(failed)?,
            How::Exclusive => opening::open_device(path, true).map_err(failed)?,
            How::Asking(monitor) => {
                let opened = open_asking(path, Purpose::Read, monitor)?;
                (opened.file, opened.is_direct)
            }
        };
        // Between the look and the open the name may have come to mean something else.
        if let Nature::Other(what) = Nature::of(&file.metadata().map_err(failed)?) {
            return Err(not_a_medium(path, what));
        }
        let sector_bytes = opening::sector_bytes(&file).unwrap_or(SECTOR_BYTES_DEFAULT);
        let len = opening::device_len(&file).map_err(failed)?;
        let alignment = if direct { sector_bytes } else { 1 };
        let diskseq = opening::diskseq(&file);
        expect_len(len)?;
        Ok(Self {
            file: AlignedFile::new(file, alignment),
            path: path.to_path_buf(),
            // The kernel refuses what lies behind the last whole sector. Only loop devices on files
            // of odd sizes have such bytes.
            len: len - len % u64::from(sector_bytes),
            sector_bytes,
            is_device: true,
            diskseq,
        })
    }

    fn open_file(path: &Path) -> Result<Self, BlockError> {
        let file = File::open(path).map_err(|error| system_error(Operation::Open, error))?;
        opening::expect_sequential(&file);
        Self::of_file(file, path, 1)
    }

    /// Opens a regular file past the page cache as far as its filesystem allows: what is read is
    /// what is stored, not what was written a moment ago.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn open_uncached(path: &Path) -> Result<Self, BlockError> {
        let failed = |error| system_error(Operation::Open, error);
        if let Nature::Other(what) = Nature::of(&std::fs::metadata(path).map_err(failed)?) {
            return Err(not_a_medium(path, what));
        }
        let mut options = OpenOptions::new();
        let (file, direct) = opening::open_uncached(options.read(true), path).map_err(failed)?;
        Self::of_file(file, path, if direct { FILE_ALIGNMENT } else { 1 })
    }

    fn of_file(mut file: File, path: &Path, alignment: u32) -> Result<Self, BlockError> {
        let failed = |error| system_error(Operation::Open, error);
        if let Nature::Other(what) = Nature::of(&file.metadata().map_err(failed)?) {
            return Err(not_a_medium(path, what));
        }
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        expect_len(len)?;
        Ok(Self {
            file: AlignedFile::new(file, alignment),
            path: path.to_path_buf(),
            len,
            sector_bytes: SECTOR_BYTES_DEFAULT,
            is_device: false,
            diskseq: None,
        })
    }

    /// Keeps the medium still until this is dropped: nobody who asks for the lock writes it meanwhile, as
    /// restores do; others may read it (systemd, "Locking Block Device Access").
    ///
    /// # Errors
    /// [`BlockErrorKind::Busy`] where somebody writes it.
    pub fn hold_still(&self) -> Result<(), BlockError> {
        lock(self.file.file(), Kind::Shared, Patience::DEVICE)
    }

    /// Returns the path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether it is a device, not a file.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.is_device
    }

    /// Returns the logical sector size in bytes; 512 for a file.
    #[must_use]
    pub const fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    /// Returns the number that the system gave this very insertion of the medium, where it counts
    /// them (Linux 5.15 and later): another card in the same slot has another number.
    #[must_use]
    pub const fn diskseq(&self) -> Option<u64> {
        self.diskseq
    }
}

impl ReadAt for Source {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        let result = self.file.read_at(offset, buffer);
        if self.diskseq.is_none() || opening::diskseq(self.file.file()) == self.diskseq {
            return result;
        }
        // A reader keeps its device while cards come and go. The system refuses with one error or
        // another while there is none, and what it reads then, without any error, is the next card's.
        let extent = Extent::between(offset, offset + buffer.len() as u64);
        Err(BlockError::new(BlockErrorKind::Gone, Operation::Read).at(extent))
    }

    fn alignment(&self) -> usize {
        self.file.alignment()
    }
}

/// Refuses a medium that claims to be longer than any is.
fn expect_len(len: u64) -> Result<(), BlockError> {
    if len <= MEDIUM_BYTES_MAX {
        return Ok(());
    }
    Err(
        BlockError::new(BlockErrorKind::Io, Operation::Open).caused_by(format!(
            "it claims to have {len} bytes, but the limit is {MEDIUM_BYTES_MAX}"
        )),
    )
}

/// What a path names, as far as reading an image or a card goes.
pub(crate) enum Nature {
    Device,
    File,
    Other(&'static str),
}

impl Nature {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        if metadata.is_file() {
            return Self::File;
        }
        if metadata.is_dir() {
            return Self::Other("a folder");
        }
        opening::special_file(metadata.file_type()).map_or(Self::Device, Self::Other)
    }
}

/// The path names something that is neither a device nor a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMedium {
    /// The path as it was given.
    pub path: PathBuf,
    /// What it is instead, with its article: "a folder".
    pub what: &'static str,
}

impl std::fmt::Display for NotAMedium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        write!(
            f,
            "{path} is {}, neither a device nor an image file",
            self.what
        )
    }
}

impl std::error::Error for NotAMedium {}

pub(crate) fn not_a_medium(path: &Path, what: &'static str) -> BlockError {
    BlockError::new(BlockErrorKind::Io, Operation::Open).caused_by(NotAMedium {
        path: path.to_path_buf(),
        what,
    })
}
