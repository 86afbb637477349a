//! A medium that fails in declared ways and remembers what was asked of it.
//!
//! ```text
//!   reader  ◀── faults, in the order they were declared ◀── bytes of the inner medium
//!   writer  ──▶ faults, in the order they were declared ──▶ bytes of the inner medium
//!                 │                                           │
//!                 └─▶ log: every request, served or not       └─▶ what survives a cut
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt, ReadWriteAt, WriteAt};

use crate::fault::{Fault, RequestKind};
use crate::gate::{self, Gate};
use crate::treatment::{Faults, Treatment};
use crate::volatile::Volatile;

/// In how large steps zeros are written, in bytes.
const ZEROS_BYTES: usize = 1 << 20;

/// One request as it reached the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was to be done.
    pub kind: RequestKind,
    /// Where.
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
    bytes_written: u64,
}

/// A medium that holds the bytes of another one, except where a fault says otherwise.
///
/// Faults may be declared and lifted while it is in use. After a cut or a removal,
/// [`FaultyMedium::inner`] is what a card reader would find.
#[derive(Debug)]
pub struct FaultyMedium<M> {
    inner: M,
    alignment: usize,
    faults: Mutex<Faults>,
    log: Mutex<Log>,
    volatile: Mutex<Volatile>,
    gate: Mutex<Option<Arc<gate::Shared>>>,
}

impl<M: ReadAt> FaultyMedium<M> {
    /// Returns the medium without faults yet.
    #[must_use]
    pub fn new(inner: M) -> Self {
        let alignment = inner.alignment();
        Self {
            inner,
            alignment,
            faults: Mutex::default(),
            log: Mutex::default(),
            volatile: Mutex::default(),
            gate: Mutex::default(),
        }
    }

    /// Adds a fault.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        self.declare(fault);
        self
    }

    /// Adds a fault to a medium in use.
    pub fn declare(&self, fault: Fault) {
        lock(&self.faults).declare(fault);
    }

    /// Lifts all faults: a removed card is back, with what it holds.
    pub fn heal(&self) {
        lock(&self.faults).clear();
        lock(&self.volatile).restart();
    }

    /// Holds all requests after the next so many, until the gate is opened or dropped.
    pub fn hold_after(&self, requests: u64) -> Gate {
        let (gate, shared) = Gate::after(requests);
        *lock(&self.gate) = Some(shared);
        gate
    }

    /// Claims an alignment in bytes other than the inner medium's, such as a device's 512.
    #[must_use]
    pub fn aligned_to(mut self, alignment: usize) -> Self {
        self.alignment = alignment.max(1);
        self
    }

    /// Returns the medium below, which has no faults.
    #[must_use]
    pub const fn inner(&self) -> &M {
        &self.inner
    }

    /// Returns the medium below for good.
    #[must_use]
    pub fn into_inner(self) -> M {
        self.inner
    }

    /// Returns all requests so far, in the order in which they were answered. Requests past the
    /// medium's end are not among them.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).requests.clone()
    }

    /// Returns the requests that were to change bytes, as [`FaultyMedium::requests`] does.
    #[must_use]
    pub fn writes(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.kind.is_write());
        requests
    }

    /// Returns how many bytes were read so far.
    #[must_use]
    pub fn bytes_served(&self) -> u64 {
        lock(&self.log).bytes_served
    }

    /// Returns how many bytes were written so far, as the writer believes.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        lock(&self.log).bytes_written
    }

    /// Asks the faults about a request, and takes the time that they and a gate cost.
    fn treat(&self, kind: RequestKind, extent: Extent) -> Treatment {
        let gate = lock(&self.gate).clone();
        if let Some(gate) = gate {
            gate.pass();
        }
        let treatment = lock(&self.faults).treat(kind, extent);
        std::thread::sleep(treatment.delay);
        treatment
    }

    /// Notes a request with its answer. `address` is that of its buffer, 0 where it has none.
    fn note(&self, treatment: &Treatment, address: usize, is_served: bool) {
        let Treatment { kind, extent, .. } = *treatment;
        let places = [extent.start(), extent.len(), address as u64];
        let is_aligned = places
            .iter()
            .all(|place| place % self.alignment as u64 == 0);
        let mut log = lock(&self.log);
        log.requests.push(Request {
            kind,
            extent,
            is_aligned,
            is_served,
        });
        let bytes = match kind {
            RequestKind::Read => &mut log.bytes_served,
            _ => &mut log.bytes_written,
        };
        if is_served {
            *bytes += extent.len();
        }
    }

    /// Reads through the faults.
    fn load(&self, treatment: &Treatment, buffer: &mut [u8]) -> Result<(), BlockError> {
        if let Some(kind) = treatment.refusal {
            return Err(BlockError::new(kind, Operation::Read).at(treatment.extent));
        }
        for piece in treatment.pieces(treatment.extent) {
            let part = &mut buffer[piece.range];
            match piece.address {
                Some(address) => self.inner.read_at(address, part)?,
                None => part.fill(0),
            }
        }
        treatment.flip(treatment.extent.start(), buffer);
        Ok(())
    }
}

