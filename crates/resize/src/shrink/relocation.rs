//! Where moved blocks go, and how room is found for them.
//!
//! ```text
//!   old   ....####..|..AAAA...BB....C..      | is the cut
//!   new   .BB.####AA|AAC                     (best fit, the longest pieces first)
//! ```
//!
//! Longest first, each into the smallest gap that holds it: what no gap holds fills the largest
//! ones, and is split. So few files get more extents than they had, although hardly a block stays
//! unused in the end.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bits::Bits;
use super::census::Piece;

/// Gaps that are looked at, the others stay free: bounds memory to some 50 MB.
const GAPS_MAX: usize = 1 << 20;

/// Blocks that are moved together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) count: u64,
}

/// Free blocks below the cut, by the length of the gaps.
#[derive(Debug)]
pub(crate) struct Gaps {
    by_len: BTreeSet<(u64, u64)>,
}

impl Gaps {
    /// Returns the gaps of `used`.
    pub(crate) fn new(used: &Bits) -> Self {
        let mut by_len = BTreeSet::new();
        for (start, end) in used.ranges(0, used.end(), false) {
            by_len.insert((end - start, start));
            if by_len.len() > GAPS_MAX {
                by_len.pop_first();
            }
        }
        Self { by_len }
    }

    /// Takes `count` blocks that lie next to each other.
    pub(crate) fn take(&mut self, count: u64) -> Option<u64> {
        let &(len, start) = self.by_len.range((count, 0)..).next()?;
        self.by_len.remove(&(len, start));
        if len > count {
            self.by_len.insert((len - count, start + count));
        }
        Some(start)
    }

    /// Takes the longest gap, but no more than `count` blocks.
    fn take_longest(&mut self, count: u64) -> Option<(u64, u64)> {
        let &(len, _) = self.by_len.last()?;
        let count = count.min(len);
        self.take(count).map(|start| (start, count))
    }
}

/// Where everything goes.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    pub(crate) runs: Vec<Run>,
    /// Inodes whose extents were split.
    pub(crate) split: BTreeSet<u32>,
}

/// Finds room for what of `pieces` lies at `cut` or above. Fails with the number of blocks that
/// are missing.
pub(crate) fn place(pieces: &[Piece], cut: u64, gaps: &mut Gaps) -> Result<Placement, u64> {
    let mut placement = Placement::default();
    let mut clipped: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = piece.block + u64::from(piece.count);
        if end <= cut {
            continue;
        }
        if piece.block < cut && piece.number != 0 {
            placement.split.insert(piece.number);
        }
        let block = piece.block.max(cut);
        let count = (end - block) as u32;
        clipped.push(Piece {
            block,
            count,
            ..*piece
        });
    }
    clipped.sort_unstable_by_key(|piece| (Reverse(piece.count), piece.block));
    let mut missing = 0;
    for piece in clipped {
        let mut old = piece.block;
        let mut left = u64::from(piece.count);
        while left > 0 {
            let taken = gaps.take(left).map(|new| (new, left));
            let Some((new, count)) = taken.or_else(|| gaps.take_longest(left)) else {
                missing += left;
                break;
            };
            if count < left && piece.number != 0 {
                placement.split.insert(piece.number);
            }
            placement.runs.push(Run { old, new, count });
            old += count;
            left -= count;
        }
    }
    if missing > 0 {
        return Err(missing);
    }
    Ok(placement)
}

/// All moves, in both orders.
#[derive(Debug, Default)]
pub(crate) struct Relocations {
    cut: u64,
    by_old: Vec<Run>,
    by_new: Vec<Run>,
}

impl Relocations {
    /// Returns the moves `runs` of blocks at `cut` and above.
    pub(crate) fn new(cut: u64, mut runs: Vec<Run>) -> Self {
        runs.sort_unstable_by_key(|run| run.old);
        let mut by_old: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs {
            match by_old.last_mut() {
                Some(last)
                    if last.old + last.count == run.old && last.new + last.count == run.new =>
                {
                    last.count += run.count;
                }
                _ => by_old.push(run),
            }
        }
        let mut by_new = by_old.clone();
        by_new.sort_unstable_by_key(|run| run.new);
        Self {
            cut,
            by_old,
            by_new,
        }
    }

