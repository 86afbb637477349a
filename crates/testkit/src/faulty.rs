//! A medium that fails in declared ways and remembers what was asked of it.
//!
//! ```text
//!   bytes of the inner medium ──▶ faults, in the order they were declared ──▶ the reader
//!                                   │
//!                                   └─▶ log: every request, served or not
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt};

/// One way in which a medium fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Every request that touches these bytes fails with [`BlockErrorKind::Io`].
    Unreadable(Extent),
    /// The first `failures` requests that touch these bytes fail, later ones are served.
    Flaky {
        /// Where.
        extent: Extent,
        /// How many requests fail.
        failures: u32,
    },
    /// The medium claims its length but has no bytes from this offset on:
    /// [`BlockErrorKind::ShortRead`].
    EndsAt(u64),
    /// Once this many bytes have been served, nothing is any more: [`BlockErrorKind::Gone`].
    GoneAfter(u64),
    /// Every request that touches these bytes takes this much longer.
    Slow {
        /// Where.
        extent: Extent,
        /// By how much.
        delay: Duration,
    },
    /// The byte at `offset` reads with the bits of `mask` flipped.
    BitFlip {
        /// Which byte.
        offset: u64,
        /// Which bits.
        mask: u8,
    },
}

/// One request as it reached the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was asked for.
    pub extent: Extent,
    /// Whether offset, length and buffer address were multiples of the medium's alignment.
    pub is_aligned: bool,
    /// Whether it was served.
    pub is_served: bool,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request>,
    bytes_served: u64,
    failures: Vec<u32>,
}

/// A medium that serves the bytes of another one, except where a fault says otherwise.
#[derive(Debug)]
pub struct FaultyMedium<M> {
    inner: M,
    alignment: usize,
    faults: Vec<Fault>,
    log: Mutex<Log>,
}

impl<M: ReadAt> FaultyMedium<M> {
    /// Returns the medium without faults yet.
    #[must_use]
    pub fn new(inner: M) -> Self {
        let alignment = inner.alignment();
        Self {
            inner,
            alignment,
            faults: Vec::new(),
            log: Mutex::default(),
        }
    }

    /// Adds a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self.lock().failures.push(0);
        self
    }

    /// Claims an alignment in bytes other than the inner medium's, such as a device's 512.
    #[must_use]
    pub fn aligned_to(mut self, alignment: usize) -> Self {
        self.alignment = alignment.max(1);
        self
    }

    /// Returns all requests so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Returns how many bytes were served so far.
    #[must_use]
    pub fn bytes_served(&self) -> u64 {
        self.lock().bytes_served
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error by which the faults answer a request, after the delays they cause.
    fn refusal(&self, extent: Extent) -> Option<BlockErrorKind> {
        for (index, &fault) in self.faults.iter().enumerate() {
            match fault {
                Fault::Unreadable(bad) if bad.overlaps(extent) => return Some(BlockErrorKind::Io),
                Fault::Flaky {
                    extent: bad,
                    failures,
                } if bad.overlaps(extent) => {
                    let count = &mut self.lock().failures[index];
                    if *count < failures {
                        *count += 1;
                        return Some(BlockErrorKind::Io);
                    }
                }
                Fault::EndsAt(end) if extent.end() > end => {
                    return Some(BlockErrorKind::ShortRead);
                }
                Fault::GoneAfter(bytes) if self.lock().bytes_served >= bytes => {
                    return Some(BlockErrorKind::Gone);
                }
                Fault::Slow {
                    extent: slow,
                    delay,
                } if slow.overlaps(extent) => std::thread::sleep(delay),
                _ => {}
            }
        }
        None
    }

    fn flip_bits(&self, extent: Extent, buffer: &mut [u8]) {
        for fault in &self.faults {
            if let Fault::BitFlip { offset, mask } = *fault
                && extent.contains(offset)
                && let Ok(index) = usize::try_from(offset - extent.start())
            {
                buffer[index] ^= mask;
            }
        }
    }
}

