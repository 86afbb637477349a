//! What the block bitmaps say, group by group, and whether they can be believed.

use cardkeep_block::{AllocationMap, MapBuilder, Monitor, ReadAt, State, Trouble};

use crate::error::Error;
use crate::filesystem::Ext4;

/// Bitmaps that lie next to each other (flex_bg) are read together, up to this many bytes.
const BATCH_BYTES: u64 = 256 * 1024;

/// Whether a group's bitmap must agree with its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It must: the filesystem is at rest.
    Counts,
    /// It need not: the journal holds the other half of the truth.
    Nothing,
}

/// The block bitmaps of all groups.
#[derive(Debug)]
pub(crate) struct Bitmaps {
    /// What they say; groups that contradict themselves are used.
    pub(crate) map: AllocationMap,
    /// No group contradicts itself.
    pub(crate) is_consistent: bool,
}

/// One group's bitmap.
pub(crate) enum Bits {
    /// Nothing but the group's own metadata is used: the descriptor says so, the bitmap is not
    /// written.
    Implied,
    /// As read from the medium.
    Read(Vec<u8>),
}

impl<M: ReadAt> Ext4<M> {
    /// Reads the block bitmaps of all groups.
    pub(crate) fn bitmaps(&self, check: Check, monitor: &dyn Monitor) -> Bitmaps {
        let mut builder = MapBuilder::new(self.medium.len());
        builder.push_to(
            self.extent(self.superblock.group_first_block(0), 0).end(),
            State::Used,
        );
        let mut is_consistent = true;
        let mut number = 0;
        while number < self.groups.len() {
            let count = self.neighbours(number);
            for (index, bitmap) in self.read_bitmaps(number, count).into_iter().enumerate() {
                let number = number + index;
                let judged = match check {
                    Check::Counts => self.judged(number, bitmap),
                    Check::Nothing => self.unjudged(number, bitmap),
                };
                is_consistent &= judged.is_ok();
                self.push_group(&mut builder, number, judged, monitor);
            }
            number += count;
        }
        let map = builder.finish(State::Used);
        Bitmaps { map, is_consistent }
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

    /// Returns a group's bitmap, or why it can't be believed.
    pub(crate) fn judged(
        &self,
        number: usize,
        bitmap: Result<Vec<u8>, Error>,
    ) -> Result<Bits, &'static str> {
        let superblock = &self.superblock;
        let group = &self.groups[number];
        if !group.is_trusted() {
            return Err("its descriptor's checksum is wrong");
        }
        let cluster_count = self.cluster_count(number as u64);
        let free_count = u64::from(group.free_cluster_count);
        match self.unjudged(number, bitmap)? {
            Bits::Implied => {
                let ranges = self.overhead_clusters(number as u64);
                let overhead = ranges.iter().map(|(start, stop)| stop - start).sum();
                if cluster_count.checked_sub(overhead) != Some(free_count) {
                    return Err("its free blocks disagree with its layout");
                }
                Ok(Bits::Implied)
            }
            Bits::Read(bitmap) => {
                if !group.is_block_bitmap_sound(superblock, &bitmap) {
                    return Err("its block bitmap's checksum is wrong");
                }
                if free_clusters(&bitmap, cluster_count) != free_count {
                    return Err("its block bitmap disagrees with its descriptor");
                }
                Ok(Bits::Read(bitmap))
            }
        }
    }

    fn unjudged(
        &self,
        number: usize,
        bitmap: Result<Vec<u8>, Error>,
    ) -> Result<Bits, &'static str> {
        let bitmap = bitmap.map_err(|_| "its block bitmap can't be read")?;
        if self.groups[number].is_bitmap_implied() {
            Ok(Bits::Implied)
        } else {
            Ok(Bits::Read(bitmap))
        }
    }

    /// Appends a group: all of it is used where its bitmap can't be believed.
    pub(crate) fn push_group(
        &self,
        builder: &mut MapBuilder,
        number: usize,
        bits: Result<Bits, &'static str>,
        monitor: &dyn Monitor,
    ) {
        let superblock = &self.superblock;
        let first = superblock.group_first_block(number as u64);
        let extent = self.extent(first, superblock.group_block_count(number as u64));
        match bits {
            Err(what) => {
                let message = format!("block group {number}: {what}; all of it is treated as used");
                monitor.trouble(Trouble::new(message).at(extent));
                builder.push_to(extent.end(), State::Used);
            }
            Ok(Bits::Implied) => {
                let cluster = u64::from(superblock.cluster_blocks) * self.block_bytes();
                let mut push = |count: u64, state| {
                    let stop = extent.start().saturating_add(count * cluster);
                    builder.push_to(stop.min(extent.end()), state);
                };
                for (start, stop) in self.overhead_clusters(number as u64) {
                    push(start, State::Free);
                    push(stop, State::Used);
                }
                builder.push_to(extent.end(), State::Free);
            }
            Ok(Bits::Read(bitmap)) => {
                let cluster_bytes = u64::from(superblock.cluster_blocks) * self.block_bytes();
                let count = self.cluster_count(number as u64);
                push_bits(builder, &bitmap, count, cluster_bytes, extent.end());
            }
        }
    }

    /// Returns how many bits of a group's bitmap count.
    pub(crate) fn cluster_count(&self, number: u64) -> u64 {
        let blocks = self.superblock.group_block_count(number);
        blocks.div_ceil(u64::from(self.superblock.cluster_blocks))
    }

    /// Returns the ranges of clusters of a group that its own fixed metadata takes, counted from
    /// the group's first: what an implied bitmap has set (`ext4_num_overhead_clusters`).
    fn overhead_clusters(&self, number: u64) -> Vec<(u64, u64)> {
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
        let mut done = 0;
        clusters.retain_mut(|(start, stop)| {
            *start = done.max(*start);
            done = done.max(*stop);
            start < stop
        });
        clusters
    }
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

/// Appends the first `count` bits, each `cluster_bytes` long, up to `end`: the last cluster may
/// reach past the filesystem's end, and what lies there is not the bitmap's to judge.
pub(crate) fn push_bits(
    builder: &mut MapBuilder,
    bitmap: &[u8],
    count: u64,
    cluster_bytes: u64,
    end: u64,
) {
    let mut push = |clusters: u64, bit: bool| {
        let state = if bit { State::Used } else { State::Free };
        let stop = builder.end().saturating_add(clusters * cluster_bytes);
        builder.push_to(stop.min(end), state);
    };
    let mut left = count;
    for &byte in bitmap {
        let bits = left.min(8);
        // Whole bytes of one state are the rule.
        if bits == 8 && (byte == 0 || byte == 0xFF) {
            push(8, byte != 0);
        } else {
            (0..bits).for_each(|bit| push(1, byte >> bit & 1 == 1));
        }
        left -= bits;
    }
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

    #[test]
    fn a_cluster_cut_by_the_end_says_nothing_of_what_lies_behind() {
        let mut builder = MapBuilder::new(100);
        push_bits(&mut builder, &[0b01], 2, 16, 20);
        let map = builder.finish(State::Used);
        let runs: Vec<(u64, State)> = map.runs().map(|r| (r.extent.end(), r.state)).collect();
        assert_eq!(
            runs,
            [(16, State::Used), (20, State::Free), (100, State::Used)]
        );
    }
}
