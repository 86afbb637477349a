//! The allocation map of an ext filesystem: what its bitmaps, inode tables and journal say about
//! every byte.
//!
//! ```text
//!   bitmaps                     Used or Free, by cluster; a group that contradicts itself: Used
//!   unwritten extents           Free     they read as zero whatever is there
//!   journal, clean filesystem   Zero     but for its superblock; a stale log could be replayed
//!   all groups' metadata        Used
//!   unused ends of inode tables Zero where the kernel zeroed them, else Free
//! ```
//!
//! Each line is laid over those above. An unclean filesystem gets the more cautious of its maps
//! before and after the journal is replayed, and keeps its journal whole.

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Monitor, ReadAt, Run, State, Trouble};

use crate::error::Error;
use crate::extent_tree::{Content, Depth, walk_blocks};
use crate::filesystem::Ext4;
use crate::inode::Inode;
use crate::journal::Journal;

/// Bitmaps that lie next to each other (flex_bg) are read together, up to this many bytes.
const BATCH_BYTES: u64 = 256 * 1024;

/// Whether a group's bitmap must agree with its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It must: the filesystem is at rest.
    Counts,
    /// It need not: the journal holds the other half of the truth.
    Nothing,
}

impl<M: ReadAt> Ext4<M> {
    /// Returns the map of the medium's whole length. What lies behind the filesystem's end, and
    /// all that can't be proven free, is [`State::Used`]; the monitor hears why.
    ///
    /// # Errors
    /// [`Error`] where nothing can be proven: the caller then has to treat all as used.
    pub fn allocation_map(&self, monitor: &dyn Monitor) -> Result<AllocationMap, Error> {
        let superblock = &self.superblock;
        if superblock.has_errors() {
            return Err(Error::corrupt(
                "the kernel noted errors on it; e2fsck can mend that",
            ));
        }
        let Some(journal) = self.journal()? else {
            if !superblock.is_marked_valid() {
                return Err(Error::corrupt("it was not unmounted and has no journal"));
            }
            return self.map_at_rest(None, monitor);
        };
        if superblock.needs_recovery() {
            return self.map_with_log(&journal, monitor);
        }
        self.map_at_rest(Some(&journal), monitor)
    }

    /// The map of a filesystem that was unmounted.
    fn map_at_rest(
        &self,
        journal: Option<&Journal>,
        monitor: &dyn Monitor,
    ) -> Result<AllocationMap, Error> {
        let metadata = self.metadata()?;
        let mut map = self.bitmaps(Check::Counts, monitor)?;
        map = map.replaced(&self.unwritten_extents(monitor));
        if let Some(journal) = journal.filter(|journal| journal.is_empty()) {
            map = map.replaced(&journal_log(journal, self.block_bytes()));
        }
        Ok(map.raised(&metadata).replaced(&self.unused_inode_tables()))
    }

    /// The map of a filesystem whose journal waits to be replayed.
    fn map_with_log(
        &self,
        journal: &Journal,
        monitor: &dyn Monitor,
    ) -> Result<AllocationMap, Error> {
        if journal.has_fast_commits() {
            return Err(Error::unsupported("fast commits in an unfinished journal"));
        }
        let before = self
            .bitmaps(Check::Nothing, monitor)?
            .raised(&self.metadata()?);
        let replayed = self.replayed()?;
        let after = replayed
            .bitmaps(Check::Counts, monitor)?
            .raised(&replayed.metadata()?);
        let whole: Vec<Run> = journal
            .extents()
            .map(|extent| Run::new(extent, State::Used))
            .collect();
        Ok(before.union(&after).raised(&whole))
    }

    /// What the block bitmaps say.
    fn bitmaps(&self, check: Check, monitor: &dyn Monitor) -> Result<AllocationMap, Error> {
        let superblock = &self.superblock;
        let mut builder = MapBuilder::new(self.medium.len());
        builder.push(
            u64::from(superblock.first_data_block) * self.block_bytes(),
            State::Used,
        );
        let mut number = 0;
        while number < self.groups.len() {
            let count = self.neighbours(number);
            let bitmaps = self.read_bitmaps(number, count);
            for (index, bitmap) in bitmaps.into_iter().enumerate() {
                self.push_group(&mut builder, number + index, bitmap, check, monitor);
            }
            number += count;
        }
        Ok(builder.finish(State::Used))
    }

