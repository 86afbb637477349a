//! A part of a medium seen as a medium: a partition, a journal.

use crate::{BlockError, Extent, ReadAt};

/// The view of one extent of a medium.
#[derive(Clone, Copy, Debug)]
pub struct Slice<M> {
    inner: M,
    extent: Extent,
}

impl<M: ReadAt> Slice<M> {
    /// Returns the view of `extent`, cut at the medium's end.
    #[must_use]
    pub fn new(inner: M, extent: Extent) -> Self {
        let extent = extent.intersection(Extent::between(0, inner.len()));
        Self { inner, extent }
    }

    /// Returns the extent of the medium below that is seen.
    #[must_use]
    pub const fn extent(&self) -> Extent {
        self.extent
    }
}

impl<M: ReadAt> ReadAt for Slice<M> {
    fn len(&self) -> u64 {
        self.extent.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        self.inner.read_at(self.extent.start() + offset, buffer)
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

#[cfg(test)]
mod tests {
    use super::Slice;
    use crate::{Extent, MemoryMedium, ReadAt};

    #[test]
    fn a_slice_reads_its_part_and_no_further() {
        let medium = MemoryMedium::from_bytes(&[1, 2, 3, 4, 5]);
        let slice = Slice::new(&medium, Extent::between(1, 4));
        assert_eq!(slice.read_vec(0, 3).unwrap(), [2, 3, 4]);
        assert!(slice.read_vec(1, 3).is_err());
        assert_eq!(Slice::new(&medium, Extent::between(3, 100)).len(), 2);
    }
}
