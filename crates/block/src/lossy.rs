//! A copy of a medium of which some bytes are known to be lost.

use crate::{BlockError, BlockErrorKind, Extent, Operation, ReadAt};

/// The view of a copy in which reading lost bytes fails, as it did on the medium itself: a search
/// for names in it must not take the zeros in their place for content.
#[derive(Clone, Debug)]
pub struct Lossy<M> {
    inner: M,
    /// In address order.
    lost: Vec<Extent>,
}

impl<M: ReadAt> Lossy<M> {
    /// Returns the view of `inner` without `lost`, which may come in any order.
    #[must_use]
    pub fn new(inner: M, mut lost: Vec<Extent>) -> Self {
        lost.sort_unstable();
        Self { inner, lost }
    }
}

impl<M: ReadAt> ReadAt for Lossy<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let behind = self
            .lost
            .partition_point(|lost| lost.start() < extent.end());
        // Lost extents don't overlap: the last one that begins before the end reaches furthest.
        let touched = self.lost[..behind].last();
        if touched.is_some_and(|lost| lost.overlaps(extent)) {
            return Err(BlockError::new(BlockErrorKind::Io, Operation::Read).at(extent));
        }
        self.inner.read_at(offset, buffer)
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

#[cfg(test)]
mod tests {
    use super::Lossy;
    use crate::{Extent, MemoryMedium, ReadAt};

    #[test]
    fn only_requests_that_touch_what_is_lost_fail() {
        let lost = vec![Extent::between(20, 24), Extent::between(4, 8)];
        let medium = Lossy::new(MemoryMedium::from_bytes(&[1; 32]), lost.clone());
        for offset in 0..32 {
            for len in 0..(32 - offset) {
                let extent = Extent::new(offset, len).unwrap();
                let is_lost = lost.iter().any(|lost| lost.overlaps(extent));
                let read = medium.read_vec(offset, len as usize);
                assert_eq!(read.is_err(), is_lost, "{extent}");
            }
        }
    }
}
