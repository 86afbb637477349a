//! Signatures of what a medium held before: where they would show through what is free.
//!
//! A restore doesn't write free bytes. Where a known signature lies in them, `blkid`, `wipefs`, udev
//! and `mdadm` still find the older content there: a swap area that looks like btrfs too has no UUID
//! any more, an ext4 with a RAID superblock behind it is not mounted. So the places of signatures
//! are [`State::Zero`] unless they are used.
//!
//! Sources: the probes in util-linux's `libblkid/src/superblocks` and `libblkid/src/partitions`;
//! "Superblock" in the btrfs documentation; md(4) and the kernel's drivers/md/md.c.

use cardkeep_block::{AllocationMap, Extent, Run, State};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Both ends of a medium hold nearly all signatures. At the beginning: all filesystems, LVM, LUKS,
/// RAID 1.1 and 1.2, partition tables, two ZFS labels. At the end: RAID 0.90 (up to 128 KiB before
/// it) and 1.0, DDF and the vendors' RAIDs, DRBD, the backup of a GPT, two ZFS labels (512 KiB,
/// from a multiple of 256 KiB on).
const EDGE_BYTES: u64 = MIB;
/// What lies further inside: start and length in bytes. VMFS at 1 and 2 MiB, the second LUKS2 header
/// at up to 4 MiB, the copies of the superblock of btrfs at 64 MiB and 256 GiB.
const INSIDE: [(u64, u64); 5] = [
    (MIB, 4 * KIB),
    (2 * MIB, 4 * KIB),
    (4 * MIB, 4 * KIB),
    (64 * MIB, 4 * KIB),
    (256 * GIB, 4 * KIB),
];
/// How far before the end the furthest signature lies: Promise's RAID, 3087 sectors.
const PROMISE_BYTES: u64 = 3087 * 512;

/// Returns `map`, of a medium of `len` bytes with these partitions, with the places of known
/// signatures zero where they are free: those of each partition, and of the whole medium. What is
/// used stays used, and bytes behind the map's end stay out of it.
#[must_use]
pub fn clear_stale_signatures(
    map: &AllocationMap,
    partitions: &[Extent],
    len: u64,
) -> AllocationMap {
    let whole = Extent::between(0, len);
    let zeros = stale_places(partitions, whole, Extent::between(0, map.len()));
    map.raised(&zeros)
}

/// Returns the places of signatures in `partitions` and on the `whole` medium that overlap `window`.
pub(crate) fn stale_places(partitions: &[Extent], whole: Extent, window: Extent) -> Vec<Run> {
    let media = partitions.iter().chain(std::iter::once(&whole));
    let places = media.flat_map(|&medium| places_of(medium));
    let near = places.filter(|place| place.overlaps(window));
    near.map(|place| Run::new(place, State::Zero)).collect()
}

/// Returns the places of signatures of one medium or partition, cut at its ends.
fn places_of(medium: Extent) -> impl Iterator<Item = Extent> {
    let (start, end) = (medium.start(), medium.end());
    let ahead = |offset: u64, len: u64| {
        let from = start.saturating_add(offset);
        Extent::between(from, from.saturating_add(len))
    };
    // Whole units of 4 KiB, for media with sectors of that size.
    let promise = end.saturating_sub(PROMISE_BYTES) / (4 * KIB) * (4 * KIB);
    let ends = [
        ahead(0, EDGE_BYTES),
        Extent::between(promise, promise.saturating_add(4 * KIB)),
        Extent::between(end.saturating_sub(EDGE_BYTES), end),
    ];
    let inside = INSIDE.map(|(offset, len)| ahead(offset, len));
    let all = ends.into_iter().chain(inside);
    all.map(move |place| place.intersection(medium))
        .filter(|place| !place.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{EDGE_BYTES, KIB, MIB, clear_stale_signatures};
    use cardkeep_block::{AllocationMap, Extent, Run, State};

    #[test]
    fn signatures_places_are_zero_unless_used_in_partitions_and_on_the_medium() {
        let len = 300 * MIB;
        let partition = Extent::between(100 * MIB, 200 * MIB);
        let used = Run::new(Extent::between(100 * MIB, 100 * MIB + 4 * KIB), State::Used);
        let map = AllocationMap::all(len, State::Free).raised(&[used]);
        let cleared = clear_stale_signatures(&map, &[partition], len);
        assert_eq!(cleared.bytes(State::Used), 4 * KIB);
        let is_zero = |offset: u64| cleared.run_at(offset).unwrap().state == State::Zero;
        // btrfs and its copy, LUKS2, RAID 1.0 and 0.90, in the partition.
        for offset in [64 * KIB, 64 * MIB, 4 * MIB] {
            assert!(is_zero(partition.start() + offset), "{offset}");
        }
        for back in [8 * KIB, 128 * KIB, 768 * KIB, 3087 * 512] {
            assert!(is_zero(partition.end() - back), "{back}");
            assert!(is_zero(len - back), "{back}");
        }
        assert!(is_zero(0) && is_zero(64 * MIB));
        assert!(!is_zero(50 * MIB) && !is_zero(partition.end()));
        // What it costs is bounded, whatever the size.
        assert!(cleared.bytes(State::Zero) <= 2 * (2 * EDGE_BYTES + 24 * KIB));
    }

    #[test]
    fn a_partition_of_a_sector_at_the_end_is_cut_to_itself() {
        let map = AllocationMap::all(8 * MIB, State::Free);
        let tiny = Extent::between(5 * MIB, 5 * MIB + 512);
        let cleared = clear_stale_signatures(&map, &[tiny], 16 * MIB);
        assert_eq!(cleared.len(), 8 * MIB);
        assert_eq!(cleared.run_at(5 * MIB).unwrap().extent, tiny);
        assert_eq!(cleared.run_at(8 * MIB - 1).unwrap().state, State::Free);
    }
}
