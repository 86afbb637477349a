//! A block device that fails in declared ways, for programs that must be judged as they are.
//!
//! ```text
//!   program ──▶ loop device ──▶ file `card` ──▶ faulty medium ──▶ base file
//!               of the kernel   of FUSE         of this process
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::card_file::CardFile;
use crate::fault::Fault;
use crate::faulty::FaultyMedium;
use crate::fuse::Served;
use crate::loop_device::{Loop, SectorSize};

/// How large requests may be, in KiB. FUSE cuts longer ones than 1 MiB, and where the second piece of a write
/// fails, the loop device takes the short write for a whole one (tried on Linux 6.18, 2026-11).
const REQUEST_KIB: u32 = 512;

/// A loop device on a card that fails, taken away when dropped. Needs what
/// [`crate::skip_unless_fuse`] asks for.
///
/// Faults can be declared and healed while programs use it. What they see:
/// - With direct I/O, errors come at once and by kind, to the sector. A kernel request of up to
///   512 KiB fails as a whole, and so does the larger request of the program that it is part of.
/// - Without, each error is `EIO`; a failed write shows at the next flush, and reading ahead may
///   use up failures that were to strike a number of times.
/// - A card that is gone keeps its device and its length.
///
/// Drop it after the files that were opened on it. A file that outlives it is still served, but a
/// process that *exits* with unwritten data in one may wait for itself forever.
#[derive(Debug)]
pub struct FaultDisk {
    // ORDER: fields go in this order, the device before the file that it stands on.
    device: Loop,
    served: Served,
    medium: Arc<FaultyMedium<CardFile>>,
}

impl FaultDisk {
    /// Returns a device of `len` zero bytes, which must be whole sectors.
    ///
    /// # Errors
    /// What making or mounting its file reports.
    ///
    /// # Panics
    /// Where losetup fails: the test's premise is broken.
    pub fn blank(len: u64, sectors: SectorSize) -> io::Result<Self> {
        Self::on(CardFile::blank(len)?, sectors)
    }

    /// Returns a device with the content of a file, which writes will change.
    ///
    /// # Errors
    /// As [`FaultDisk::blank`].
    ///
    /// # Panics
    /// As [`FaultDisk::blank`].
    pub fn over(file: &Path, sectors: SectorSize) -> io::Result<Self> {
        Self::on(CardFile::open(file)?, sectors)
    }

    fn on(file: CardFile, sectors: SectorSize) -> io::Result<Self> {
        let medium = Arc::new(FaultyMedium::new(file));
        let served = Served::mount(Arc::clone(&medium) as _)?;
        let mut device = Loop::with_sectors(&served.path(), sectors);
        device.bound_requests(REQUEST_KIB)?;
        Ok(Self {
            device,
            served,
            medium,
        })
    }

    /// Returns the device's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.device.path()
    }

    /// Returns the loop device: for its speed and its counters.
    #[must_use]
    pub const fn device(&self) -> &Loop {
        &self.device
    }

    /// Returns the medium behind the device: for its faults and its log. What
    /// [`FaultyMedium::inner`] holds is what the card holds, as no cache tells it.
    #[must_use]
    pub fn medium(&self) -> &FaultyMedium<CardFile> {
        &self.medium
    }

    /// Adds a fault.
    pub fn declare(&self, fault: Fault) {
        self.medium.declare(fault);
    }

    /// Leaves the device behind as a killed process does: its file can't be asked for anything any more.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn abandon(&self) -> io::Result<()> {
        self.served.abandon()
    }

    /// Lifts all faults.
    pub fn heal(&self) {
        self.medium.heal();
    }
}
