//! Where a restore writes to: a card past the page cache, or a file in its place.
//!
//! Main type: [`DeviceSink`]. It opens by a [`WritePermit`] alone, and writes nowhere else.

use std::fs::{File, Metadata, OpenOptions};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use cardkeep_block::{
    AlignedBuffer, BlockError, BlockErrorKind, Extent, Monitor, Operation, ReadAt, WriteAt,
};

use crate::aligned_file::AlignedFile;
use crate::file_id::FileId;
use crate::flock::{Kind, Patience, lock};
use crate::permission::{Opened, Right, open_asking};
use crate::platform::{opening, writing};
use crate::purpose::Purpose;
use crate::source::{FILE_ALIGNMENT, SECTOR_BYTES_DEFAULT};
use crate::transfer::system_error;
use crate::write_permit::{Target, WritePermit};

/// What is zeroed by one call, in bytes: a device that writes its zeros one by one keeps a call of
/// this size for seconds, not for minutes, and an interruption is heard.
const ZERO_BYTES_MAX: u64 = 64 << 20;

/// What is written at once of zeros, in bytes.
const PLAIN_ZEROS_BYTES_MAX: u64 = 1 << 20;

/// A card, or a file in its place, opened for writing in the places of a permit.
///
/// A device is held exclusively: nobody can mount it meanwhile. The lock on it or on the file
/// keeps a second restore and all backups out, and udev from looking at a half-written card (systemd, "Locking
/// Block Device Access"). Closing lets udev look, and the desktop mount what it finds.
///
/// What is read comes from the medium: from a device always, from a file as far as its filesystem
/// allows, and where reads go through the cache, since the last [`WriteAt::flush`].
#[derive(Debug)]
pub struct DeviceSink {
    file: AlignedFile,
    permit: WritePermit,
    sector_bytes: u32,
    is_direct: bool,
    right: Right,
    write_count: AtomicU64,
}

impl DeviceSink {
    /// Opens what `permit` was given for. A device that the account may not open is asked for, as
    /// [`crate::Source::open_asking`] does; the permit is held against what is handed out.
    ///
    /// # Errors
    /// What the system said; [`BlockErrorKind::Busy`] where somebody else holds it,
    /// [`BlockErrorKind::Gone`] where it is not any more what the permit was given for, and
    /// [`BlockErrorKind::Permission`] caused by a [`crate::NotPermitted`] where it was asked for in
    /// vain.
    pub fn open(permit: WritePermit, monitor: &dyn Monitor) -> Result<Self, BlockError> {
        let failed = |error| system_error(Operation::Open, error);
        let Opened {
            file,
            is_direct,
            right,
        } = match permit.target() {
            Target::Device { .. } => open_asking(permit.path(), Purpose::Write, monitor)?,
            Target::File { .. } => open_file(&permit).map_err(failed)?,
        };
        expect_target(&file, &permit)?;
        lock_target(&file, permit.target())?;
        let told = match permit.target() {
            Target::Device { .. } => opening::sector_bytes(&file),
            Target::File { .. } => None,
        };
        let sector_bytes = told.unwrap_or(SECTOR_BYTES_DEFAULT);
        let alignment = match permit.target() {
            _ if !is_direct => 1,
            Target::Device { .. } => sector_bytes,
            Target::File { .. } => FILE_ALIGNMENT,
        };
        Ok(Self {
            file: AlignedFile::new(file, alignment),
            permit,
            sector_bytes,
            is_direct,
            right,
            write_count: AtomicU64::new(0),
        })
    }