    /// Returns how many groups from `number` on keep their bitmaps next to each other.
    fn neighbours(&self, number: usize) -> usize {
        let first = self.groups[number].block_bitmap;
        let most = (BATCH_BYTES / self.block_bytes()).max(1) as usize;
        self.groups[number..]
            .iter()
            .take(most)
            .enumerate()
            .take_while(|(index, group)| group.block_bitmap == first + *index as u64)
            .count()
            .max(1)
    }

    /// Reads the bitmaps of `count` groups at once; where that fails, one by one.
    fn read_bitmaps(&self, number: usize, count: usize) -> Vec<Result<Vec<u8>, Error>> {
        let groups = &self.groups[number..number + count];
        if groups.iter().all(|group| group.is_bitmap_implied()) {
            return groups.iter().map(|_| Ok(Vec::new())).collect();
        }
        let size = self.block_bytes() as usize;
        let start = groups[0].block_bitmap * self.block_bytes();
        match self.medium.read_vec(start, size * count) {
            Ok(bytes) => bytes
                .chunks_exact(size)
                .map(|bitmap| Ok(bitmap.to_vec()))
                .collect(),
            Err(_) => groups
                .iter()
                .map(|group| {
                    let offset = group.block_bitmap * self.block_bytes();
                    self.medium.read_vec(offset, size).map_err(Error::from)
                })
                .collect(),
        }
    }

    fn push_group(
        &self,
        builder: &mut MapBuilder,
        number: usize,
        bitmap: Result<Vec<u8>, Error>,
        check: Check,
        monitor: &dyn Monitor,
    ) {
        let superblock = &self.superblock;
        let group_number = number as u64;
        let group = &self.groups[number];
        let first = superblock.group_first_block(group_number);
        let block_count = superblock.group_block_count(group_number);
        let cluster_count = block_count.div_ceil(u64::from(superblock.cluster_blocks));
        let doubt = |what: &str| {
            let extent = self.extent(first, block_count);
            let message = format!("block group {number}: {what}; all of it is treated as used");
            monitor.trouble(Trouble::new(message).at(extent));
        };
        let bitmap = match bitmap {
            _ if !group.is_trusted() && check == Check::Counts => {
                doubt("its descriptor's checksum is wrong");
                None
            }
            Err(_) => {
                doubt("its block bitmap can't be read");
                None
            }
            Ok(_) if group.is_bitmap_implied() => {
                let overhead = self.overhead_clusters(group_number);
                let agrees = cluster_count - overhead.min(cluster_count)
                    == u64::from(group.free_cluster_count);
                if check == Check::Counts && !agrees {
                    doubt("its free blocks disagree with its layout");
                }
                (check == Check::Nothing || agrees).then(Vec::new)
            }
            Ok(bitmap) => {
                let free = free_clusters(&bitmap, cluster_count);
                if check == Check::Nothing {
                    Some(bitmap)
                } else if !group.is_bitmap_sound(superblock, &bitmap) {
                    doubt("its block bitmap's checksum is wrong");
                    None
                } else if free != u64::from(group.free_cluster_count) {
                    doubt("its block bitmap disagrees with its descriptor");
                    None
                } else {
                    Some(bitmap)
                }
            }
        };
        let end = self.extent(first, block_count).end();
        match bitmap {
            None => builder.push_to(end, State::Used),
            Some(bitmap) if bitmap.is_empty() => builder.push_to(end, State::Free),
            Some(bitmap) => {
                let cluster_bytes = u64::from(superblock.cluster_blocks) * self.block_bytes();
                push_bits(builder, &bitmap, cluster_count, cluster_bytes, end);
            }
        }
    }

