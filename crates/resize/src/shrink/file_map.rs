//! Where one file's blocks lie, and the clusters that they lie in: what is moved must be known for
//! sure.

use cardkeep_block::ReadAt;
use cardkeep_ext4::{FileMap, InodeRecord, Sealer, Superblock};

use crate::declined::Declined;

/// What is needed to read files' maps.
pub(crate) struct MapReader<'a, M> {
    pub(crate) medium: &'a M,
    pub(crate) superblock: &'a Superblock,
    pub(crate) sealer: Sealer,
}

impl<M: ReadAt> MapReader<'_, M> {
    /// Reads the map of the inode `number` with the record `record`.
    pub(crate) fn read<B: AsRef<[u8]>>(
        &self,
        number: u32,
        record: &InodeRecord<B>,
    ) -> Result<FileMap, Declined> {
        FileMap::load(self.medium, self.superblock, number, record).map_err(Declined::from_content)
    }
}

/// Returns the ranges of clusters that the extents lie in, as start and count of blocks. Each
/// extent has one, but those that share a cluster have one together: they can't be parted.
///
/// ```text
///   logical    0 1 2 3 | 4 5 . . | . . . . | . d e f
///   clusters   A       | B       |         | C         C may lie anywhere, but d in its second
///                                                      block (`EXT4_LBLK_COFF` in the kernel)
/// ```
///
/// `None` where blocks lie elsewhere in their cluster than the file's clusters say, or a
/// cluster of the file is in two: `has_unaligned_cluster_map` in e2fsck.
pub(crate) fn clusters(map: &FileMap, cluster: u64) -> Option<Vec<(u64, u64)>> {
    let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(map.extents.len());
    let mut last = None;
    for extent in &map.extents {
        if extent.logical % cluster != extent.physical % cluster {
            return None;
        }
        let start = extent.physical / cluster;
        let end = (extent.physical + extent.count).div_ceil(cluster);
        match (last, ranges.last_mut()) {
            (Some((logical, physical)), Some(range)) if logical == extent.logical / cluster => {
                if physical != start {
                    return None;
                }
                range.1 = end * cluster - range.0;
            }
            _ => ranges.push((start * cluster, (end - start) * cluster)),
        }
        last = Some(((extent.logical + extent.count - 1) / cluster, end - 1));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use cardkeep_ext4::{FileExtent, FileMap, Mapping};

    fn clusters(extents: &[(u64, u64, u64)], cluster: u64) -> Option<Vec<(u64, u64)>> {
        let extents = extents
            .iter()
            .map(|&(logical, physical, count)| FileExtent {
                logical,
                physical,
                count,
                is_unwritten: false,
            });
        let map = FileMap {
            mapping: Mapping::Extents,
            extents: extents.collect(),
            tree: Vec::new(),
        };
        super::clusters(&map, cluster)
    }

    #[test]
    fn without_clusters_every_extent_is_for_itself() {
        let extents = [(0, 7, 3), (3, 10, 1), (9, 2, 2)];
        assert_eq!(clusters(&extents, 1), Some(vec![(7, 3), (10, 1), (2, 2)]));
    }

    #[test]
    fn extents_that_share_a_cluster_stay_together() {
        let shared = [(0, 40, 6), (7, 47, 3), (16, 8, 1), (19, 11, 1)];
        assert_eq!(clusters(&shared, 4), Some(vec![(40, 12), (8, 4)]));
        // A hole in between, but no shared cluster.
        assert_eq!(
            clusters(&[(0, 40, 4), (5, 45, 1)], 4),
            Some(vec![(40, 4), (44, 4)])
        );
    }

    #[test]
    fn blocks_askew_in_their_clusters_are_told() {
        assert_eq!(clusters(&[(0, 41, 1)], 4), None);
        // One cluster of the file in two places.
        assert_eq!(clusters(&[(0, 40, 1), (2, 46, 1)], 4), None);
    }
}