    /// Returns how often something was written, or tried to be.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.write_count.load(Ordering::Relaxed)
    }

    /// Returns the path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.permit.path()
    }

    /// Tells whether it is a device, not a file.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        matches!(self.permit.target(), Target::Device { .. })
    }

    /// Returns the logical sector size in bytes; 512 for a file.
    #[must_use]
    pub const fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    /// Returns the permission that it writes by.
    #[must_use]
    pub const fn permit(&self) -> &WritePermit {
        &self.permit
    }

    /// Makes the system read the partition table anew, so that it knows the partitions that were
    /// written. Does nothing on a file, nor on a device that was asked for.
    ///
    /// # Errors
    /// What the system said: [`BlockErrorKind::Busy`] where somebody opened an old partition,
    /// [`BlockErrorKind::Permission`] where only root may.
    pub fn reread_partitions(&self) -> Result<(), BlockError> {
        // Only root may, and where there is UDisks2 there is udev, which reads the table of a
        // written disk by itself once it is closed: systemd, src/udev/udev-manager.c,
        // `synthesize_change`, read 2026-11.
        if !self.is_device() || self.right == Right::Asked {
            return Ok(());
        }
        writing::reread_partitions(self.file.file())
            .map_err(|error| system_error(Operation::Flush, error))
    }

    /// Checks that the card is still the one that the permit was given for: a reader keeps its device
    /// while cards come and go, and once somebody has looked at the next one, writing goes there.
    fn expect_same_card(&self, operation: Operation, extent: Extent) -> Result<(), BlockError> {
        let Target::Device { diskseq, .. } = self.permit.target() else {
            return Ok(());
        };
        if diskseq.is_none() || opening::diskseq(self.file.file()) == diskseq {
            return Ok(());
        }
        Err(BlockError::new(BlockErrorKind::Gone, operation).at(extent))
    }

    /// Returns the error of what failed: that the card is gone, where it is. The system tells of a card
    /// that was pulled out by one error or another, and of a flush that failed for it by `EIO`.
    fn of_failure(&self, error: BlockError) -> BlockError {
        if error.kind() == BlockErrorKind::Gone || !self.is_device() || !self.is_gone() {
            return error;
        }
        let gone = BlockError::new(BlockErrorKind::Gone, error.operation());
        match error.extent() {
            Some(extent) => gone.at(extent),
            None => gone,
        }
        .caused_by(error)
    }

    /// Looks whether the card is gone: by its number, or, where the device stays without it, by a read.
    fn is_gone(&self) -> bool {
        let mut first = AlignedBuffer::new(self.sector_bytes as usize);
        let is_same = || self.expect_same_card(Operation::Read, Extent::default());
        let is_gone = |error: &BlockError| error.kind() == BlockErrorKind::Gone;
        match is_same().and_then(|()| self.file.read_at(0, &mut first)) {
            Ok(()) => false,
            Err(error) if is_gone(&error) => true,
            // A reader that lost its card may refuse all with an error that says nothing. Opening makes
            // the system look into it.
            Err(_) => opening::open_device(self.path(), false)
                .map_err(|error| system_error(Operation::Open, error))
                .and_then(|_| is_same())
                .is_err_and(|error| is_gone(&error)),
        }
    }

    fn checked(&self, offset: u64, len: u64) -> Result<Extent, BlockError> {
        let Some(extent) = Extent::new(offset, len) else {
            let error = BlockError::new(BlockErrorKind::OutOfBounds, Operation::Write);
            return Err(error.at(Extent::between(offset, u64::MAX)));
        };
        self.permit.check(extent)?;
        self.expect_same_card(Operation::Write, extent)?;
        Ok(extent)
    }

    fn zero(&self, extent: Extent) -> Result<(), BlockError> {
        let unit = match self.is_device() {
            true => u64::from(self.sector_bytes),
            false => u64::from(FILE_ALIGNMENT),
        };
        // Both within the extent: what is not a whole unit is written, never zeroed as one.
        let start = extent.start().next_multiple_of(unit).min(extent.end());
        let end = (extent.end() - extent.end() % unit).max(start);
        self.write_plain_zeros(Extent::between(extent.start(), start))?;
        for part in parts(Extent::between(start, end), ZERO_BYTES_MAX) {
            self.expect_same_card(Operation::Write, part)?;
            if !writing::zero(self.file.file(), part) {
                self.write_plain_zeros(part)?;
            }
        }
        self.write_plain_zeros(Extent::between(end, extent.end()))
    }

    fn write_plain_zeros(&self, extent: Extent) -> Result<(), BlockError> {
        let zeros = AlignedBuffer::new(extent.len().min(PLAIN_ZEROS_BYTES_MAX) as usize);
        for part in parts(extent, PLAIN_ZEROS_BYTES_MAX) {
            self.file
                .write_at(part.start(), &zeros[..part.len() as usize])?;
        }
        Ok(())
    }
}

