//! A medium as the tables see it: in sectors.

use cardkeep_block::{BlockError, Extent, ReadAt};

use crate::mbr::{Entry, RECORD_BYTES};
use crate::{Kind, Partition};

/// A medium in sectors.
#[derive(Debug)]
pub(crate) struct Sectors<'a, M> {
    medium: &'a M,
    pub(crate) bytes: u32,
}

impl<'a, M: ReadAt> Sectors<'a, M> {
    /// Returns the medium in sectors of `bytes`, which must not be 0.
    pub(crate) const fn new(medium: &'a M, bytes: u32) -> Self {
        Self { medium, bytes }
    }

    /// The number of whole sectors.
    pub(crate) fn count(&self) -> u64 {
        self.medium.len() / u64::from(self.bytes)
    }

    /// The extent of `count` sectors, if 64 bits can count its bytes.
    pub(crate) fn extent(&self, lba: u64, count: u64) -> Option<Extent> {
        let bytes = u64::from(self.bytes);
        Extent::new(lba.checked_mul(bytes)?, count.checked_mul(bytes)?)
    }

    /// The same, if all of it lies on the medium.
    pub(crate) fn extent_on_medium(&self, lba: u64, count: u64) -> Option<Extent> {
        self.extent(lba, count)
            .filter(|&extent| self.holds_extent(extent))
    }

    /// Tells whether all of it lies on the medium.
    pub(crate) fn holds_extent(&self, extent: Extent) -> bool {
        extent.end() <= self.medium.len()
    }

    pub(crate) fn read(&self, lba: u64) -> Result<Vec<u8>, BlockError> {
        let offset = lba.saturating_mul(u64::from(self.bytes));
        self.medium.read_vec(offset, self.bytes as usize)
    }

    pub(crate) fn read_extent(&self, extent: Extent, len: usize) -> Result<Vec<u8>, BlockError> {
        self.medium.read_vec(extent.start(), len)
    }

    /// The first 512 bytes of a sector: what counts of an MBR or EBR.
    pub(crate) fn record(&self, lba: u64) -> Result<[u8; RECORD_BYTES], BlockError> {
        let mut record = [0; RECORD_BYTES];
        let offset = lba.saturating_mul(u64::from(self.bytes));
        self.medium.read_at(offset, &mut record)?;
        Ok(record)
    }

    /// Tells whether these bytes are on the medium already.
    pub(crate) fn holds_bytes(&self, offset: u64, bytes: &[u8]) -> bool {
        // What can't be read, or lies past the end, must be written.
        let held = self.medium.read_vec(offset, bytes.len());
        held.is_ok_and(|held| held == bytes)
    }

    /// Tells whether the partition of an MBR entry lies on the medium, behind the first sector.
    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        let start = u64::from(entry.first_sector);
        let extent = self.extent_on_medium(start, entry.sector_count.into());
        entry.is_used() && start > 0 && extent.is_some()
    }

    /// The partition of an MBR or EBR entry that counts from sector `base`.
    pub(crate) fn partition(&self, number: u32, base: u64, entry: &Entry) -> Option<Partition> {
        let lba = base.checked_add(entry.first_sector.into())?;
        Some(Partition {
            number,
            extent: self.extent(lba, entry.sector_count.into())?,
            kind: Kind::Mbr(entry.kind),
            name: None,
            bootable: entry.is_active(),
            logical: base != 0,
            guid: None,
        })
    }
}
