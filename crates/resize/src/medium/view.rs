//! The view of a medium in which one place shows a filesystem of another size.

use cardkeep_block::{BlockError, Extent, Patches, ReadAt};
use std::sync::Arc;

/// A medium with another filesystem in one place, another partition table, and another end.
pub struct ResizedMedium {
    inner: Arc<dyn ReadAt>,
    /// Where the filesystem lies.
    place: Extent,
    fs: Box<dyn ReadAt>,
    patches: Patches,
    len: u64,
}

impl ResizedMedium {
    /// Returns the view of the first `len` bytes of `inner`, with `fs` at `start`. Patches win.
    pub(crate) fn new(
        inner: Arc<dyn ReadAt>,
        (start, fs): (u64, Box<dyn ReadAt>),
        patches: Patches,
        len: u64,
    ) -> Self {
        let place = Extent::between(start, start.saturating_add(fs.len()));
        Self {
            inner,
            place,
            fs,
            patches,
            len,
        }
    }
}

impl ReadAt for ResizedMedium {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let whole = self.bounded(offset, buffer.len())?;
        let before = Extent::between(0, self.place.start());
        let behind = Extent::between(self.place.end(), u64::MAX);
        let parts: [(Extent, &dyn ReadAt, u64); 3] = [
            (before, &self.inner, 0),
            (self.place, &self.fs, self.place.start()),
            (behind, &self.inner, 0),
        ];
        for (place, medium, origin) in parts {
            let part = place.intersection(whole);
            if part.is_empty() {
                continue;
            }
            // OK to cast: both lie within a buffer in memory.
            let from = (part.start() - offset) as usize;
            let bytes = &mut buffer[from..from + part.len() as usize];
            medium.read_at(part.start() - origin, bytes)?;
        }
        self.patches.apply(offset, buffer);
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

/// In numbers: what it is made of is as large as a filesystem's metadata.
impl std::fmt::Debug for ResizedMedium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResizedMedium")
            .field("len", &self.len)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::ResizedMedium;
    use cardkeep_block::{MemoryMedium, Patch, Patches, ReadAt};
    use std::sync::Arc;

    #[test]
    fn each_part_comes_from_its_place_whatever_the_cut() {
        let inner = Arc::new(MemoryMedium::from_bytes(&[1; 20]));
        let fs = Box::new(MemoryMedium::from_bytes(&[2, 3, 4, 5]));
        let patches = Patches::new(vec![Patch::new(7, vec![9, 9]), Patch::new(14, vec![8])]);
        let view = ResizedMedium::new(inner, (5, fs), patches, 15);
        let expected = [1, 1, 1, 1, 1, 2, 3, 9, 9, 1, 1, 1, 1, 1, 8];
        for start in 0..15 {
            for len in 0..=15 - start {
                let bytes = view.read_vec(start as u64, len).unwrap();
                assert_eq!(bytes, expected[start..start + len]);
            }
        }
        assert!(view.read_vec(14, 2).is_err());
    }
}
