//! What is kept of a medium that passes by once: the bytes that somebody asked for beforehand.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt};

/// What may be kept in all. Bitmaps of 96 GB in blocks of 4 KiB take an eighth of it, the FATs of a
/// card of 64 GB two thirds.
const KEPT_BYTES_MAX: u64 = 24 << 20;
/// Longer pieces would waste memory while they grow.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The bytes that were wanted and have passed, seen as a medium whose other bytes can't be read.
#[derive(Debug)]
pub(crate) struct Kept {
    len: u64,
    passed: u64,
    /// Start and end, disjoint; none ends before what has passed.
    wanted: BTreeMap<u64, u64>,
    /// Start and bytes, disjoint.
    pieces: BTreeMap<u64, Vec<u8>>,
    bytes_left: u64,
    /// What was last asked for in vain.
    missed: Mutex<Option<Extent>>,
}

impl Kept {
    /// Returns the view of a medium of `len` bytes of which nothing has passed.
    pub(crate) fn new(len: u64) -> Self {
        Self {
            len,
            passed: 0,
            wanted: BTreeMap::new(),
            pieces: BTreeMap::new(),
            bytes_left: KEPT_BYTES_MAX,
            missed: Mutex::default(),
        }
    }

    /// Returns the offset up to which the medium has passed.
    pub(crate) const fn passed(&self) -> u64 {
        self.passed
    }

    /// Asks to keep `extent`. Tells whether that is possible: what has passed must have been kept,
    /// the rest must lie on the medium and fit memory.
    pub(crate) fn want(&mut self, extent: Extent) -> bool {
        let passed = Extent::between(extent.start(), extent.end().min(self.passed));
        let coming = Extent::between(extent.start().max(self.passed), extent.end());
        if extent.end() > self.len
            || coming.len() > self.bytes_left
            || !passed.is_empty() && self.missing(passed).is_some()
        {
            return false;
        }
        if !coming.is_empty() {
            self.bytes_left -= coming.len();
            self.add_wanted(coming);
        }
        true
    }

    /// Takes `bytes` of memory for something else than kept bytes. Tells whether that is possible.
    pub(crate) const fn charge(&mut self, bytes: u64) -> bool {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                true
            }
            None => false,
        }
    }

    /// Joins `extent` with the wanted extents that it touches.
    fn add_wanted(&mut self, extent: Extent) {
        let (mut start, mut end) = (extent.start(), extent.end());
        while let Some((&before, &stop)) = self.wanted.range(..=end).next_back()
            && stop >= start
        {
            self.wanted.remove(&before);
            start = start.min(before);
            end = end.max(stop);
        }
        self.wanted.insert(start, end);
    }

    /// Takes the next bytes of the medium and keeps what is wanted of them.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let here = Extent::between(self.passed, self.passed.saturating_add(bytes.len() as u64));
        while let Some((&start, &end)) = self.wanted.first_key_value()
            && start < here.end()
        {
            let part = Extent::between(start, end).intersection(here);
            let offset = (part.start() - here.start()) as usize;
            self.keep(part.start(), &bytes[offset..offset + part.len() as usize]);
            self.wanted.remove(&start);
            if end > here.end() {
                self.wanted.insert(here.end(), end);
            }
        }
        self.passed = here.end();
    }

    fn keep(&mut self, mut start: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let last = self.pieces.last_key_value();
            let continued = last.and_then(|(&at, piece)| {
                let room = PIECE_BYTES_MAX.checked_sub(piece.len())?;
                (at + piece.len() as u64 == start && room > 0).then_some((at, room))
            });
            let (at, room) = continued.unwrap_or((start, PIECE_BYTES_MAX));
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pieces.entry(at).or_default().extend_from_slice(now);
            start += now.len() as u64;
            bytes = later;
        }
    }

    /// Returns the first bytes of `extent` that were not kept.
    fn missing(&self, extent: Extent) -> Option<Extent> {
        let mut position = extent.start();
        while position < extent.end() {
            match self.piece_at(position) {
                Some((start, piece)) => position = start + piece.len() as u64,
                None => return Some(Extent::between(position, extent.end())),
            }
        }
        None
    }

    fn piece_at(&self, offset: u64) -> Option<(u64, &[u8])> {
        let (&start, piece) = self.pieces.range(..=offset).next_back()?;
        (offset < start + piece.len() as u64).then_some((start, piece))
    }

    /// Returns what a read asked for in vain since this was last called.
    pub(crate) fn take_missed(&self) -> Option<Extent> {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.take()
    }
}

impl ReadAt for Kept {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        if self.missing(extent).is_some() {
            let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
            *missed = Some(extent);
            let error = BlockError::new(BlockErrorKind::ShortRead, Operation::Read);
            return Err(error.at(extent));
        }
        let mut done = 0;
        while done < buffer.len() {
            let position = offset + done as u64;
            let Some((start, piece)) = self.piece_at(position) else {
                break;
            };
            let within = (position - start) as usize;
            let size = (piece.len() - within).min(buffer.len() - done);
            buffer[done..done + size].copy_from_slice(&piece[within..within + size]);
            done += size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES_MAX, Kept, PIECE_BYTES_MAX};
    use cardkeep_block::{Extent, ReadAt};

    fn byte(offset: u64) -> u8 {
        (offset % 251) as u8
    }

    fn see(kept: &mut Kept, end: u64, step: usize) {
        let bytes: Vec<u8> = (kept.passed()..end).map(byte).collect();
        bytes.chunks(step).for_each(|chunk| kept.see(chunk));
    }

    #[test]
    fn just_what_was_wanted_can_be_read_however_it_came() {
        for step in [1, 7, 4096, 1 << 20] {
            let mut kept = Kept::new(300_000);
            assert!(kept.want(Extent::between(10, 20)));
            assert!(kept.want(Extent::between(15, 40)));
            assert!(kept.want(Extent::between(100_000, 280_000)));
            see(&mut kept, 300_000, step);
            let expected: Vec<u8> = (10..40).map(byte).collect();
            assert_eq!(kept.read_vec(10, 30).unwrap(), expected);
            let expected: Vec<u8> = (100_000..280_000).map(byte).collect();
            assert_eq!(kept.read_vec(100_000, 180_000).unwrap(), expected);
            assert!(kept.pieces.values().all(|p| p.len() <= PIECE_BYTES_MAX));
            assert_eq!(kept.take_missed(), None);
            assert!(kept.read_vec(39, 2).is_err());
            assert_eq!(kept.take_missed(), Some(Extent::between(39, 41)));
            assert!(kept.read_vec(9, 2).is_err());
        }
    }

    #[test]
    fn what_has_passed_unkept_does_not_fit_or_lies_outside_cannot_be_wanted() {
        let mut kept = Kept::new(u64::MAX >> 2);
        assert!(kept.want(Extent::between(0, 10)));
        see(&mut kept, 20, 20);
        assert!(kept.want(Extent::between(5, 10)));
        assert!(!kept.want(Extent::between(5, 11)));
        assert!(!kept.want(Extent::between(19, 30)));
        assert!(kept.want(Extent::between(20, 30)));
        assert!(!kept.want(Extent::between(0, u64::MAX)));
        assert!(!kept.want(Extent::between(100, 100 + KEPT_BYTES_MAX)));
        assert!(kept.charge(KEPT_BYTES_MAX - 20));
        assert!(!kept.charge(1));
    }
}
