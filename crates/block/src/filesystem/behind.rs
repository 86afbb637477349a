//! What lies behind a filesystem that does not fill its partition.
//!
//! Appliances put more there. OpenWrt's root partition holds a squashfs, and from the next multiple
//! of 64 KiB on the overlay that everything the user changed lies in (fstools,
//! `libfstools/rootdisk.c`); systems with dm-verity append a tree of hashes. Nothing in the
//! filesystem says so. So what lies behind it is used, unless it was read and is zero; and what is
//! zero has to be zero after a restore, too, since a first boot looks there for an overlay.

use crate::map::{AllocationMap, MapBuilder, State};
use crate::medium::ReadAt;
use crate::monitor::Monitor;

/// What is read at most in order to prove zeros: what follows is used, and copied anyway.
const PROOF_BYTES_MAX: u64 = 16 << 20;
const READ_BYTES: u64 = 256 << 10;
/// Zeros are told in units of the largest sectors.
const UNIT_BYTES: usize = 4096;

/// Returns the map of a medium whose first `len` bytes a filesystem claims.
pub(super) fn map(medium: &dyn ReadAt, len: u64, monitor: &dyn Monitor) -> AllocationMap {
    let medium_len = medium.len();
    if medium_len > AllocationMap::LEN_MAX || len > medium_len {
        return AllocationMap::all(medium_len.min(AllocationMap::LEN_MAX), State::Used);
    }
    let mut builder = MapBuilder::new(medium_len);
    builder.push_to(len, State::Used);
    builder.push_to(zeros_end(medium, len, monitor), State::Zero);
    builder.finish(State::Used)
}

/// Returns where the zeros end that begin at `start`. What can't be read is no zero.
fn zeros_end(medium: &dyn ReadAt, start: u64, monitor: &dyn Monitor) -> u64 {
    let limit = start.saturating_add(PROOF_BYTES_MAX).min(medium.len());
    let mut end = start;
    while end < limit && !monitor.is_cancelled() {
        let count = READ_BYTES.min(limit - end) as usize;
        let Ok(bytes) = medium.read_vec(end, count) else {
            break;
        };
        let mut units = bytes.chunks(UNIT_BYTES);
        match units.position(|unit| unit.iter().any(|&byte| byte != 0)) {
            Some(index) => return end + (index * UNIT_BYTES) as u64,
            None => end += count as u64,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::{PROOF_BYTES_MAX, map};
    use crate::{AllocationMap, Extent, Lossy, MemoryMedium, ReadAt, Silent, State, WriteAt};

    const MIB: u64 = 1 << 20;

    fn states(map: &AllocationMap) -> Vec<(u64, State)> {
        let runs = map.runs();
        runs.map(|run| (run.extent.end(), run.state)).collect()
    }

    #[test]
    fn what_lies_behind_is_used_from_its_first_byte_that_is_not_zero() {
        let medium = MemoryMedium::new(4 * MIB);
        let whole = [(MIB, State::Used), (4 * MIB, State::Zero)];
        assert_eq!(states(&map(&medium, MIB, &Silent)), whole);
        // An overlay 64 KiB further, whose superblock has 1024 zeros in front of it.
        medium.write_at(MIB + 65536 + 1024, b"overlay").unwrap();
        let end = MIB + 65536;
        let expected = [
            (MIB, State::Used),
            (end, State::Zero),
            (4 * MIB, State::Used),
        ];
        assert_eq!(states(&map(&medium, MIB, &Silent)), expected);
        medium.write_at(MIB, b"x").unwrap();
        assert_eq!(
            states(&map(&medium, MIB, &Silent)),
            [(4 * MIB, State::Used)]
        );
    }

    #[test]
    fn nothing_is_proven_by_what_cannot_be_read_or_is_not_looked_at() {
        let medium = MemoryMedium::new(2 * MIB);
        let lost = Lossy::new(&medium, vec![Extent::between(MIB + 512, MIB + 1024)]);
        assert!(lost.read_vec(MIB, 4096).is_err());
        assert_eq!(states(&map(&lost, MIB, &Silent)), [(2 * MIB, State::Used)]);
        let long = MemoryMedium::new(PROOF_BYTES_MAX + 4 * MIB);
        let (proven, end) = (MIB + PROOF_BYTES_MAX, PROOF_BYTES_MAX + 4 * MIB);
        let expected = [
            (MIB, State::Used),
            (proven, State::Zero),
            (end, State::Used),
        ];
        assert_eq!(states(&map(&long, MIB, &Silent)), expected);
    }

    #[test]
    fn a_filesystem_that_is_longer_than_its_medium_uses_all_of_it() {
        let medium = MemoryMedium::new(MIB);
        for len in [MIB, MIB + 1, u64::MAX] {
            assert_eq!(states(&map(&medium, len, &Silent)), [(MIB, State::Used)]);
        }
    }
}