    /// Returns how many clusters of a group its own fixed metadata takes: what an implied bitmap
    /// has set (`ext4_num_overhead_clusters`).
    fn overhead_clusters(&self, number: u64) -> u64 {
        let superblock = &self.superblock;
        let group = &self.groups[number as usize];
        let first = superblock.group_first_block(number);
        let end = first + superblock.group_block_count(number);
        let ranges = [
            (first, superblock.base_block_count(number)),
            (group.block_bitmap, 1),
            (group.inode_bitmap, 1),
            (group.inode_table, superblock.inode_table_block_count()),
        ];
        let cluster = u64::from(superblock.cluster_blocks);
        let mut clusters: Vec<(u64, u64)> = ranges
            .into_iter()
            .map(|(start, count)| (start.max(first), (start + count).min(end)))
            .filter(|(start, stop)| start < stop)
            .map(|(start, stop)| ((start - first) / cluster, (stop - first).div_ceil(cluster)))
            .collect();
        clusters.sort_unstable();
        let (mut total, mut done) = (0, 0);
        for (start, stop) in clusters {
            total += stop.saturating_sub(start.max(done));
            done = done.max(stop);
        }
        total
    }

    /// Returns the fixed metadata of all groups.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where two pieces overlap: the descriptors can't be trusted then.
    fn metadata(&self) -> Result<Vec<Run>, Error> {
        let superblock = &self.superblock;
        let table = superblock.inode_table_block_count();
        let mut extents = Vec::with_capacity(self.groups.len() * 3);
        for (number, group) in (0u64..).zip(&self.groups) {
            let base = superblock.base_block_count(number);
            let base = base.min(superblock.group_block_count(number));
            extents.push(self.extent(superblock.group_first_block(number), base));
            extents.push(self.extent(group.block_bitmap, 1));
            extents.push(self.extent(group.inode_bitmap, 1));
            extents.push(self.extent(group.inode_table, table));
        }
        extents.retain(|extent| !extent.is_empty());
        extents.sort_unstable();
        if let Some(pair) = extents.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
            let place = pair[1];
            return Err(Error::corrupt(format!(
                "two groups claim the same metadata at {place}"
            )));
        }
        Ok(extents
            .into_iter()
            .map(|extent| Run::new(extent, State::Used))
            .collect())
    }

    /// Returns the ends of the inode tables that hold no inode in use.
    fn unused_inode_tables(&self) -> Vec<Run> {
        let superblock = &self.superblock;
        let table_blocks = superblock.inode_table_block_count();
        let unused = |group: &crate::group::Group| {
            let table = self.extent(group.inode_table, table_blocks);
            let used = u64::from(group.used_inode_count(superblock));
            // Whole blocks only: a block's end may share its checksum or its write with inodes.
            let used_blocks =
                (used * u64::from(superblock.inode_bytes)).div_ceil(self.block_bytes());
            let start = self.extent(group.inode_table, used_blocks).end();
            let state = if group.is_inode_table_zeroed() {
                State::Zero
            } else {
                State::Free
            };
            Run::new(Extent::between(start, table.end()), state)
        };
        self.groups
            .iter()
            .filter(|group| group.is_trusted())
            .map(unused)
            .filter(|run| !run.extent.is_empty())
            .collect()
    }

    /// Returns the preallocated blocks that hold no data, as far as the inodes themselves tell
    /// (deeper trees cost a read each and are taken for data). Where something can't be read,
    /// nothing is claimed.
    fn unwritten_extents(&self, monitor: &dyn Monitor) -> Vec<Run> {
        let mut unwritten = Vec::new();
        let mut data = Vec::new();
        let scan = self.for_each_inode(monitor, &mut |inode| {
            let walked = walk_blocks(
                &self.medium,
                &self.superblock,
                inode,
                Depth::InodeOnly,
                &mut |m| {
                    let extent = self.extent(m.physical, m.count);
                    match m.content {
                        Content::Unwritten => unwritten.push(Run::new(extent, State::Free)),
                        // Only what stands beside unwritten blocks could be hurt by them.
                        _ => data.push(Run::new(extent, State::Used)),
                    }
                    Ok(())
                },
            );
            // A damaged inode claims nothing; e2fsck, not a backup, has to judge it.
            walked.or(Ok(()))
        });
        if scan.is_err() || unwritten.is_empty() {
            return Vec::new();
        }
        unwritten.extend(data);
        unwritten
    }

    /// Calls `visit` for each inode in use, in the order of the inode tables.
    pub(crate) fn for_each_inode(
        &self,
        monitor: &dyn Monitor,
        visit: &mut dyn FnMut(&Inode) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let superblock = &self.superblock;
        let inode_bytes = usize::from(superblock.inode_bytes);
        let per_batch = (BATCH_BYTES as usize / inode_bytes) as u32;
        for (number, group) in (0u32..).zip(&self.groups) {
            let used = group.used_inode_count(superblock);
            let mut index = 0;
            while index < used {
                if monitor.is_cancelled() {
                    return Ok(());
                }
                let count = per_batch.min(used - index);
                let offset = group.inode_table * self.block_bytes()
                    + u64::from(index) * u64::from(superblock.inode_bytes);
                let bytes = self.medium.read_vec(offset, count as usize * inode_bytes)?;
                for (step, record) in (0u32..).zip(bytes.chunks_exact(inode_bytes)) {
                    let before = u64::from(number) * u64::from(superblock.inodes_per_group);
                    let own = before + u64::from(index + step) + 1;
                    let Ok(own) = u32::try_from(own) else {
                        return Ok(());
                    };
                    if own > superblock.inode_count {
                        return Ok(());
                    }
                    let inode = Inode::parse(superblock, own, record);
                    if inode.is_in_use {
                        visit(&inode)?;
                    }
                }
                index += count;
            }
        }
        Ok(())
    }
}

