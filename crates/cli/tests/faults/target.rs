//! The card that is written, and what it may look like afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use cardkeep_block::ReadAt;
use cardkeep_testkit::{Fault, FaultDisk, SectorSize};
use tempfile::TempDir;

use crate::original::{CARD_BYTES, Original};

/// What lies on a target card where a restore writes nothing.
pub(crate) const STALE: u8 = 0xA5;

/// A card that fails, full of stale bytes.
pub(crate) struct Target {
    // ORDER: the device goes before the file that it stands on.
    pub(crate) disk: FaultDisk,
    folder: TempDir,
}

impl Target {
    /// Makes a card without faults yet.
    pub(crate) fn new() -> Self {
        Self::holding(&vec![STALE; CARD_BYTES as usize])
    }

    /// Makes a card with these bytes on it.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("target.img");
        fs::write(&file, bytes).unwrap();
        let disk = FaultDisk::over(&file, SectorSize::Bytes512).unwrap();
        Self { disk, folder }
    }

    /// Makes a card with one fault.
    pub(crate) fn with(fault: Fault) -> Self {
        let target = Self::new();
        target.disk.declare(fault);
        target
    }

    /// Returns the path of the device.
    pub(crate) fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Returns the file that has the card's bytes, below the faults.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("target.img")
    }

    /// Returns the first sector, below the faults.
    pub(crate) fn bytes_at_start(&self) -> Vec<u8> {
        self.disk.medium().inner().read_vec(0, 512).unwrap()
    }

    /// Returns all bytes of the card, below the faults.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }

    /// Asserts that nothing takes the card for bootable.
    pub(crate) fn assert_not_bootable(&self) {
        let bytes = self.bytes();
        let is_zero = bytes[..512].iter().all(|&byte| byte == 0);
        assert!(is_zero, "the first sector is {:02x?}...", &bytes[..16]);
    }

    /// Asserts that nothing was written where the image says that all is free.
    pub(crate) fn assert_free_is_untouched(&self, original: &Original) {
        let bytes = self.bytes();
        for extent in original.untouchable() {
            let part = &bytes[extent.start() as usize..extent.end() as usize];
            let wrong = part.iter().position(|&byte| byte != STALE);
            assert_eq!(wrong, None, "a free byte of {extent} was written");
        }
    }

    /// Asserts that the card is whole, and nothing else was written.
    pub(crate) fn assert_restored(&self, original: &Original) {
        original.assert_complete(&self.file());
        self.assert_free_is_untouched(original);
    }

    /// Asserts what a failed restore leaves.
    pub(crate) fn assert_given_up(&self, original: &Original) {
        self.assert_not_bootable();
        self.assert_free_is_untouched(original);
    }
}