impl ReadAt for DeviceSink {
    fn len(&self) -> u64 {
        self.permit.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        let result = self.file.read_at(offset, buffer);
        let extent = Extent::between(offset, offset + buffer.len() as u64);
        self.expect_same_card(Operation::Read, extent)?;
        result
    }

    fn alignment(&self) -> usize {
        self.file.alignment()
    }
}

impl WriteAt for DeviceSink {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        self.checked(offset, data.len() as u64)?;
        self.write_count.fetch_add(1, Ordering::Relaxed);
        self.file
            .write_at(offset, data)
            .map_err(|error| self.of_failure(error))
    }

    fn write_zeros(&self, extent: Extent) -> Result<(), BlockError> {
        self.checked(extent.start(), extent.len())?;
        self.write_count.fetch_add(1, Ordering::Relaxed);
        self.zero(extent).map_err(|error| self.of_failure(error))
    }

    fn flush(&self) -> Result<(), BlockError> {
        let failed = |error| self.of_failure(system_error(Operation::Flush, error));
        let file = self.file.file();
        writing::make_durable(file).map_err(failed)?;
        match self.is_direct {
            true => Ok(()),
            // ORDER: only what is on the medium already can be dropped from the cache.
            false => writing::forget(file).map_err(failed),
        }
    }
}

/// Cuts an extent into parts of at most `bytes_max`.
fn parts(extent: Extent, bytes_max: u64) -> impl Iterator<Item = Extent> {
    let mut start = extent.start();
    std::iter::from_fn(move || {
        let end = extent.end().min(start.saturating_add(bytes_max));
        let part = Extent::between(start, end);
        start = end;
        (!part.is_empty()).then_some(part)
    })
}

/// Opens a regular file, past the cache where its length lets the last bytes be written so: a
/// whole unit written over an incomplete one would make the file longer.
fn open_file(permit: &WritePermit) -> std::io::Result<Opened> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let (file, is_direct) = if permit.len().is_multiple_of(u64::from(FILE_ALIGNMENT)) {
        opening::open_uncached(&mut options, permit.path())?
    } else {
        (options.open(permit.path())?, false)
    };
    Ok(Opened {
        file,
        is_direct,
        right: Right::Own,
    })
}

/// Checks that what was opened is what the permit was given for: names and slots are reused.
fn expect_target(file: &File, permit: &WritePermit) -> Result<(), BlockError> {
    let failed = |error| system_error(Operation::Open, error);
    let metadata = file.metadata().map_err(failed)?;
    let difference = match permit.target() {
        Target::File { id } => file_difference(&metadata, id, permit.len()),
        Target::Device {
            number,
            diskseq,
            size_bytes,
        } => {
            let now = writing::number_of(&metadata);
            let len = opening::device_len(file).map_err(failed)?;
            if now.is_none() || now != number {
                Some("another device has its name now")
            } else if diskseq.is_some() && opening::diskseq(file) != diskseq {
                Some("another card is in its slot now")
            } else {
                (len != size_bytes).then_some("it has another size now")
            }
        }
    };
    match difference {
        None => Ok(()),
        Some(what) => Err(BlockError::new(BlockErrorKind::Gone, Operation::Open).caused_by(what)),
    }
}

fn file_difference(metadata: &Metadata, id: Option<FileId>, len: u64) -> Option<&'static str> {
    if !metadata.is_file() || FileId::from_metadata(metadata) != id {
        return Some("another file has its name now");
    }
    (metadata.len() != len).then_some("it has another length now")
}

fn lock_target(file: &File, target: Target) -> Result<(), BlockError> {
    let patience = match target {
        Target::Device { .. } => Patience::DEVICE,
        Target::File { .. } => Patience::NONE,
    };
    lock(file, Kind::Exclusive, patience)
}
