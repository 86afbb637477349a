//! A medium that ends before what is on it does: a copy that broke off, a card that was copied to a
//! smaller one, or an image that was cut where only free space followed.
//!
//! ```text
//!   | table | partition 1 | partition 2 ...........!............. |
//!                           filesystem ............!...... end      its table entry's end
//!                                                  ^ the medium ends here
//!                                                   '------' used bytes of this are missing
//! ```

use std::fmt;

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, Operation, ReadAt, State, size_text,
};

use crate::drivers;
use crate::signature::iso_len;

/// What a medium lacks at its end. Positions are on the medium, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the medium ends.
    pub medium_end: u64,
    /// The partition that reaches furthest; 0 for a filesystem without a partition table.
    pub number: u32,
    /// Where that partition ends, as the table or the filesystem says.
    pub partition_end: u64,
    /// Where the last filesystem, or what can't be told, ends: how long a medium must be to hold it.
    pub content_end: u64,
    /// How many bytes are missing that are used, or not proven free.
    pub missing_bytes: u64,
}

impl Cut {
    /// Returns what nothing is missing of yet, on a medium of `medium_end` bytes.
    pub(crate) const fn of(medium_end: u64) -> Self {
        Self {
            medium_end,
            number: 0,
            partition_end: 0,
            content_end: 0,
            missing_bytes: 0,
        }
    }

    /// Adds a partition that lies at `extent`, whose content ends `content_len` bytes from its
    /// beginning; `used` says how many of its bytes in an extent of its own are used.
    pub(crate) fn add(
        &mut self,
        (number, extent): (u32, Extent),
        content_len: u64,
        used: impl Fn(Extent) -> u64,
    ) {
        let start = extent.start();
        let content_len = content_len.min(extent.len());
        let there = self.medium_end.saturating_sub(start).min(content_len);
        if there < content_len {
            let missing = used(Extent::between(there, content_len));
            self.missing_bytes = self.missing_bytes.saturating_add(missing);
        }
        self.content_end = self.content_end.max(start.saturating_add(content_len));
        if extent.end() > self.partition_end {
            self.partition_end = extent.end();
            self.number = number;
        }
    }

    /// Returns it, where the medium ends before its partitions.
    pub(crate) fn found(self) -> Option<Self> {
        (self.partition_end > self.medium_end).then_some(self)
    }

    /// Tells whether all that is used is there.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        self.missing_bytes == 0
    }
}

impl fmt::Display for Cut {
    /// Writes what follows the name of the medium: `ends 74.0 MB before its partition 2 does; ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = size_text(self.partition_end.saturating_sub(self.medium_end));
        match self.number {
            0 => write!(f, "ends {short} before its filesystem does; ")?,
            number => write!(f, "ends {short} before its partition {number} does; ")?,
        }
        match self.missing_bytes {
            0 => f.write_str("no used bytes are missing"),
            bytes => write!(f, "{bytes} used bytes are missing"),
        }
    }
}

/// A medium with room behind its end in which nothing can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extended<M> {
    inner: M,
    len: u64,
}

impl<M: ReadAt> Extended<M> {
    /// Returns `inner`, as long as `len` bytes.
    pub(crate) fn new(inner: M, len: u64) -> Self {
        let len = len.max(inner.len()).min(AllocationMap::LEN_MAX);
        Self { inner, len }
    }
}

impl<M: ReadAt> ReadAt for Extended<M> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        if extent.end() > self.inner.len() {
            return Err(BlockError::new(BlockErrorKind::OutOfBounds, Operation::Read).at(extent));
        }
        self.inner.read_at(offset, buffer)
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

/// Returns how long the filesystem from the medium's first byte on says that it is, where it is of
/// a kind that does.
pub(crate) fn whole_len(medium: &dyn ReadAt) -> Option<u64> {
    let open = Extended::new(medium, AllocationMap::LEN_MAX);
    match drivers::at_beginning(medium) {
        Some(driver) => driver.whole_len(&open),
        None => iso_len(medium),
    }
}

/// Returns how many bytes of `extent` a map calls used.
pub(crate) fn used_in(map: &AllocationMap, extent: Extent) -> u64 {
    let used = map.runs_in(extent).filter(|run| run.state == State::Used);
    used.map(|run| run.extent.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Cut, Extended};
    use cardkeep_block::{Extent, MemoryMedium, ReadAt};

    #[test]
    fn used_bytes_behind_the_end_are_missing_and_free_ones_are_not() {
        let cut = |content_len, used: u64| {
            let mut cut = Cut::of(1000);
            cut.add((1, Extent::between(0, 900)), 900, |_| 7);
            cut.add((2, Extent::between(900, 2000)), content_len, |extent| {
                extent.len().min(used)
            });
            cut.found().unwrap()
        };
        assert_eq!(cut(1100, 30).missing_bytes, 30);
        assert_eq!(cut(1100, 30).content_end, 2000);
        assert_eq!(cut(1100, 0).missing_bytes, 0);
        // The filesystem ends with the medium, or before it.
        assert_eq!(cut(100, 30).missing_bytes, 0);
        assert_eq!(cut(50, 30).content_end, 950);
        let shown = cut(1100, 30).to_string();
        assert!(
            shown.contains("before its partition 2 does; 30 used"),
            "{shown}"
        );
        let mut whole = Cut::of(1000);
        whole.add((1, Extent::between(0, 1000)), 1000, |_| 7);
        assert_eq!(whole.found(), None);
    }

    #[test]
    fn behind_the_end_nothing_can_be_read() {
        let medium = Extended::new(MemoryMedium::new(100), 200);
        assert_eq!(medium.len(), 200);
        assert!(medium.read_vec(0, 100).is_ok());
        assert!(medium.read_vec(50, 51).is_err());
        assert!(medium.read_vec(150, 10).is_err());
    }
}