impl<M: ReadWriteAt> FaultyMedium<M> {
    /// Writes through the faults what `parts` say: bytes and where they belong.
    fn store<'a>(
        &self,
        treatment: &Treatment,
        mut parts: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<(), BlockError> {
        let mut volatile = lock(&self.volatile);
        let result = match treatment.refusal {
            Some(kind) => Err(BlockError::new(kind, Operation::Write)),
            None => volatile.begin().and_then(|()| {
                parts.try_for_each(|(offset, bytes)| {
                    self.store_part(treatment, &mut volatile, offset, bytes)
                })
            }),
        };
        let cut = treatment.cut.map(|cut| volatile.cut(&self.inner, cut));
        result
            .and(cut.unwrap_or(Ok(())))
            .map_err(|error| error.at(treatment.extent))
    }

    fn store_part(
        &self,
        treatment: &Treatment,
        volatile: &mut Volatile,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BlockError> {
        let bytes = treatment.flipped(offset, bytes);
        let extent = Extent::between(offset, offset.saturating_add(bytes.len() as u64));
        for piece in treatment.pieces(extent) {
            let Some(address) = piece.address else {
                continue;
            };
            let part = &bytes[piece.range];
            if treatment.is_volatile {
                volatile.record(&self.inner, address, part)?;
            }
            if treatment.leaves_zeros() {
                let end = address.saturating_add(part.len() as u64);
                self.inner.write_zeros(Extent::between(address, end))?;
            } else {
                self.inner.write_at(address, part)?;
            }
        }
        Ok(())
    }

    fn checked(&self, extent: Option<Extent>) -> Result<Extent, BlockError> {
        let error = BlockError::new(BlockErrorKind::OutOfBounds, Operation::Write);
        match extent {
            Some(extent) if extent.end() <= self.inner.len() => Ok(extent),
            Some(extent) => Err(error.at(extent)),
            None => Err(error),
        }
    }
}

impl<M: ReadAt> ReadAt for FaultyMedium<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let treatment = self.treat(RequestKind::Read, extent);
        let result = self.load(&treatment, buffer);
        self.note(&treatment, buffer.as_ptr() as usize, result.is_ok());
        result
    }

    fn alignment(&self) -> usize {
        self.alignment
    }
}

