//! The driver of FAT12, FAT16 and FAT32.

use cardkeep_block::{
    AllocationMap, Behind, Driver, DriverError, Extent, Files, Filesystem, FsSummary, Monitor,
    Owner, ReadAt, Streaming, Structure,
};

use crate::boot_sector::probe;
use crate::filesystem::{FatFs, head_bytes, stated_len};
use crate::owner::OwnerKind;

/// The driver of FAT12, FAT16 and FAT32.
#[derive(Clone, Copy, Debug)]
pub struct FatDriver;

impl Driver for FatDriver {
    fn name(&self) -> &'static str {
        "FAT"
    }

    fn probe(&self, medium: &dyn ReadAt) -> bool {
        probe(&medium).is_some()
    }

    fn stated_len(&self, medium: &dyn ReadAt) -> Option<u64> {
        stated_len(&medium)
    }

    fn open<'m>(&self, medium: &'m dyn ReadAt) -> Result<Box<dyn Filesystem + 'm>, DriverError> {
        Ok(Box::new(FatFs::load(medium)?))
    }

    fn streaming(&self, head: &dyn ReadAt) -> Streaming {
        // Without its first sector it is opened by a copy, or not at all.
        head_bytes(&head).map_or(Streaming::Head, Streaming::Bytes)
    }

    fn silent_places(&self, medium: &dyn ReadAt) -> Vec<Extent> {
        let whole = Extent::between(0, medium.len());
        // What can't be read is left out: what lies at the beginning still tells.
        let owners = FatFs::load(medium).and_then(|fs| fs.owners(&[whole]));
        let owners = owners.unwrap_or_default().into_iter();
        owners
            .filter(|owner| matches!(owner.what, OwnerKind::Directory(_)))
            .map(|owner| owner.extent)
            .collect()
    }
}

impl Filesystem for FatFs<&dyn ReadAt> {
    fn medium(&self) -> &dyn ReadAt {
        self.medium
    }

    fn summary(&self) -> FsSummary {
        let info = self.info();
        let cluster_bytes = u64::from(info.cluster_bytes);
        FsSummary {
            name: info.kind.to_string().to_lowercase(),
            label: info.label.clone(),
            uuid: info.volume_id.clone(),
            is_clean: !info.dirty,
            block_bytes: cluster_bytes,
            // Sectors behind the last cluster are the partition's, and no filesystem's.
            len: self.medium.len(),
            free_bytes: u64::from(info.free_clusters).saturating_mul(cluster_bytes),
            behind: Behind::Nothing,
            ..FsSummary::default()
        }
    }

    fn allocation_map(&self, monitor: &dyn Monitor) -> Result<AllocationMap, DriverError> {
        Ok(Self::allocation_map(self, monitor)?)
    }

    fn content_len(&self) -> u64 {
        self.info().len
    }

    fn owners(&self, extents: &[Extent], _: &dyn Monitor) -> Vec<Owner> {
        let owners = Self::owners(self, extents).unwrap_or_default();
        owners.into_iter().map(owner).collect()
    }

    fn files(&self) -> Option<Box<dyn Files + '_>> {
        Some(Box::new(self))
    }
}

impl<M: ReadAt> Files for &FatFs<M> {
    fn read_file(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DriverError> {
        Ok(FatFs::read_file(self, path, bytes_max)?)
    }
}

fn owner(own: crate::Owner) -> Owner {
    let (path, structure) = match own.what {
        OwnerKind::File(path) | OwnerKind::Directory(path) => (Some(path), None),
        OwnerKind::Metadata(structure) => (None, Some(structure)),
        OwnerKind::Bad => (None, Some(Structure::BadCluster)),
        OwnerKind::Free => (None, Some(Structure::FreeSpace)),
        OwnerKind::Unknown | OwnerKind::Outside => (None, None),
    };
    Owner {
        extent: own.extent,
        path,
        structure,
    }
}