    /// Returns the number of blocks that are moved.
    pub(crate) fn block_count(&self) -> u64 {
        self.by_old.iter().map(|run| run.count).sum()
    }

    /// Returns where block `old` is now, and how many that follow it are still next to it.
    /// `None` where it is nowhere: it was not in use.
    pub(crate) fn new_place(&self, old: u64) -> Option<(u64, u64)> {
        if old < self.cut {
            return Some((old, self.cut - old));
        }
        let index = self.by_old.partition_point(|run| run.old <= old);
        let run = self.by_old.get(index.checked_sub(1)?)?;
        let within = old - run.old;
        (within < run.count).then(|| (run.new + within, run.count - within))
    }

    /// Returns where the content of block `new` lies, and how many blocks that follow it are
    /// still next to it. What was not moved is where it was.
    pub(crate) fn old_place(&self, new: u64) -> (u64, u64) {
        let index = self.by_new.partition_point(|run| run.new <= new);
        if let Some(run) = index
            .checked_sub(1)
            .and_then(|index| self.by_new.get(index))
            && new - run.new < run.count
        {
            let within = new - run.new;
            return (run.old + within, run.count - within);
        }
        let next = self.by_new.get(index).map_or(u64::MAX, |run| run.new);
        (new, next - new)
    }

    /// Returns all moves, by where the blocks were.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.by_old
    }
}

#[cfg(test)]
mod tests {
    use super::{Gaps, Relocations, place};
    use crate::shrink::bits::Bits;
    use crate::shrink::census::Piece;
    use proptest::prelude::{prop, proptest};

    proptest! {
        /// Every block above the cut gets a block of its own below it, as long as there are some.
        #[test]
        fn all_blocks_find_room_or_are_missed(used in prop::collection::btree_set(0u64..100, 0..90), lens in prop::collection::vec(1u32..20, 0..8)) {
            let mut bits = Bits::new(0, 100);
            used.iter().for_each(|&block| { bits.insert(block); });
            let mut pieces = Vec::new();
            let mut start = 95;
            for (count, number) in lens.iter().zip(1..) {
                pieces.push(Piece { block: start, count: *count, number });
                start += u64::from(count + number % 2);
            }
            let above: Vec<u64> = pieces.iter().flat_map(|p| p.block..p.block + u64::from(p.count)).filter(|&b| b >= 100).collect();
            let free = 100 - used.len();
            match place(&pieces, 100, &mut Gaps::new(&bits)) {
                Err(missing) => assert_eq!(missing as usize, above.len() - free),
                Ok(placement) => {
                    let moves = Relocations::new(100, placement.runs);
                    assert_eq!(moves.block_count() as usize, above.len());
                    for old in above {
                        let (new, _) = moves.new_place(old).unwrap();
                        assert!(bits.insert(new), "{new} is taken");
                        assert_eq!(moves.old_place(new).0, old);
                    }
                    assert_eq!(moves.new_place(99), Some((99, 1)));
                }
            }
        }
    }

    #[test]
    fn the_best_gap_is_taken_and_long_pieces_are_split() {
        let mut bits = Bits::new(0, 20);
        for block in [4, 10, 13] {
            bits.insert(block);
        }
        let piece = |block, count, number| Piece {
            block,
            count,
            number,
        };
        let mut gaps = Gaps::new(&bits);
        let placement = place(
            &[piece(30, 2, 1), piece(50, 7, 2), piece(60, 3, 3)],
            20,
            &mut gaps,
        );
        let placement = placement.unwrap();
        assert_eq!(placement.split.into_iter().collect::<Vec<u32>>(), [2]);
        let moves = Relocations::new(20, placement.runs);
        assert_eq!(moves.new_place(30), Some((5, 2)));
        assert_eq!(moves.new_place(50), Some((14, 6)));
        assert_eq!(moves.new_place(52), Some((16, 4)));
        assert_eq!(moves.new_place(20), None);
        assert_eq!(moves.old_place(1), (61, 2));
        assert_eq!(moves.old_place(3), (3, 2));
    }
}
