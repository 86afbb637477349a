//! The view of a medium in which one place shows a filesystem of another size.

use std::sync::Arc;

use cardkeep_block::{BlockError, Extent, Patches, ReadAt};
use cardkeep_ptable::Shift;

/// A medium with another filesystem in one place, another partition table, and another end; what lies
/// behind the filesystem's partition may have moved.
pub struct ResizedMedium {
    inner: Arc<dyn ReadAt>,
    /// Where the filesystem lies.
    place: Extent,
    fs: Box<dyn ReadAt>,
    /// How what lies behind has moved.
    shift: Shift,
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
            shift: Shift::default(),
            patches,
            len,
        }
    }

    /// Returns the view with what lies behind the filesystem's partition moved by `shift`. What is
    /// neither the filesystem nor moved reads as zeros from the filesystem's end on.
    pub(crate) fn with_shift(self, shift: Shift) -> Self {
        Self { shift, ..self }
    }

    /// Reads what lies behind the filesystem.
    fn read_behind(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        if self.shift == Shift::default() {
            return self.inner.read_at(offset, buffer);
        }
        let start = self.shift.place(self.shift.from).unwrap_or(u64::MAX);
        let place = Extent::between(offset, offset.saturating_add(buffer.len() as u64));
        let end = self.shift.place(self.inner.len()).unwrap_or(u64::MAX);
        let part = place.intersection(Extent::between(start, end));
        buffer.fill(0);
        if part.is_empty() {
            return Ok(());
        }
        // OK to cast: both lie within a buffer in memory.
        let from = (part.start() - offset) as usize;
        let bytes = &mut buffer[from..from + part.len() as usize];
        self.inner
            .read_at(part.start() - start + self.shift.from, bytes)
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
        for place in [before, self.place, behind] {
            let part = place.intersection(whole);
            if part.is_empty() {
                continue;
            }
            // OK to cast: both lie within a buffer in memory.
            let from = (part.start() - offset) as usize;
            let bytes = &mut buffer[from..from + part.len() as usize];
            if place == before {
                self.inner.read_at(part.start(), bytes)?;
            } else if place == behind {
                self.read_behind(part.start(), bytes)?;
            } else {
                self.fs.read_at(part.start() - self.place.start(), bytes)?;
            }
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
    use std::sync::Arc;

    use cardkeep_block::{MemoryMedium, Patch, Patches, ReadAt};
    use cardkeep_ptable::Shift;

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

    #[test]
    fn what_lies_behind_shows_where_it_moved_to() {
        let bytes: Vec<u8> = (0..20).collect();
        for (by, len, expected) in [
            (
                -3,
                15,
                vec![0, 1, 2, 3, 4, 90, 91, 10, 11, 12, 13, 14, 15, 16, 17],
            ),
            (
                2,
                16,
                vec![0, 1, 2, 3, 4, 90, 91, 0, 0, 0, 0, 0, 10, 11, 12, 13],
            ),
            (6, 27, {
                let moved = (10..20).chain([0]);
                let zeros = std::iter::repeat_n(0, 9);
                (0..5).chain([90, 91]).chain(zeros).chain(moved).collect()
            }),
        ] {
            let inner = Arc::new(MemoryMedium::from_bytes(&bytes));
            let fs = Box::new(MemoryMedium::from_bytes(&[90, 91]));
            let view = ResizedMedium::new(inner, (5, fs), Patches::default(), len);
            let view = view.with_shift(Shift { from: 10, by });
            for start in 0..len {
                for part in 0..=len - start {
                    let (start, part) = (start as usize, part as usize);
                    let read = view.read_vec(start as u64, part).unwrap();
                    assert_eq!(read, expected[start..start + part], "{by}: {start} {part}");
                }
            }
        }
    }
}
