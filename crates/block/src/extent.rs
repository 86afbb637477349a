//! Half-open byte ranges on one medium.

/// A half-open byte range: `start .. start + len`, in bytes. Never reaches past `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Extent {
    start: u64,
    len: u64,
}

impl Extent {
    /// Returns the extent of `len` bytes at `start`, or `None` where its end does not fit `u64`.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(_) => Some(Self { start, len }),
            None => None,
        }
    }

    /// Returns the extent `start .. end`; empty at `start` where `end` lies before it.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Self {
        Self {
            start,
            len: end.saturating_sub(start),
        }
    }

    /// Returns the first byte's offset.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Returns the offset behind the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start + self.len
    }

    /// Tells whether the extent holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Tells whether `offset` lies inside.
    #[must_use]
    pub const fn contains(self, offset: u64) -> bool {
        self.start <= offset && offset < self.end()
    }

    /// Tells whether all of `other` lies inside.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Tells whether the two share a byte.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        !self.intersection(other).is_empty()
    }

    /// Returns the bytes that both hold; empty where they share none.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self::between(self.start.max(other.start), self.end().min(other.end()))
    }

    /// Returns the same range seen `by` bytes further on, or `None` past `u64::MAX`.
    #[must_use]
    pub const fn shifted(self, by: u64) -> Option<Self> {
        match self.start.checked_add(by) {
            Some(start) => Self::new(start, self.len),
            None => None,
        }
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes {}..{}", self.start, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::Extent;

    #[test]
    fn an_end_past_u64_is_refused() {
        assert_eq!(Extent::new(u64::MAX, 1), None);
        assert!(Extent::new(u64::MAX, 0).is_some());
    }

    #[test]
    fn intersection_of_neighbours_is_empty() {
        let a = Extent::between(0, 10);
        let b = Extent::between(10, 20);
        assert!(!a.overlaps(b));
        assert_eq!(
            a.intersection(Extent::between(5, 15)),
            Extent::between(5, 10)
        );
    }
}
