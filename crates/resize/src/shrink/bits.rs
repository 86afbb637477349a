//! Sets of block or inode numbers, laid out as the filesystem's own bitmaps are.
//!
//! ```text
//!   number   first  first+1  ...  first+7 | first+8 ...
//!   bit      0      1             7       | 0       ...     of byte 0, byte 1, ...
//! ```

/// A set of the numbers from `first` up to `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    first: u64,
    end: u64,
    bytes: Vec<u8>,
}

impl Bits {
    /// Returns the empty set of the numbers `first..end`. One bit each: the caller bounds them.
    pub(crate) fn new(first: u64, end: u64) -> Self {
        let count = end.saturating_sub(first);
        Self {
            first,
            end: first.saturating_add(count),
            bytes: vec![0; count.div_ceil(8) as usize],
        }
    }

    /// Returns the number behind the last possible one.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    fn place(&self, number: u64) -> Option<(usize, u8)> {
        let index = number.checked_sub(self.first)?;
        (number < self.end).then_some(((index / 8) as usize, 1 << (index % 8)))
    }

    /// Tells whether `number` is in the set.
    pub(crate) fn get(&self, number: u64) -> bool {
        self.place(number)
            .is_some_and(|(byte, mask)| self.bytes[byte] & mask != 0)
    }

    /// Adds `number`, and tells whether it was not there before. What can't be in the set is told
    /// as if it were there already.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let Some((byte, mask)) = self.place(number) else {
            return false;
        };
        let is_new = self.bytes[byte] & mask == 0;
        self.bytes[byte] |= mask;
        is_new
    }

    /// Adds `count` numbers from `start` on, and tells whether none was there before.
    pub(crate) fn insert_range(&mut self, start: u64, count: u64) -> bool {
        let before = self.count(start, count);
        for number in start..start.saturating_add(count).min(self.end) {
            self.insert(number);
        }
        before == 0 && start >= self.first && count <= self.end.saturating_sub(start)
    }

    /// Takes `number` out.
    pub(crate) fn remove(&mut self, number: u64) {
        if let Some((byte, mask)) = self.place(number) {
            self.bytes[byte] &= !mask;
        }
    }

    /// Returns how many of the `count` numbers from `start` on are in the set.
    pub(crate) fn count(&self, start: u64, count: u64) -> u64 {
        let end = start.saturating_add(count).min(self.end);
        let mut number = start.max(self.first);
        let mut found = 0;
        while number < end {
            match self.place(number) {
                Some((byte, 1)) if end - number >= 8 => {
                    found += u64::from(self.bytes[byte].count_ones());
                    number += 8;
                }
                _ => {
                    found += u64::from(self.get(number));
                    number += 1;
                }
            }
        }
        found
    }

    /// Returns the first number from `from` on that is in the set (or that is not, by `wanted`),
    /// or the end.
    pub(crate) fn next(&self, from: u64, wanted: bool) -> u64 {
        let dull = if wanted { 0 } else { 0xFF };
        let mut number = from.max(self.first);
        while let Some((byte, mask)) = self.place(number) {
            if mask == 1 && self.bytes[byte] == dull {
                number += 8;
            } else if (self.bytes[byte] & mask != 0) == wanted {
                return number;
            } else {
                number += 1;
            }
        }
        self.end
    }

    /// Returns the ranges within `from..end` of numbers that are in the set (or not), as start and
    /// end.
    pub(crate) fn ranges(
        &self,
        from: u64,
        end: u64,
        wanted: bool,
    ) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut position = from;
        let end = end.min(self.end);
        std::iter::from_fn(move || {
            let start = self.next(position, wanted);
            if start >= end {
                return None;
            }
            position = self.next(start, !wanted).min(end);
            Some((start, position))
        })
    }

    /// Returns the bits of the numbers among `count` from `start` on that begin `step` of them, as
    /// a bitmap of `bytes` bytes; what is behind them, and behind the set's end, is set, as ext's
    /// bitmaps want it.
    pub(crate) fn bitmap(&self, start: u64, count: u64, step: u64, bytes: usize) -> Vec<u8> {
        let mut bitmap = vec![0xFF; bytes];
        let end = start.saturating_add(count).min(self.end);
        for (number, index) in (start..end).step_by(step as usize).zip(0usize..) {
            if !self.get(number)
                && let Some(byte) = bitmap.get_mut(index / 8)
            {
                *byte &= !(1 << (index % 8));
            }
        }
        bitmap
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;
    use proptest::prelude::{any, prop, proptest};
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_follows_the_model(first in 0u64..20, numbers in prop::collection::vec(0u64..120, 0..90), from in 0u64..130, wanted in any::<bool>()) {
            let mut bits = Bits::new(first, 100);
            let mut model = BTreeSet::new();
            for number in numbers {
                let fits = (first..100).contains(&number);
                assert_eq!(bits.insert(number), fits && model.insert(number));
            }
            let expected = (from.max(first)..100).find(|n| model.contains(n) == wanted);
            assert_eq!(bits.next(from, wanted), expected.unwrap_or(100));
            assert_eq!(bits.count(from, 30), model.range(from..from + 30).count() as u64);
            let listed: Vec<u64> = bits.ranges(0, 100, wanted).flat_map(|(a, b)| a..b).collect();
            let wanted: Vec<u64> = (first..100).filter(|n| model.contains(n) == wanted).collect();
            assert_eq!(listed, wanted);
        }
    }

    #[test]
    fn a_bitmap_is_padded_with_ones() {
        let mut bits = Bits::new(1, 12);
        bits.insert_range(1, 2);
        bits.insert(11);
        assert_eq!(bits.bitmap(1, 8, 1, 2), [0b0000_0011, 0xFF]);
        assert_eq!(bits.bitmap(9, 8, 1, 1), [0b1111_1100]);
        bits.remove(1);
        assert_eq!(bits.bitmap(1, 8, 1, 1), [0b0000_0010]);
    }

    #[test]
    fn a_cluster_is_one_bit() {
        let mut bits = Bits::new(0, 24);
        bits.insert_range(4, 8);
        assert_eq!(bits.bitmap(0, 24, 4, 2), [0b1100_0110, 0xFF]);
    }
}