/// Returns the journal without its superblock, which keeps its content.
fn journal_log(journal: &Journal, block_bytes: u64) -> Vec<Run> {
    journal
        .extents()
        .enumerate()
        .map(|(index, extent)| {
            let skip = if index == 0 { block_bytes } else { 0 };
            Run::new(
                Extent::between(extent.start() + skip, extent.end()),
                State::Zero,
            )
        })
        .collect()
}

/// Returns how many of the first `count` bits are 0.
fn free_clusters(bitmap: &[u8], count: u64) -> u64 {
    let whole = (count / 8) as usize;
    let used: u64 = bitmap
        .iter()
        .take(whole)
        .map(|byte| u64::from(byte.count_ones()))
        .sum();
    let rest = bitmap.get(whole).copied().unwrap_or(0xFF) & !(0xFFu32 << (count % 8)) as u8;
    count - used - u64::from(rest.count_ones())
}

/// Appends the first `count` bits, each `cluster_bytes` long, up to `end`.
fn push_bits(builder: &mut MapBuilder, bitmap: &[u8], count: u64, cluster_bytes: u64, end: u64) {
    let state_of = |bit: bool| if bit { State::Used } else { State::Free };
    let mut left = count;
    for &byte in bitmap {
        let bits = left.min(8);
        if bits == 0 {
            break;
        }
        // Whole bytes of one state are the rule.
        if bits == 8 && (byte == 0 || byte == 0xFF) {
            builder.push(8 * cluster_bytes, state_of(byte != 0));
        } else {
            for bit in 0..bits {
                builder.push(cluster_bytes, state_of(byte >> bit & 1 == 1));
            }
        }
        left -= bits;
    }
    // The last cluster may reach past the filesystem's end.
    debug_assert!(builder.end() >= end.min(builder.end()));
    builder.push_to(end, State::Used);
}

#[cfg(test)]
mod tests {
    use super::{free_clusters, push_bits};
    use cardkeep_block::{MapBuilder, State};

    #[test]
    fn bits_become_runs_and_padding_does_not_count() {
        let bitmap = [0b0000_1111, 0xFF, 0x00, 0b1111_1100];
        assert_eq!(free_clusters(&bitmap, 32), 4 + 8 + 2);
        assert_eq!(free_clusters(&bitmap, 26), 4 + 8 + 2);
        assert_eq!(free_clusters(&bitmap, 25), 4 + 8 + 1);
        let mut builder = MapBuilder::new(26);
        push_bits(&mut builder, &bitmap, 26, 1, 26);
        let map = builder.finish(State::Used);
        let runs: Vec<(u64, State)> = map.runs().map(|r| (r.extent.end(), r.state)).collect();
        assert_eq!(
            runs,
            [
                (4, State::Used),
                (8, State::Free),
                (16, State::Used),
                (26, State::Free)
            ]
        );
    }
}
