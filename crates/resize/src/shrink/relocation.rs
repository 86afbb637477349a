//! Where moved blocks go, and how room is found for them.
//!
//! ```text
//!   old   ....####..|..AAAA...BB....C..      | is the cut
//!   new   .BB.####AA|AAC                     (best fit, the longest pieces first)
//! ```
//!
//! Longest first, each into the smallest gap that holds it. What lies next to each other stays so
//! as long as a gap holds it all, so that a card is read in long stretches; then it is parted
//! between extents, and only an extent that is longer than all gaps is split. So few files get
//! more extents than they had, although hardly a block stays unused in the end.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::bits::Bits;
use super::tally::Piece;

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

    /// Returns the length of the longest gap.
    fn longest(&self) -> u64 {
        self.by_len.last().map_or(0, |&(len, _)| len)
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
    let mut pieces = clipped(pieces, cut, &mut placement.split);
    let mut chunks = chunks(&pieces);
    let mut missing = 0;
    while let Some(chunk) = chunks.pop() {
        let Chunk { count, first, end } = chunk;
        let piece = pieces[first.0];
        if let Some(new) = gaps.take(count) {
            let old = piece.block;
            placement.runs.push(Run { old, new, count });
            continue;
        }
        let longest = gaps.longest();
        if let Some((one, two)) = chunk.parted(&pieces, longest) {
            chunks.extend([one, two]);
            continue;
        }
        let Some(new) = gaps.take(longest).filter(|_| longest > 0) else {
            missing += count;
            continue;
        };
        // A single piece that is longer than all gaps.
        if piece.number != 0 {
            placement.split.insert(piece.number);
        }
        placement.runs.push(Run {
            old: piece.block,
            new,
            count: longest,
        });
        pieces[first.0].block += longest;
        pieces[first.0].count -= longest as u32;
        let count = count - longest;
        chunks.push(Chunk { count, first, end });
    }
    if missing > 0 {
        return Err(missing);
    }
    Ok(placement)
}

/// Returns the parts of `pieces` at `cut` and above, by place. Extents that reach across it are
/// split.
fn clipped(pieces: &[Piece], cut: u64, split: &mut BTreeSet<u32>) -> Vec<Piece> {
    let mut clipped: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = piece.block + u64::from(piece.count);
        if end <= cut {
            continue;
        }
        if piece.block < cut && piece.number != 0 {
            split.insert(piece.number);
        }
        let block = piece.block.max(cut);
        let count = (end - block) as u32;
        clipped.push(Piece {
            block,
            count,
            ..*piece
        });
    }
    clipped.sort_unstable_by_key(|piece| piece.block);
    clipped
}

/// Pieces that lie next to each other, by their place in the list. The longest comes first, then
/// the one that lies lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Chunk {
    count: u64,
    first: Reverse<usize>,
    end: usize,
}

impl Chunk {
    /// Parts it between two pieces: the first part fits `longest` blocks, or is one piece. `None`
    /// where it is a single piece.
    fn parted(self, pieces: &[Piece], longest: u64) -> Option<(Self, Self)> {
        let mut middle = self.first.0 + 1;
        if middle >= self.end {
            return None;
        }
        let mut count = u64::from(pieces[self.first.0].count);
        while middle + 1 < self.end && count + u64::from(pieces[middle].count) <= longest {
            count += u64::from(pieces[middle].count);
            middle += 1;
        }
        let one = Self {
            count,
            end: middle,
            ..self
        };
        let two = Self {
            count: self.count - count,
            first: Reverse(middle),
            end: self.end,
        };
        Some((one, two))
    }
}

/// Returns the chunks of `pieces`, which are ordered by place.
fn chunks(pieces: &[Piece]) -> BinaryHeap<Chunk> {
    let mut chunks = BinaryHeap::new();
    let mut first = 0;
    let mut count = 0;
    for (index, piece) in pieces.iter().enumerate() {
        count += u64::from(piece.count);
        let next = piece.block + u64::from(piece.count);
        let end = index + 1;
        if pieces.get(end).is_none_or(|other| other.block != next) {
            let first = Reverse(std::mem::replace(&mut first, end));
            let count = std::mem::take(&mut count);
            chunks.push(Chunk { count, first, end });
        }
    }
    chunks
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
    use crate::shrink::tally::Piece;
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
        assert_eq!(moves.new_place(30), Some((11, 2)));
        assert_eq!(moves.new_place(50), Some((14, 6)));
        assert_eq!(moves.new_place(52), Some((16, 4)));
        assert_eq!(moves.new_place(20), None);
        assert_eq!(moves.old_place(1), (61, 2));
        assert_eq!(moves.old_place(3), (56, 1));
    }
}
