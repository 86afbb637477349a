//! Inodes of groups above the cut get the lowest free numbers below it, in their order.

use cardkeep_ext4::BlockOwner;

use super::bits::Bits;

/// Old and new numbers. Both ascend.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pairs: Vec<(u32, u32)>,
}

impl Numbers {
    /// Gives new numbers below `end` to all inodes from `end` on. Reserved inodes, below `first`,
    /// are not given away. `None` where there are not enough.
    pub(crate) fn assign(inodes: &Bits, first: u32, end: u32) -> Option<Self> {
        let mut pairs = Vec::new();
        let mut free = u64::from(first);
        for (start, stop) in inodes.ranges(u64::from(end), inodes.end(), true) {
            for old in start..stop {
                free = inodes.next(free, false);
                if free >= u64::from(end) {
                    return None;
                }
                pairs.push((old as u32, free as u32));
                free += 1;
            }
        }
        Some(Self { pairs })
    }

    /// Returns how many inodes get new numbers.
    pub(crate) const fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Returns the pairs of old and new numbers.
    pub(crate) fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// Returns the new number of an inode.
    pub(crate) fn new_of(&self, old: u32) -> u32 {
        let found = self.pairs.binary_search_by_key(&old, |pair| pair.0);
        found.map_or(old, |index| self.pairs[index].1)
    }

    /// Returns the old number of an inode.
    pub(crate) fn old_of(&self, new: u32) -> u32 {
        let found = self.pairs.binary_search_by_key(&new, |pair| pair.1);
        found.map_or(new, |index| self.pairs[index].0)
    }
}

/// Returns the owner by its new number.
pub(crate) fn renumbered(owner: BlockOwner, numbers: &Numbers) -> BlockOwner {
    BlockOwner {
        number: numbers.new_of(owner.number),
        ..owner
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use crate::shrink::bits::Bits;

    #[test]
    fn the_lowest_free_numbers_are_given_in_order() {
        let mut inodes = Bits::new(1, 41);
        inodes.insert_range(1, 12);
        for number in [14, 25, 30, 40] {
            inodes.insert(number);
        }
        let numbers = Numbers::assign(&inodes, 11, 25).unwrap();
        assert_eq!(numbers.pairs(), [(25, 13), (30, 15), (40, 16)]);
        assert_eq!((numbers.new_of(30), numbers.old_of(15)), (15, 30));
        assert_eq!((numbers.new_of(14), numbers.old_of(14)), (14, 14));
        assert!(Numbers::assign(&inodes, 11, 15).is_none());
    }
}