impl<M: ReadAt> ReadAt for FaultyMedium<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let places = [offset, extent.len(), buffer.as_ptr() as u64];
        let is_aligned = places
            .iter()
            .all(|place| place % self.alignment as u64 == 0);
        let result = match self.refusal(extent) {
            Some(kind) => Err(BlockError::new(kind, Operation::Read).at(extent)),
            None => self.inner.read_at(offset, buffer),
        };
        let mut log = self.lock();
        log.requests.push(Request {
            extent,
            is_aligned,
            is_served: result.is_ok(),
        });
        result?;
        log.bytes_served += extent.len();
        drop(log);
        self.flip_bits(extent, buffer);
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.alignment
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultyMedium};
    use cardkeep_block::{AlignedBuffer, BlockErrorKind, Extent, MemoryMedium, ReadAt};

    fn kind(medium: &impl ReadAt, offset: u64, len: usize) -> Option<BlockErrorKind> {
        medium.read_vec(offset, len).err().map(|error| error.kind())
    }

    #[test]
    fn only_requests_that_touch_a_bad_sector_fail() {
        let bad = Extent::between(512, 1024);
        let medium = FaultyMedium::new(MemoryMedium::new(2048)).with(Fault::Unreadable(bad));
        assert_eq!(kind(&medium, 0, 512), None);
        assert_eq!(kind(&medium, 0, 513), Some(BlockErrorKind::Io));
        assert_eq!(kind(&medium, 1023, 1), Some(BlockErrorKind::Io));
        assert_eq!(kind(&medium, 1024, 1024), None);
        let served: Vec<bool> = medium.requests().iter().map(|r| r.is_served).collect();
        assert_eq!(served, [true, false, false, true]);
        assert_eq!(medium.bytes_served(), 1536);
    }

    #[test]
    fn a_flaky_sector_recovers() {
        let extent = Extent::between(0, 512);
        let fault = Fault::Flaky {
            extent,
            failures: 2,
        };
        let medium = FaultyMedium::new(MemoryMedium::new(2048)).with(fault);
        assert_eq!(kind(&medium, 1024, 512), None);
        assert_eq!(kind(&medium, 0, 512), Some(BlockErrorKind::Io));
        assert_eq!(kind(&medium, 0, 512), Some(BlockErrorKind::Io));
        assert_eq!(kind(&medium, 0, 512), None);
    }

    #[test]
    fn a_removed_medium_stays_removed() {
        let medium = FaultyMedium::new(MemoryMedium::new(4096)).with(Fault::GoneAfter(1000));
        assert_eq!(kind(&medium, 0, 512), None);
        assert_eq!(kind(&medium, 512, 512), None);
        assert_eq!(kind(&medium, 0, 1), Some(BlockErrorKind::Gone));
        assert_eq!(kind(&medium, 0, 1), Some(BlockErrorKind::Gone));
    }

    #[test]
    fn a_lying_medium_ends_before_its_length() {
        let medium = FaultyMedium::new(MemoryMedium::new(4096)).with(Fault::EndsAt(1024));
        assert_eq!(kind(&medium, 512, 512), None);
        assert_eq!(kind(&medium, 1000, 25), Some(BlockErrorKind::ShortRead));
        assert_eq!(kind(&medium, 4000, 97), Some(BlockErrorKind::OutOfBounds));
    }

    #[test]
    fn a_flipped_bit_is_seen_wherever_the_request_starts() {
        let flip = Fault::BitFlip {
            offset: 7,
            mask: 0x10,
        };
        let medium = FaultyMedium::new(MemoryMedium::from_bytes(&[1; 16])).with(flip);
        assert_eq!(medium.read_vec(5, 4).unwrap(), [1, 1, 0x11, 1]);
        assert_eq!(medium.read_vec(8, 2).unwrap(), [1, 1]);
    }

    #[test]
    fn alignment_is_judged_by_offset_length_and_address() {
        let medium = FaultyMedium::new(MemoryMedium::new(4096)).aligned_to(512);
        let mut buffer = AlignedBuffer::new(2048);
        medium.read_at(512, &mut buffer[..1024]).unwrap();
        medium.read_at(512, &mut buffer[..100]).unwrap();
        medium.read_at(100, &mut buffer[..512]).unwrap();
        medium.read_at(512, &mut buffer[1..513]).unwrap();
        let aligned: Vec<bool> = medium.requests().iter().map(|r| r.is_aligned).collect();
        assert_eq!(aligned, [true, false, false, false]);
    }
}
