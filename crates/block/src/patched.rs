//! A medium with patches laid over it, seen as a medium.

use crate::{BlockError, Patches, ReadAt};

/// The view of the first `len` bytes of a medium with patches laid over it. Behind the medium's end
/// it reads as zeros.
#[derive(Debug)]
pub struct Patched<M> {
    inner: M,
    patches: Patches,
    len: u64,
}

impl<M: ReadAt> Patched<M> {
    /// Returns the view; `len` may be more or less than the medium has.
    #[must_use]
    pub const fn new(inner: M, patches: Patches, len: u64) -> Self {
        Self {
            inner,
            patches,
            len,
        }
    }
}

impl<M: ReadAt> ReadAt for Patched<M> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        // OK to cast: at most the length of a buffer in memory.
        let there = self
            .inner
            .len()
            .saturating_sub(offset)
            .min(buffer.len() as u64) as usize;
        let (own, behind) = buffer.split_at_mut(there);
        if !own.is_empty() {
            self.inner.read_at(offset, own)?;
        }
        behind.fill(0);
        self.patches.apply(offset, buffer);
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

#[cfg(test)]
mod tests {
    use super::Patched;
    use crate::{MemoryMedium, Patch, Patches, ReadAt};

    #[test]
    fn patches_and_zeros_show_whatever_the_cut() {
        let inner = MemoryMedium::from_bytes(&[1; 6]);
        let patches = Patches::new(vec![Patch::new(2, vec![7, 7]), Patch::new(8, vec![9])]);
        let view = Patched::new(&inner, patches.clone(), 10);
        let expected = [1, 1, 7, 7, 1, 1, 0, 0, 9, 0];
        for start in 0..=10 {
            for len in 0..=10 - start {
                let bytes = view.read_vec(start as u64, len).unwrap();
                assert_eq!(bytes, expected[start..start + len]);
            }
        }
        let shorter = Patched::new(&inner, patches, 3);
        assert_eq!(shorter.read_vec(0, 3).unwrap(), [1, 1, 7]);
        assert!(shorter.read_vec(0, 4).is_err());
    }
}
