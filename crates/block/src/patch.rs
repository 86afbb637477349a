//! Bytes that take the place of others: how a view changes what it shows without copying it.

use crate::Extent;

/// Bytes that belong at a place of a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where the first byte belongs.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Patch {
    /// Returns a patch.
    #[must_use]
    pub const fn new(offset: u64, bytes: Vec<u8>) -> Self {
        Self { offset, bytes }
    }

    /// Returns the place that it covers.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let end = self.offset.saturating_add(self.bytes.len() as u64);
        Extent::between(self.offset, end)
    }
}

/// Patches of one medium. Where two cover the same byte, the one that was added later wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patches {
    list: Vec<Patch>,
    /// The list by address.
    by_start: Vec<Place>,
}

/// Where a patch of the list lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    extent: Extent,
    index: usize,
    /// Where the furthest of all patches up to this one ends.
    reach: u64,
}

impl Patches {
    /// Returns the patches of `list`.
    #[must_use]
    pub fn new(list: Vec<Patch>) -> Self {
        let place = |(index, patch): (usize, &Patch)| Place {
            extent: patch.extent(),
            index,
            reach: 0,
        };
        let mut by_start: Vec<Place> = list.iter().enumerate().map(place).collect();
        by_start.sort_by_key(|place| place.extent.start());
        let mut reach = 0;
        for place in &mut by_start {
            reach = reach.max(place.extent.end());
            place.reach = reach;
        }
        Self { list, by_start }
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns them in the order of adding.
    pub fn iter(&self) -> impl Iterator<Item = &Patch> {
        self.list.iter()
    }

    /// Returns the places that are patched, in the order of adding.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.list.iter().map(Patch::extent)
    }

    /// Tells whether any byte of `extent` is patched.
    #[must_use]
    pub fn touch(&self, extent: Extent) -> bool {
        self.near(extent).any(|place| place.extent.overlaps(extent))
    }

    /// Returns the patches that may overlap `extent`, by address.
    fn near(&self, extent: Extent) -> impl Iterator<Item = &Place> {
        let first = (self.by_start).partition_point(|place| place.reach <= extent.start());
        let near = self.by_start[first..].iter();
        near.take_while(move |place| place.extent.start() < extent.end())
    }

    /// Lays the patches over `content`, which was read at `offset`.
    pub fn apply(&self, offset: u64, content: &mut [u8]) {
        let whole = Extent::between(offset, offset.saturating_add(content.len() as u64));
        let mut indexes: Vec<usize> = self.near(whole).map(|place| place.index).collect();
        indexes.sort_unstable();
        for patch in indexes.into_iter().map(|index| &self.list[index]) {
            let part = patch.extent().intersection(whole);
            if part.is_empty() {
                continue;
            }
            // OK to cast: all are offsets within bytes in memory.
            let from = (part.start() - patch.offset) as usize;
            let to = (part.start() - offset) as usize;
            let len = part.len() as usize;
            content[to..to + len].copy_from_slice(&patch.bytes[from..from + len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Patch, Patches};
    use crate::Extent;

    #[test]
    fn patches_cover_just_their_bytes_and_the_last_one_wins() {
        let patches = Patches::new(vec![
            Patch::new(2, vec![1; 4]),
            Patch::new(4, vec![2; 4]),
            Patch::new(100, vec![3]),
        ]);
        let mut content = [0; 8];
        patches.apply(3, &mut content);
        assert_eq!(content, [1, 2, 2, 2, 2, 0, 0, 0]);
        patches.apply(u64::MAX - 1, &mut content);
        assert!(patches.touch(Extent::between(7, 9)));
        assert!(!patches.touch(Extent::between(8, 100)));
    }

    #[test]
    fn a_long_patch_is_found_behind_short_ones_that_begin_later() {
        let patches = Patches::new(vec![
            Patch::new(50, vec![5; 2]),
            Patch::new(0, vec![1; 100]),
            Patch::new(10, vec![2]),
            Patch::new(60, vec![6]),
        ]);
        let mut content = [0; 100];
        patches.apply(0, &mut content);
        let mut expected = [1; 100];
        expected[10] = 2;
        expected[60] = 6;
        assert_eq!(content, expected);
        for start in 0..100 {
            let mut part = [0; 3];
            patches.apply(start, &mut part);
            let mut wanted = [0; 103];
            wanted[..100].copy_from_slice(&expected);
            let from = start as usize;
            assert_eq!(part, wanted[from..from + 3], "{start}");
            assert!(patches.touch(Extent::between(start, start + 1)));
        }
        assert!(!patches.touch(Extent::between(100, 200)));
    }
}
