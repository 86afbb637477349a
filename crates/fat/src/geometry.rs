//! Where the parts of the filesystem lie.
//!
//! ```text
//!   reserved │ FAT │ FAT │ root directory │ cluster 2 │ 3 │ … │ last │ rest │
//!   boot sector            FAT12/16 only    data area                  less than a cluster, or
//!                                                                      what the FAT can't number
//! ```

use cardkeep_block::Extent;

use crate::bpb::RawBpb;
use crate::error::CorruptKind;
use crate::kind::FatKind;

/// The number of the first cluster: two entries of the FAT are spent on other things.
pub(crate) const FIRST_CLUSTER: u32 = 2;
/// FAT12 has fewer clusters than this, all others more (fatgen103, "FAT Type Determination";
/// `MAX_FAT12` of Linux).
const FAT16_CLUSTERS_MIN: u64 = 4085;
/// So that no cluster's number means "bad" (`MAX_FAT16`, `MAX_FAT32` of Linux).
const FAT16_CLUSTERS_MAX: u64 = 0xfff4;
const FAT32_CLUSTERS_MAX: u64 = 0x0fff_fff6;

/// The places and sizes, in bytes from the boot sector; consistent among themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) kind: FatKind,
    pub(crate) fat_count: u8,
    /// The first of the FATs; the others follow it.
    pub(crate) first_fat: Extent,
    /// The FAT that counts, where only one is kept (`BPB_ExtFlags` bit 7).
    pub(crate) only_fat: Option<u8>,
    /// The fixed root directory of FAT12 and FAT16; empty for FAT32.
    pub(crate) root: Extent,
    /// Where the root directory of FAT32 starts.
    pub(crate) root_cluster: Option<u32>,
    pub(crate) data_start: u64,
    pub(crate) cluster_bytes: u32,
    pub(crate) cluster_count: u32,
    /// The end of the filesystem.
    pub(crate) end: u64,
}

impl Geometry {
    /// Computes it from a plausible BPB. No product can exceed 2^44: sectors are counted in
    /// 32 bits and at most 4096 bytes long.
    pub(crate) fn new(bpb: &RawBpb) -> Result<Self, CorruptKind> {
        let sector = u64::from(bpb.bytes_per_sector);
        let root_bytes = u64::from(bpb.root_entries) * 32;
        if root_bytes % sector != 0 {
            return Err(CorruptKind::RootEntries(bpb.root_entries));
        }
        let fat_bytes = u64::from(bpb.fat_sectors()) * sector;
        let fat_start = u64::from(bpb.reserved_sectors) * sector;
        let root_start = fat_start + u64::from(bpb.fat_count) * fat_bytes;
        let data_start = root_start + root_bytes;
        let end = u64::from(bpb.total_sectors) * sector;
        let cluster_bytes = u32::from(bpb.sectors_per_cluster) * u32::from(bpb.bytes_per_sector);
        let room = end.saturating_sub(data_start) / u64::from(cluster_bytes);
        let kind = match room {
            _ if bpb.is_fat32() => FatKind::Fat32,
            FAT16_CLUSTERS_MIN.. => FatKind::Fat16,
            _ => FatKind::Fat12,
        };
        let cluster_count = numbered(kind, room, fat_bytes)?;
        let geometry = Self {
            kind,
            fat_count: bpb.fat_count,
            first_fat: Extent::between(fat_start, fat_start + fat_bytes),
            only_fat: only_fat(bpb),
            root: Extent::between(root_start, data_start),
            root_cluster: bpb.is_fat32().then_some(bpb.root_cluster),
            data_start,
            cluster_bytes,
            cluster_count,
            end,
        };
        match geometry.root_cluster {
            Some(cluster) if !geometry.is_cluster(cluster) => {
                Err(CorruptKind::RootCluster(cluster))
            }
            _ => Ok(geometry),
        }
    }

    pub(crate) const fn is_cluster(&self, number: u32) -> bool {
        number >= FIRST_CLUSTER && number - FIRST_CLUSTER < self.cluster_count
    }

    /// The entries of a FAT that count: one a cluster, and the two before.
    pub(crate) const fn entry_count(&self) -> u32 {
        self.cluster_count + FIRST_CLUSTER
    }

    /// Where `count` clusters from number `first` lie. They must be clusters.
    pub(crate) fn clusters(&self, first: u32, count: u32) -> Extent {
        let start = self.cluster_start(first);
        let len = u64::from(count) * u64::from(self.cluster_bytes);
        Extent::between(start, start + len)
    }

    /// Where a cluster starts; of the number behind the last one, where the last one ends.
    pub(crate) fn cluster_start(&self, number: u32) -> u64 {
        let index = u64::from(number.saturating_sub(FIRST_CLUSTER));
        self.data_start + index * u64::from(self.cluster_bytes)
    }

    /// The data area as far as clusters fill it.
    pub(crate) fn data(&self) -> Extent {
        self.clusters(FIRST_CLUSTER, self.cluster_count)
    }
}

/// The number of clusters that both fit the filesystem and have an entry.
fn numbered(kind: FatKind, room: u64, fat_bytes: u64) -> Result<u32, CorruptKind> {
    let (entries, max) = match kind {
        FatKind::Fat12 => (fat_bytes * 2 / 3, FAT16_CLUSTERS_MIN - 1),
        FatKind::Fat16 => (fat_bytes / 2, FAT16_CLUSTERS_MAX),
        FatKind::Fat32 => (fat_bytes / 4, FAT32_CLUSTERS_MAX),
    };
    let count = room.min(entries.saturating_sub(FIRST_CLUSTER.into()));
    match u32::try_from(count) {
        Ok(0) => Err(CorruptKind::NoClusters),
        Ok(small) if count <= max => Ok(small),
        _ => Err(CorruptKind::ClusterCount(count)),
    }
}

fn only_fat(bpb: &RawBpb) -> Option<u8> {
    let is_single = bpb.is_fat32() && bpb.flags & 0x80 != 0;
    let active = (bpb.flags & 0x0f) as u8;
    (is_single && active < bpb.fat_count).then_some(active)
}
