//! The partition that lies last on a medium.

use std::sync::Arc;

use cardkeep_block::{Extent, ReadAt, Slice};
use cardkeep_ext4::{Ext4, Recovered};
use cardkeep_ptable::{Loaded, PartitionTable, Scheme};

use super::declined::Declined;

/// The entries of an MBR count sectors in 32 bits; what lies behind is out of its partitions' reach
/// (Linux takes longer ones, others don't).
const MBR_SECTORS_MAX: u64 = u32::MAX as u64;

/// A filesystem with its journal replayed, and what it is seen through.
pub(super) type AtRest = Recovered<Slice<Arc<dyn ReadAt>>>;

/// The partition that lies last on a medium, which holds an ext filesystem.
pub(super) struct Last {
    /// 0 where there is no partition table.
    pub(super) number: u32,
    pub(super) extent: Extent,
    pub(super) table: Option<PartitionTable>,
    pub(super) sector_bytes: u64,
}

impl Last {
    /// Finds it.
    pub(super) fn of(medium: &Arc<dyn ReadAt>, sector_bytes: u32) -> Result<Self, Declined> {
        let (number, extent, table) = match cardkeep_ptable::load(medium, sector_bytes) {
            Ok(Loaded::None) => (0, Extent::between(0, medium.len()), None),
            Ok(Loaded::Table(table)) => {
                let last = table.partitions.iter().max_by_key(|part| part.extent.end());
                let (number, extent) = last
                    .map(|part| (part.number, part.extent))
                    .ok_or(Declined::NoPartition)?;
                (number, extent, Some(table))
            }
            Err(_) => return Err(Declined::NoPartition),
        };
        let own = Self {
            number,
            extent,
            table,
            sector_bytes: u64::from(sector_bytes.max(1)),
        };
        if cardkeep_ext4::probe(&own.slice(medium)) {
            Ok(own)
        } else {
            Err(Declined::NoFilesystem { number })
        }
    }

    pub(super) fn slice(&self, medium: &Arc<dyn ReadAt>) -> Slice<Arc<dyn ReadAt>> {
        Slice::new(Arc::clone(medium), self.extent)
    }

    /// Returns the filesystem's place on `medium` as the next mount would leave it.
    pub(super) fn at_rest(&self, medium: &Arc<dyn ReadAt>) -> Result<AtRest, cardkeep_ext4::Error> {
        let fs = Ext4::load(self.slice(medium))?;
        let recovered = fs.recovered()?;
        Ok(recovered.onto(self.slice(medium)))
    }

    /// Returns how long the partition can be on a medium of `len` bytes.
    pub(super) fn room(&self, len: u64) -> u64 {
        let tail = self.table.as_ref().map_or(0, |table| table.tail_bytes);
        let sectors = len.saturating_sub(tail) / self.sector_bytes;
        let is_mbr = |table: &PartitionTable| table.scheme == Scheme::Mbr;
        let sectors = match &self.table {
            Some(table) if is_mbr(table) => sectors.min(MBR_SECTORS_MAX),
            _ => sectors,
        };
        (sectors * self.sector_bytes).saturating_sub(self.extent.start())
    }
}