impl<M: ReadWriteAt> WriteAt for FaultyMedium<M> {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let extent = self.checked(Extent::new(offset, data.len() as u64))?;
        let treatment = self.treat(RequestKind::Write, extent);
        let result = self.store(&treatment, std::iter::once((offset, data)));
        self.note(&treatment, data.as_ptr() as usize, result.is_ok());
        result
    }

    fn write_zeros(&self, extent: Extent) -> Result<(), BlockError> {
        let extent = self.checked(Some(extent))?;
        let treatment = self.treat(RequestKind::Zeros, extent);
        let zeros = vec![0; ZEROS_BYTES];
        let parts = (extent.start()..extent.end()).step_by(ZEROS_BYTES);
        let parts = parts.map(|offset| {
            // OK to cast: at most ZEROS_BYTES.
            let size = (extent.end() - offset).min(ZEROS_BYTES as u64) as usize;
            (offset, &zeros[..size])
        });
        let result = self.store(&treatment, parts);
        self.note(&treatment, 0, result.is_ok());
        result
    }

    fn flush(&self) -> Result<(), BlockError> {
        let treatment = self.treat(RequestKind::Flush, Extent::default());
        let result = match treatment.refusal {
            Some(kind) => Err(BlockError::new(kind, Operation::Flush)),
            None => self.inner.flush(),
        };
        if result.is_ok() {
            lock(&self.volatile).settle();
        }
        self.note(&treatment, 0, result.is_ok());
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::FaultyMedium;
    use crate::fault::{Fault, RequestKind, Times, Unflushed};
    use cardkeep_block::{
        AlignedBuffer, BlockError, BlockErrorKind, Extent, MemoryMedium, ReadAt, WriteAt,
    };

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
    fn a_gate_holds_what_comes_after_a_number_of_requests() {
        let medium = FaultyMedium::new(MemoryMedium::new(4096));
        let gate = medium.hold_after(2);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (0..4).map(|_| kind(&medium, 0, 512)).collect::<Vec<_>>());
            assert!(gate.wait(|| false));
            assert_eq!(medium.requests().len(), 2);
            gate.open();
            assert_eq!(reader.join().unwrap(), [None; 4]);
        });
        let gate = medium.hold_after(1);
        assert!(!gate.wait(|| true));
        drop(gate);
        assert_eq!(kind(&medium, 0, 512), None);
        assert_eq!(kind(&medium, 0, 512), None);
    }

    #[test]
    fn a_removed_medium_stays_removed() {
        let medium = FaultyMedium::new(MemoryMedium::new(4096)).with(Fault::GoneAfter(1000));
        assert_eq!(kind(&medium, 0, 512), None);
        assert_eq!(kind(&medium, 512, 512), None);
        assert_eq!(kind(&medium, 0, 1), Some(BlockErrorKind::Gone));
        assert_eq!(kind(&medium, 0, 1), Some(BlockErrorKind::Gone));

        let medium = FaultyMedium::new(MemoryMedium::new(4096)).with(Fault::MuteAfter(1000));
        assert_eq!(kind(&medium, 0, 1000), None);
        assert_eq!(kind(&medium, 0, 1), Some(BlockErrorKind::Io));
        medium.heal();
        assert_eq!(kind(&medium, 0, 1), None);
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

    /// A medium of 4096 ones.
    fn ones() -> MemoryMedium {
        MemoryMedium::from_bytes(&[1; 4096])
    }

    fn failed(result: Result<(), BlockError>) -> Option<BlockErrorKind> {
        result.err().map(|error| error.kind())
    }

    /// Returns the value of each sector; each must be all one byte.
    fn sectors(medium: &MemoryMedium) -> Vec<u8> {
        let bytes = medium.to_vec();
        let sectors = bytes.chunks(512).map(|sector| {
            assert!(sector.iter().all(|&byte| byte == sector[0]), "torn within");
            sector[0]
        });
        sectors.collect()
    }

    #[test]
    fn a_refused_write_changes_nothing_and_is_logged() {
        let extent = Extent::between(512, 1024);
        let times = Times::First(2);
        let medium = FaultyMedium::new(ones()).with(Fault::Unwritable { extent, times });
        assert_eq!(failed(medium.write_at(0, &[2; 512])), None);
        assert_eq!(
            failed(medium.write_at(0, &[3; 4096])),
            Some(BlockErrorKind::Io)
        );
        let error = medium.write_zeros(extent).unwrap_err();
        assert_eq!(error.extent(), Some(extent));
        assert_eq!(sectors(medium.inner()), [2, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(failed(medium.write_zeros(extent)), None);
        assert_eq!(sectors(medium.inner()), [2, 0, 1, 1, 1, 1, 1, 1]);
        let log: Vec<_> = medium
            .writes()
            .iter()
            .map(|r| (r.kind, r.extent.start(), r.extent.len(), r.is_served))
            .collect();
        let expected = [
            (RequestKind::Write, 0, 512, true),
            (RequestKind::Write, 0, 4096, false),
            (RequestKind::Zeros, 512, 512, false),
            (RequestKind::Zeros, 512, 512, true),
        ];
        assert_eq!(log, expected);
        assert_eq!(medium.bytes_written(), 1024);
    }

    #[test]
    fn a_sector_that_can_not_be_read_can_be_written() {
        let bad = Extent::between(512, 1024);
        let medium = FaultyMedium::new(ones()).with(Fault::Unreadable(bad));
        medium.write_at(0, &[2; 2048]).unwrap();
        assert_eq!(kind(&medium, 512, 512), Some(BlockErrorKind::Io));
        assert_eq!(sectors(medium.inner()), [2, 2, 2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn dropped_bytes_are_answered_but_never_arrive() {
        let extent = Extent::between(1024, 2048);
        let times = Times::First(1);
        let medium = FaultyMedium::new(ones()).with(Fault::DropsWrites { extent, times });
        medium.write_at(0, &[2; 4096]).unwrap();
        medium.flush().unwrap();
        assert_eq!(sectors(medium.inner()), [2, 2, 1, 1, 2, 2, 2, 2]);
        medium.write_zeros(extent).unwrap();
        assert_eq!(sectors(medium.inner()), [2, 2, 0, 0, 2, 2, 2, 2]);
    }

    #[test]
    fn a_misdirected_write_spares_its_place_and_destroys_another() {
        let astray = Fault::MisdirectsWrites {
            extent: Extent::between(512, 1536),
            to: 3072,
            times: Times::First(1),
        };
        let medium = FaultyMedium::new(ones()).with(astray);
        medium.write_at(1024, &[2; 1024]).unwrap();
        assert_eq!(sectors(medium.inner()), [1, 1, 1, 2, 1, 1, 1, 2]);
        medium.write_at(1024, &[2; 1024]).unwrap();
        assert_eq!(sectors(medium.inner()), [1, 1, 2, 2, 1, 1, 1, 2]);
    }

    #[test]
    fn a_bit_flipped_on_write_is_stored_so_until_written_again() {
        let flip = Fault::FlipsOnWrite {
            offset: 700,
            mask: 4,
            times: Times::First(1),
        };
        let medium = FaultyMedium::new(ones()).with(flip);
        medium.write_at(512, &[2; 512]).unwrap();
        assert_eq!(medium.read_vec(699, 3).unwrap(), [2, 6, 2]);
        assert_eq!(medium.inner().read_vec(699, 3).unwrap(), [2, 6, 2]);
        medium.write_at(512, &[2; 512]).unwrap();
        assert_eq!(medium.read_vec(699, 3).unwrap(), [2, 2, 2]);
    }

    #[test]
    fn a_card_that_wraps_destroys_early_writes_by_late_ones() {
        let medium = FaultyMedium::new(ones()).with(Fault::WrapsAt(1024));
        medium.write_at(0, &[2; 1024]).unwrap();
        medium.write_at(3072, &[3; 512]).unwrap();
        assert_eq!(medium.read_vec(0, 1024).unwrap()[500..524], {
            let mut expected = [3; 24];
            expected[12..].fill(2);
            expected
        });
        assert_eq!(
            medium.read_vec(2048, 2048).unwrap(),
            [[3; 512], [2; 512], [3; 512], [2; 512]].concat()
        );
        assert_eq!(sectors(medium.inner()), [3, 2, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_hollow_card_swallows_writes_and_reads_zeros() {
        let medium = FaultyMedium::new(ones()).with(Fault::HollowFrom(1024));
        medium.write_at(512, &[2; 1024]).unwrap();
        let read = medium.read_vec(512, 1024).unwrap();
        assert_eq!(read, [[2; 512], [0; 512]].concat());
        assert_eq!(sectors(medium.inner()), [1, 2, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_card_torn_out_after_a_write_keeps_it_and_serves_nothing_more() {
        let medium = FaultyMedium::new(ones()).with(Fault::GoneAfterWrites(2));
        assert_eq!(kind(&medium, 0, 512), None);
        medium.write_zeros(Extent::between(0, 512)).unwrap();
        medium.flush().unwrap();
        medium.write_at(512, &[2; 512]).unwrap();
        let gone = Some(BlockErrorKind::Gone);
        assert_eq!(kind(&medium, 0, 512), gone);
        assert_eq!(failed(medium.write_at(1024, &[2; 512])), gone);
        assert_eq!(failed(medium.write_zeros(Extent::between(0, 512))), gone);
        assert_eq!(failed(medium.flush()), gone);
        assert_eq!(sectors(medium.inner()), [0, 2, 1, 1, 1, 1, 1, 1]);
        medium.heal();
        assert_eq!(kind(&medium, 0, 512), None);
        assert_eq!(failed(medium.write_at(1024, &[2; 512])), None);
    }

    /// Flushes one write, then does three more, the last two over one another, and returns what
    /// survives the cut that follows.
    fn after_cut(unflushed: Unflushed) -> Vec<u8> {
        let cut = Fault::PowerCutAfterWrites {
            writes: 4,
            unflushed,
        };
        let medium = FaultyMedium::new(ones()).with(cut);
        medium.write_at(0, &[2; 1024]).unwrap();
        medium.flush().unwrap();
        medium.write_at(512, &[3; 1024]).unwrap();
        medium.write_at(1024, &[4; 2048]).unwrap();
        medium.write_zeros(Extent::between(2048, 4096)).unwrap();
        assert_eq!(kind(&medium, 0, 1), Some(BlockErrorKind::Gone));
        assert_eq!(
            failed(medium.write_at(0, &[9; 1])),
            Some(BlockErrorKind::Gone)
        );
        sectors(&medium.into_inner())
    }

    #[test]
    fn a_power_cut_leaves_what_was_flushed_and_only_part_of_the_rest() {
        assert_eq!(after_cut(Unflushed::Lost), [2, 2, 1, 1, 1, 1, 1, 1]);
        let torn = |sectors| after_cut(Unflushed::Torn { sectors });
        assert_eq!(torn(0), [2, 3, 4, 4, 4, 4, 1, 1]);
        assert_eq!(torn(3), [2, 3, 4, 4, 0, 0, 0, 1]);
        assert_eq!(torn(99), [2, 3, 4, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn a_cache_that_writes_as_it_likes_leaves_old_and_new_sectors() {
        let possible: [&[u8]; 8] = [
            &[2],
            &[2, 3],
            &[1, 3, 4],
            &[1, 4],
            &[1, 4, 0],
            &[1, 4, 0],
            &[1, 0],
            &[1, 0],
        ];
        let mut seen: [std::collections::BTreeSet<u8>; 8] = Default::default();
        for seed in 0..64 {
            let left = after_cut(Unflushed::Scattered { seed });
            assert_eq!(left, after_cut(Unflushed::Scattered { seed }));
            for (seen, sector) in seen.iter_mut().zip(left) {
                seen.insert(sector);
            }
        }
        for (seen, possible) in seen.iter().zip(possible) {
            assert_eq!(*seen, possible.iter().copied().collect());
        }
    }

    #[test]
    fn a_full_or_protected_card_refuses_writes_by_its_own_reason() {
        let medium = FaultyMedium::new(ones())
            .with(Fault::EndsAt(2048))
            .with(Fault::FlushFails(Times::First(1)));
        let full = Some(BlockErrorKind::NoSpace);
        assert_eq!(failed(medium.write_at(1536, &[2; 1024])), full);
        assert_eq!(failed(medium.flush()), Some(BlockErrorKind::Io));
        assert_eq!(failed(medium.flush()), None);
        medium.declare(Fault::WriteProtected);
        let protected = Some(BlockErrorKind::ReadOnly);
        assert_eq!(failed(medium.write_at(0, &[2; 512])), protected);
        assert_eq!(failed(medium.flush()), None);
        let outside = Some(BlockErrorKind::OutOfBounds);
        assert_eq!(failed(medium.write_at(4096, &[2; 1])), outside);
        assert_eq!(sectors(medium.inner()), [1; 8]);
    }

    #[test]
    fn slow_writes_take_their_time_and_reads_do_not() {
        let delay = std::time::Duration::from_millis(250);
        let extent = Extent::between(0, 512);
        let medium = FaultyMedium::new(ones()).with(Fault::SlowWrites { extent, delay });
        let started = std::time::Instant::now();
        medium.read_vec(0, 512).unwrap();
        medium.write_at(512, &[2; 512]).unwrap();
        assert!(started.elapsed() < delay, "{:?}", started.elapsed());
        medium.write_at(0, &[2; 512]).unwrap();
        assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    }
}
