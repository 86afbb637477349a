//! Finding out in seconds whether a card is as large as it says, before hours are spent on it.
//!
//! Cards that lie either wrap addresses (what is written at X lands at X modulo their real size)
//! or swallow what is written past their real end. A marker that names its own place is written
//! to a few places and read back:
//!
//! ```text
//!   1 read all places and keep them     before any write: a wrapped place shows the same bytes
//!                                       as its twin, so that what is kept agrees
//!   2 write markers, from the top down  the lower twin is written last and wins: the honest
//!                                       place holds, the wrapped one shows whose bytes it has
//!   3 flush, read, from the bottom up   the suspicious places are the first written and the
//!                                       last read: a cache in the card has forgotten them
//!   4 put back, from the top down       the lower twin has the last word again
//! ```
//!
//! A wrap shows where two places lie a multiple of the real size apart. The places are chosen so
//! for real sizes of `2^k` and `3 * 2^k` bytes and `2^k` GB, which is what address lines that are
//! missing make of a card; a wrap at any other size may pass, and shows when the restore is
//! verified (see [`Fingerprints`](crate::Fingerprints)). A card that swallows shows whatever its
//! real size.

use std::collections::HashMap;
use std::fmt;

use cardkeep_block::{
    AlignedBuffer, BlockError, BlockErrorKind, Extent, Monitor, Phase, ReadWriteAt,
};

use crate::error::CopyError;

/// How much is written at a place. With [`PLACES_MAX`] places this sums to 1 MiB, more than a
/// card's controller is likely to hold back in its own memory, and one place is still a single
/// flash page of most cards.
const PLACE_BYTES: u64 = 16 << 10;
/// Places start at multiples of this: the largest alignment that devices ask for.
const PLACE_ALIGNMENT: u64 = 4096;
/// How many places there may be: each costs two small reads and two small writes, of which a bad
/// card manages some twenty a second.
const PLACES_MAX: usize = 64;
/// What a card addresses: markers name the place of every sector.
const SECTOR_BYTES: usize = 512;
/// The parts of [`PLACES_MAX`]; the remaining four lie near both ends.
const BINARY_PLACES: usize = 24;
const BETWEEN_PLACES: usize = 20;
const DECIMAL_PLACES: usize = 10;
const SPREAD_PLACES: u64 = 6;
const GIGABYTE: u64 = 1_000_000_000;

/// Returns where a probe of a medium of `len` bytes writes: at powers of two and half-way between
/// them, at usual sizes of cards (1, 2, 4 ... GB), near both ends, and spread over the rest.
///
/// Sorted and disjoint, at multiples of 4096 bytes, at most 64. A medium of less than 16 KiB has
/// none; what lies past the last multiple of 4096 is left alone.
#[must_use]
pub fn probe_places(len: u64) -> Vec<Extent> {
    let Some(last) = len.checked_sub(PLACE_BYTES) else {
        return Vec::new();
    };
    let last = last / PLACE_ALIGNMENT * PLACE_ALIGNMENT;
    let below = |start: &u64| *start <= last;
    let powers = || (0..u64::BITS - 2).map(|bits| 1u64 << bits);
    let mut starts = vec![0, last, last.saturating_sub(1 << 20), PLACE_BYTES];
    let binary = powers().filter(below).filter(|&start| start >= PLACE_BYTES);
    starts.extend(binary.rev().take(BINARY_PLACES));
    let between = powers().map(|power| power.saturating_mul(3) / 2);
    let between = between.filter(below).filter(|&start| start > PLACE_BYTES);
    starts.extend(between.rev().take(BETWEEN_PLACES));
    let decimal = powers().map(|power| power.saturating_mul(GIGABYTE));
    starts.extend(decimal.filter(below).rev().take(DECIMAL_PLACES));
    let step = len / (SPREAD_PLACES + 1);
    starts.extend((1..=SPREAD_PLACES).map(|index| index * step));
    disjoint(starts, last)
}

/// Aligns and sorts. Of two places that overlap the lower one stays, but the last always does:
/// nothing else tells of a card that is only a little too small.
fn disjoint(mut starts: Vec<u64>, last: u64) -> Vec<Extent> {
    starts
        .retain(|&start| start == 0 || start == last || start <= last.saturating_sub(PLACE_BYTES));
    starts.sort_unstable();
    let mut places: Vec<Extent> = Vec::with_capacity(PLACES_MAX);
    for start in starts {
        let start = start / PLACE_ALIGNMENT * PLACE_ALIGNMENT;
        if places.last().is_none_or(|before| before.end() <= start) {
            places.push(Extent::between(start, start + PLACE_BYTES));
        }
    }
    places
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Every place holds what was written to it.
    Honest,
    /// The card is smaller than it says.
    Lying(Lie),
    /// The card does not hold what was written to it, and its size does not explain that: places
    /// further on do hold it, or none does at all, as of worn cards that drop all writes.
    Faulty {
        /// The lowest sector that did not hold, in bytes.
        first_bad: u64,
    },
}

/// In which way a card is smaller than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lie {
    /// How large it seems to be, in bytes. Where it wraps this is the real size (or, should the
    /// places not have told more, a multiple of it). Where it swallows it is the size up to which
    /// it surely holds; the real end lies between this and `first_bad`.
    pub real_bytes: u64,
    /// What happens past the real end.
    pub how: LieKind,
    /// The lowest sector that showed something else than was written to it, in bytes.
    pub first_bad: u64,
}

/// What a lying card does with what is written past its real end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LieKind {
    /// It lands at lower addresses, over what is there.
    Wraps,
    /// It is lost, or refused.
    Swallows,
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Honest => f.write_str("the card is as large as it says"),
            Self::Lying(lie) => lie.fmt(f),
            Self::Faulty { first_bad } => write!(
                f,
                "the card does not hold what is written to it (first at byte {first_bad}): it is \
                 worn out or the reader is bad; try another reader, then another card"
            ),
        }
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, what) = match self.how {
            LieKind::Wraps => (self.real_bytes, "overwrites its beginning with"),
            LieKind::Swallows => (self.first_bad, "loses"),
        };
        write!(
            f,
            "the card is smaller than it says: it holds at most {} MB and {what} the rest; don't \
             use it",
            size.div_ceil(1_000_000)
        )
    }
}

/// A probe's finding, and what it overwrote.
#[derive(Debug)]
pub struct Probed {
    /// What it found.
    pub capacity: Capacity,
    pieces: Vec<Piece>,
}

/// A place, and what it held before.
#[derive(Debug)]
struct Piece {
    extent: Extent,
    /// What it held; `None` where that could not be read, and nothing is written then.
    original: Option<AlignedBuffer>,
    /// Whether a marker was sent there.
    is_overwritten: bool,
    found: Found,
}

/// What a place showed when it was read back.
#[derive(Debug)]
enum Found {
    /// Its marker.
    Marker,
    /// The marker of a place `by` bytes away; `upper` is the higher of the two sectors.
    Twin { by: u64, upper: u64 },
    /// Anything else, from this sector on.
    Else { sector: u64 },
    /// Its marker with some bytes changed, which no other size explains.
    Damaged { sector: u64 },
    /// Nothing: it could not be read or written.
    Failed(BlockError),
}

/// Overwrites `places` (of [`probe_places`]: all that they hold is kept in memory) with markers
/// made from `seed` and reads them back. A seed that was never used on this card keeps old
/// markers from passing for new ones.
///
/// The markers stay on the card until [`Probed::put_back`]; where this returns an error they were
/// put back already, as far as the card let them.
///
/// # Errors
/// [`CopyError::Destination`] where the card fails in a way that its size does not explain,
/// [`CopyError::Interrupted`] where the user wanted it to stop.
pub fn probe(
    card: &dyn ReadWriteAt,
    places: &[Extent],
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<Probed, CopyError> {
    let bytes: u64 = places.iter().map(|place| place.len()).sum();
    monitor.phase(Phase::Probe, Some(bytes.saturating_mul(3)));
    let markers = Markers::new(places, seed);
    let pieces = keep(card, places, monitor)?;
    let mut probed = Probed {
        capacity: Capacity::Honest,
        pieces,
    };
    let looked = overwrite_and_look(card, &mut probed.pieces, &markers, monitor);
    match looked.and_then(|flushed| judge(&mut probed.pieces, flushed)) {
        Ok(capacity) => {
            probed.capacity = capacity;
            Ok(probed)
        }
        Err(failure) => match (probed.put_back(card, |_| true), failure) {
            // That bytes of the card were lost weighs more than that the user wanted to stop.
            (Err(lost), CopyError::Interrupted) => Err(lost),
            (_, failure) => Err(failure),
        },
    }
}

impl Probed {
    /// Writes back what the places held that `wanted` picks, and flushes. Before anything else is
    /// written to the card: where it wraps, a place may lie on top of another.
    ///
    /// What was written over other cells than those of the places, by a card that reads and
    /// writes at different addresses, can't be brought back.
    ///
    /// # Errors
    /// [`CopyError::Destination`] where a place that had held its marker can't be written, after
    /// all others were tried.
    pub fn put_back(
        &self,
        card: &dyn ReadWriteAt,
        wanted: impl Fn(Extent) -> bool,
    ) -> Result<(), CopyError> {
        let to_write = |piece: &&Piece| piece.is_overwritten && wanted(piece.extent);
        let (lost, held): (Vec<&Piece>, Vec<&Piece>) = self
            .pieces
            .iter()
            .filter(to_write)
            .partition(|piece| piece.lost_from().is_some());
        // ORDER: first what was lost, so that a flush that fails for its sake is not taken for
        // one that fails for the rest. A place that never took its marker has lost nothing, and
        // an error is no news there.
        write_back(card, &lost).ok();
        write_back(card, &held).map_err(CopyError::Destination)
    }
}

/// Tries all of `pieces`, flushes, and returns the first error.
fn write_back(card: &dyn ReadWriteAt, pieces: &[&Piece]) -> Result<(), BlockError> {
    let mut result = Ok(());
    // ORDER: from the top down, so that on a card that wraps when it writes the lowest place has
    // the last word: it is the one whose content was real.
    for piece in pieces.iter().rev() {
        if let Some(original) = piece.original.as_ref() {
            result = result.and(card.write_at(piece.extent.start(), original));
        }
    }
    result.and(card.flush())
}

fn stop_if_cancelled(monitor: &dyn Monitor) -> Result<(), CopyError> {
    if monitor.is_cancelled() {
        return Err(CopyError::Interrupted);
    }
    Ok(())
}

/// Returns the error of a place where only that place may be meant, else fails: without the
/// device or the right to write there is nothing to learn about its size.
fn of_place(error: BlockError) -> Result<Found, CopyError> {
    match error.kind() {
        BlockErrorKind::Io
        | BlockErrorKind::OutOfBounds
        | BlockErrorKind::ShortRead
        | BlockErrorKind::NoSpace => Ok(Found::Failed(error)),
        _ => Err(CopyError::Destination(error)),
    }
}

/// Step 1: reads what the places hold.
fn keep(
    card: &dyn ReadWriteAt,
    places: &[Extent],
    monitor: &dyn Monitor,
) -> Result<Vec<Piece>, CopyError> {
    let mut pieces = Vec::with_capacity(places.len());
    for &extent in places {
        stop_if_cancelled(monitor)?;
        let mut original = AlignedBuffer::new(extent.len() as usize);
        let (original, found) = match card.read_at(extent.start(), &mut original) {
            Ok(()) => (Some(original), Found::Marker),
            Err(error) => (None, of_place(error)?),
        };
        pieces.push(Piece {
            extent,
            original,
            is_overwritten: false,
            found,
        });
        monitor.advance(Phase::Probe, extent.len());
    }
    Ok(pieces)
}

/// Overwrites the first place, where it holds the card's beginning, with zeros.
fn hide_table(card: &dyn ReadWriteAt, pieces: &mut [Piece]) -> Result<(), CopyError> {
    let Some(first) = pieces.first_mut() else {
        return Ok(());
    };
    if first.extent.start() > 0 || first.original.is_none() {
        return Ok(());
    }
    first.is_overwritten = true;
    // ORDER: before any marker, and on the medium. A card that is torn out while markers lie on it
    // must not look as if it were still good.
    let hidden = card.write_zeros(first.extent).and_then(|()| card.flush());
    // What is only this place's trouble shows again when its marker is written.
    hidden.or_else(|error| of_place(error).map(drop))
}

/// Steps 2 and 3: leaves in every piece what its place showed, and returns how the flush went.
fn overwrite_and_look(
    card: &dyn ReadWriteAt,
    pieces: &mut [Piece],
    markers: &Markers,
    monitor: &dyn Monitor,
) -> Result<Result<(), BlockError>, CopyError> {
    hide_table(card, pieces)?;
    let readable = |piece: &&mut Piece| piece.original.is_some();
    // ORDER: from the top down, see the picture above.
    for piece in pieces.iter_mut().rev().filter(readable) {
        stop_if_cancelled(monitor)?;
        piece.is_overwritten = true;
        let marker = markers.at(piece.extent);
        if let Err(error) = card.write_at(piece.extent.start(), &marker) {
            piece.found = of_place(error)?;
        }
        monitor.advance(Phase::Probe, piece.extent.len());
    }
    // Some systems report only here that a write was refused; reading will tell which.
    let flushed = card.flush();
    // ORDER: from the bottom up, see there too.
    for piece in pieces.iter_mut().filter(readable) {
        stop_if_cancelled(monitor)?;
        let mut content = AlignedBuffer::new(piece.extent.len() as usize);
        if matches!(piece.found, Found::Marker) {
            piece.found = match card.read_at(piece.extent.start(), &mut content) {
                Ok(()) => markers.recognise(piece.extent, &content),
                Err(error) => of_place(error)?,
            };
        }
        monitor.advance(Phase::Probe, piece.extent.len());
    }
    Ok(flushed)
}

/// Says what the places mean together. `pieces` are in address order.
fn judge(pieces: &mut [Piece], flushed: Result<(), BlockError>) -> Result<Capacity, CopyError> {
    let twins = pieces.iter().filter_map(|piece| match piece.found {
        Found::Twin { by, upper } => Some((by, upper)),
        _ => None,
    });
    let wrap = twins.reduce(|(a, upper), (b, other)| (gcd(a, b), upper.min(other)));
    let first = pieces
        .iter()
        .position(|p| !matches!(p.found, Found::Marker));
    let Some(first) = first else {
        flushed.map_err(CopyError::Destination)?;
        return Ok(Capacity::Honest);
    };
    if let Some((period, upper)) = wrap {
        // A card may lose the last part of what its address lines reach.
        let lost = pieces.iter().filter_map(Piece::lost_from).min();
        let first_bad = lost.map_or(upper, |lost| lost.min(upper));
        return Ok(Capacity::Lying(Lie {
            real_bytes: period.min(first_bad),
            how: LieKind::Wraps,
            first_bad,
        }));
    }
    let is_tail = pieces[first..].iter().all(|p| p.lost_from().is_some());
    let first_bad = pieces[first].bad_from();
    if let Some(below) = first.checked_sub(1).filter(|_| is_tail) {
        return Ok(Capacity::Lying(Lie {
            real_bytes: pieces[below].extent.end(),
            how: LieKind::Swallows,
            first_bad,
        }));
    }
    for piece in pieces {
        if matches!(piece.found, Found::Failed(_))
            && let Found::Failed(error) = std::mem::replace(&mut piece.found, Found::Marker)
        {
            return Err(CopyError::Destination(error));
        }
    }
    flushed.map_err(CopyError::Destination)?;
    Ok(Capacity::Faulty { first_bad })
}

impl Piece {
    /// Returns the first sector that a card too small would have lost, where one was.
    fn lost_from(&self) -> Option<u64> {
        match self.found {
            Found::Else { sector } => Some(sector),
            Found::Failed(_) => Some(self.extent.start()),
            Found::Marker | Found::Twin { .. } | Found::Damaged { .. } => None,
        }
    }

    fn bad_from(&self) -> u64 {
        match self.found {
            Found::Damaged { sector } => sector,
            _ => self.lost_from().unwrap_or(self.extent.start()),
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The bytes that are written to the places: pseudo-random, and different in every sector, so
/// that a sector alone tells where it belongs.
struct Markers {
    seed: u64,
    /// The first word of every sector, to the sector's offset.
    sectors: HashMap<u64, u64>,
}

impl Markers {
    fn new(places: &[Extent], seed: u64) -> Self {
        let sectors = places
            .iter()
            .flat_map(|place| (place.start()..place.end()).step_by(SECTOR_BYTES))
            .map(|sector| (word(seed, sector), sector))
            .collect();
        Self { seed, sectors }
    }

    fn at(&self, extent: Extent) -> AlignedBuffer {
        let mut marker = AlignedBuffer::new(extent.len() as usize);
        for (index, bytes) in marker.chunks_mut(size_of::<u64>()).enumerate() {
            let offset = extent.start() + (index * size_of::<u64>()) as u64;
            bytes.copy_from_slice(&word(self.seed, offset).to_le_bytes()[..bytes.len()]);
        }
        marker
    }

    /// Says what `content`, read from `extent`, is.
    fn recognise(&self, extent: Extent, content: &[u8]) -> Found {
        let expected = self.at(extent);
        let sectors = expected
            .chunks(SECTOR_BYTES)
            .zip(content.chunks(SECTOR_BYTES));
        let mut worst = Found::Marker;
        for (index, (expected, found)) in sectors.enumerate() {
            if expected == found {
                continue;
            }
            let sector = extent.start() + (index * SECTOR_BYTES) as u64;
            if let Some(owner) = self.owner(found) {
                return Found::Twin {
                    by: owner.abs_diff(sector),
                    upper: owner.max(sector),
                };
            }
            // Of bytes that have nothing to do with a marker one in 256 agrees by chance.
            let agreeing = expected.iter().zip(found).filter(|(a, b)| a == b).count();
            if agreeing > expected.len() / 2 {
                worst = Found::Damaged { sector };
            } else if matches!(worst, Found::Marker) {
                worst = Found::Else { sector };
            }
        }
        worst
    }

    /// Returns where a sector with this content belongs, where it is one of the markers'.
    fn owner(&self, found: &[u8]) -> Option<u64> {
        let first = cardkeep_block::le_u64(found, 0);
        let owner = *self.sectors.get(&first)?;
        let whole = self.at(Extent::new(owner, found.len() as u64)?);
        (*whole == *found).then_some(owner)
    }
}

/// Returns the marker's eight bytes at `offset`: the mixing steps of SplitMix64 (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", 2014), which map different offsets to
/// different words.
const fn word(seed: u64, offset: u64) -> u64 {
    let mut z = seed.wrapping_add(offset.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cardkeep_block::{
        BlockError, BlockErrorKind, Extent, MemoryMedium, Monitor, Operation, Phase, ReadAt,
        ReadWriteAt, Silent, Trouble, WriteAt,
    };
    use cardkeep_testkit::{Fault, FaultyMedium, Times};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    use super::{Capacity, Lie, LieKind, PLACE_BYTES, PLACES_MAX, Probed, probe, probe_places};
    use crate::error::CopyError;

    const MIB: u64 = 1 << 20;

    /// What a test card does with sectors past its real end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Beyond {
        Wraps,
        /// Reads this byte, drops writes.
        Reads(u8),
        Fails(BlockErrorKind),
        /// Writes wrap, reads give zeros.
        WritesWrap,
    }

    /// A card that claims `len` bytes and has those of `inner`; it remembers the sectors written
    /// and read last for as long as its cache has room.
    struct Card {
        inner: MemoryMedium,
        len: u64,
        beyond: Beyond,
        cache: Mutex<VecDeque<(u64, Vec<u8>)>>,
        cached_sectors: usize,
    }

    impl Card {
        fn new(real: u64, len: u64, beyond: Beyond) -> Self {
            Self {
                inner: MemoryMedium::new(real),
                len,
                beyond,
                cache: Mutex::default(),
                cached_sectors: 0,
            }
        }

        /// Fills the first MiB with bytes that differ everywhere.
        fn filled(self) -> Self {
            let len = self.inner.len().min(MIB);
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251 + i / 4096 % 5) as u8).collect();
            self.inner.write_at(0, &bytes).unwrap();
            self
        }

        fn read_sector(&self, offset: u64, sector: &mut [u8]) -> Result<(), BlockError> {
            let cached = self.cached(offset);
            if let Some(data) = &cached {
                sector.copy_from_slice(data);
            } else {
                self.read_flash(offset, sector)?;
            }
            self.remember(offset, sector);
            Ok(())
        }

        fn cached(&self, offset: u64) -> Option<Vec<u8>> {
            let cache = self.cache.lock().unwrap();
            let newest = cache.iter().rev().find(|(at, _)| *at == offset);
            newest.map(|(_, data)| data.clone())
        }

        fn remember(&self, offset: u64, sector: &[u8]) {
            let mut cache = self.cache.lock().unwrap();
            cache.push_back((offset, sector.to_vec()));
            while cache.len() > self.cached_sectors {
                cache.pop_front();
            }
        }

        fn read_flash(&self, offset: u64, sector: &mut [u8]) -> Result<(), BlockError> {
            let real = self.inner.len();
            match self.beyond {
                _ if offset < real => self.inner.read_at(offset, sector),
                Beyond::Wraps => self.inner.read_at(offset % real, sector),
                Beyond::Reads(byte) => {
                    sector.fill(byte);
                    Ok(())
                }
                Beyond::Fails(kind) => Err(BlockError::new(kind, Operation::Read)),
                Beyond::WritesWrap => {
                    sector.fill(0);
                    Ok(())
                }
            }
        }

        fn write_sector(&self, offset: u64, sector: &[u8]) -> Result<(), BlockError> {
            self.remember(offset, sector);
            let real = self.inner.len();
            match self.beyond {
                _ if offset < real => self.inner.write_at(offset, sector),
                Beyond::Wraps | Beyond::WritesWrap => self.inner.write_at(offset % real, sector),
                Beyond::Reads(_) => Ok(()),
                Beyond::Fails(kind) => Err(BlockError::new(kind, Operation::Write)),
            }
        }
    }

    impl ReadAt for Card {
        fn len(&self) -> u64 {
            self.len
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
            self.bounded(offset, buffer.len())?;
            for (index, sector) in buffer.chunks_mut(512).enumerate() {
                self.read_sector(offset + index as u64 * 512, sector)?;
            }
            Ok(())
        }
    }

    impl WriteAt for Card {
        fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
            self.bounded(offset, data.len())?;
            for (index, sector) in data.chunks(512).enumerate() {
                self.write_sector(offset + index as u64 * 512, sector)?;
            }
            Ok(())
        }
        fn flush(&self) -> Result<(), BlockError> {
            Ok(())
        }
    }

    fn probed(card: &dyn ReadWriteAt) -> Probed {
        probe(card, &probe_places(card.len()), 7, &Silent).unwrap()
    }

    fn lie(card: &Card) -> Lie {
        match probed(card).capacity {
            Capacity::Lying(lie) => lie,
            other => panic!("{other:?} of {:?} in {}", card.inner.len(), card.len),
        }
    }

    #[test]
    fn places_are_few_aligned_disjoint_and_reach_both_ends() {
        for len in (0..48).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, 1_000_003 << bits]) {
            let places = probe_places(len);
            assert!(places.len() <= PLACES_MAX, "{len}");
            assert_eq!(places.is_empty(), len < PLACE_BYTES, "{len}");
            for place in &places {
                assert_eq!((place.start() % 4096, place.len()), (0, PLACE_BYTES));
                assert!(place.end() <= len, "{len}");
            }
            assert!(places.windows(2).all(|two| two[0].end() <= two[1].start()));
            let Some((first, last)) = places.first().zip(places.last()) else {
                continue;
            };
            assert_eq!(first.start(), 0);
            assert!(len < 2 * PLACE_BYTES || len - last.end() < 4096, "{len}");
        }
        assert_eq!(probe_places(u64::MAX).first().unwrap().start(), 0);
    }

    #[test]
    fn a_card_of_one_terabyte_is_probed_at_the_usual_sizes() {
        let places = probe_places(1 << 40);
        let starts: Vec<u64> = places.iter().map(|place| place.start()).collect();
        let bytes: u64 = places.iter().map(|place| place.len()).sum();
        assert_eq!(bytes, MIB);
        for power in 16..40 {
            assert!(starts.contains(&(1 << power)), "{power}");
        }
        for gigabytes in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] {
            let start = gigabytes * 1_000_000_000 / 4096 * 4096;
            assert!(starts.contains(&start), "{gigabytes}");
        }
    }

    #[test]
    fn a_card_that_wraps_tells_its_real_size() {
        let gib = 1 << 30;
        for claimed in [64 * gib, 128_000_000_000, 512_110_190_592, 1 << 40] {
            for real in (20..39).flat_map(|bits| [1 << bits, 3 << (bits - 1)]) {
                if real < claimed {
                    let found = lie(&Card::new(real, claimed, Beyond::Wraps));
                    assert_eq!((found.how, found.real_bytes), (LieKind::Wraps, real));
                    assert!(found.first_bad >= real && found.first_bad <= 2 * real);
                }
            }
        }
        for gigabytes in [8, 16, 32, 64, 128, 256] {
            // A multiple of 4096, as 8, 16 ... GB are.
            let real = gigabytes * 1_000_000_000;
            let found = lie(&Card::new(real, 1 << 40, Beyond::Wraps));
            assert_eq!((found.how, found.real_bytes), (LieKind::Wraps, real));
        }
    }

    proptest! {
        #[test]
        fn a_card_that_swallows_is_found_whatever_its_real_size(
            claimed in (MIB..(1u64 << 41)).prop_map(|len| len / 512 * 512),
            part in 1u64..1_000_000,
            beyond in prop_oneof![
                any::<u8>().prop_map(Beyond::Reads),
                Just(Beyond::Fails(BlockErrorKind::Io)),
                Just(Beyond::Fails(BlockErrorKind::NoSpace)),
            ],
        ) {
            let end = probe_places(claimed).last().unwrap().end();
            let real = (u128::from(end) * u128::from(part) / 1_000_000) as u64 / 512 * 512;
            let real = real.max(PLACE_BYTES);
            let found = lie(&Card::new(real, claimed, beyond));
            prop_assert_eq!(found.how, LieKind::Swallows);
            prop_assert!(found.real_bytes <= real);
            let refused = if matches!(beyond, Beyond::Fails(_)) { PLACE_BYTES } else { 0 };
            prop_assert!(real <= found.first_bad + refused);
            // Precise to a third where places at powers of two and between them lie.
            prop_assert!(real < MIB || real < claimed >> 20 || found.real_bytes > real / 8 * 5);
        }

        #[test]
        fn an_honest_card_passes_and_is_put_back_whole(
            len in (MIB..3 * MIB).prop_map(|len| len / 512 * 512),
            seed in any::<u64>(),
        ) {
            let card = Card::new(len, len, Beyond::Wraps).filled();
            let before = card.inner.to_vec();
            let probed = probe(&card, &probe_places(len), seed, &Silent).unwrap();
            prop_assert_eq!(probed.capacity, Capacity::Honest);
            prop_assert!(card.inner.to_vec() != before);
            probed.put_back(&card, |_| true).unwrap();
            prop_assert!(card.inner.to_vec() == before);
        }

        #[test]
        fn a_lying_card_is_put_back_whole(
            real in (64u64..2048).prop_map(|sectors| sectors * 512),
            claimed in (MIB..64 * MIB).prop_map(|len| len / 512 * 512),
            beyond in prop_oneof![
                Just(Beyond::Wraps),
                Just(Beyond::Reads(0xff)),
                Just(Beyond::Fails(BlockErrorKind::Io)),
            ],
        ) {
            let card = Card::new(real, claimed, beyond).filled();
            let before = card.inner.to_vec();
            probed(&card).put_back(&card, |_| true).unwrap();
            prop_assert!(card.inner.to_vec() == before);
        }
    }

    #[test]
    fn the_first_sectors_come_back_even_where_only_writes_wrap() {
        let card = Card::new(16 * MIB, 64 * MIB, Beyond::WritesWrap).filled();
        let before = card.inner.to_vec();
        let probed = probed(&card);
        assert!(matches!(probed.capacity, Capacity::Lying(_)));
        probed.put_back(&card, |_| true).unwrap();
        let place = PLACE_BYTES as usize;
        assert!(card.inner.to_vec()[..2 * place] == before[..2 * place]);
    }

    #[test]
    fn a_card_that_wraps_and_loses_the_end_of_its_reach_shows_the_smaller_size() {
        struct Limbo(Card);
        impl ReadAt for Limbo {
            fn len(&self) -> u64 {
                self.0.len()
            }
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
                if offset % (8 << 30) >= 7_860_000_000 {
                    buffer.fill(0xff);
                    return Ok(());
                }
                self.0.read_at(offset, buffer)
            }
        }
        impl WriteAt for Limbo {
            fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
                self.0.write_at(offset, data)
            }
            fn flush(&self) -> Result<(), BlockError> {
                Ok(())
            }
        }
        let card = Limbo(Card::new(8 << 30, 64 << 30, Beyond::Wraps));
        let Capacity::Lying(lie) = probed(&card).capacity else {
            panic!("an honest limbo");
        };
        assert_eq!((lie.how, lie.real_bytes), (LieKind::Wraps, 8_000_000_000));
        assert_eq!(lie.first_bad, lie.real_bytes);
    }

    #[test]
    fn a_small_write_cache_in_the_card_hides_nothing() {
        let mut card = Card::new(8 << 30, 64 << 30, Beyond::Reads(0));
        // More than all that is written to this card's places.
        let sectors = probe_places(card.len()).len() * PLACE_BYTES as usize / 512;
        card.cached_sectors = sectors * 3 / 2;
        assert_eq!(lie(&card).how, LieKind::Swallows);
    }

    #[test]
    fn markers_of_an_earlier_probe_do_not_pass_for_new_ones() {
        let card = FaultyMedium::new(MemoryMedium::new(64 * MIB));
        assert_eq!(probed(&card).capacity, Capacity::Honest);
        let extent = Extent::between(0, card.len());
        let times = Times::Always;
        card.declare(Fault::DropsWrites { extent, times });
        let again = probe(&card, &probe_places(card.len()), 8, &Silent).unwrap();
        assert_eq!(again.capacity, Capacity::Faulty { first_bad: 0 });
    }

    /// Returns a medium of 64 MiB with a fault.
    fn faulty(fault: Fault) -> FaultyMedium<MemoryMedium> {
        FaultyMedium::new(MemoryMedium::new(64 * MIB)).with(fault)
    }

    fn failure(card: &dyn ReadWriteAt) -> BlockError {
        match probe(card, &probe_places(card.len()), 7, &Silent).unwrap_err() {
            CopyError::Destination(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_failing_medium_of_the_other_tests_is_seen_through_as_well() {
        for real in (1..64).map(|mib| mib * MIB - 512) {
            let hollow = faulty(Fault::HollowFrom(real));
            let ended = faulty(Fault::EndsAt(real));
            for card in [&hollow, &ended] {
                let probed = probed(card);
                let Capacity::Lying(lie) = probed.capacity else {
                    panic!("{:?}", probed.capacity);
                };
                assert_eq!(lie.how, LieKind::Swallows);
                assert!(lie.real_bytes <= real && real <= lie.first_bad + PLACE_BYTES);
                probed.put_back(card, |_| true).unwrap();
                assert!(card.inner().to_vec().iter().all(|&byte| byte == 0));
            }
        }
        let card = faulty(Fault::WrapsAt(24 * MIB));
        let probed = probed(&card);
        let wraps = Capacity::Lying(Lie {
            real_bytes: 24 * MIB,
            how: LieKind::Wraps,
            first_bad: 24 * MIB,
        });
        assert_eq!(probed.capacity, wraps);
        probed.put_back(&card, |_| true).unwrap();
        assert!(card.inner().to_vec().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_card_torn_out_meanwhile_is_unchanged_or_does_not_look_good() {
        let len = 8 * MIB;
        let count = probe_places(len).len() as u64;
        for writes in 0..=count + 1 {
            let card = FaultyMedium::new(MemoryMedium::new(len));
            card.inner().write_at(0, &vec![7; len as usize]).unwrap();
            card.declare(Fault::GoneAfterWrites(writes));
            let places = probe_places(len);
            let probed = probe(&card, &places, 1, &Silent);
            assert_eq!(probed.is_err(), writes <= count + 1);
            let content = card.inner().to_vec();
            let is_unchanged = content.iter().all(|&byte| byte == 7);
            assert_eq!(is_unchanged, writes == 0);
            assert!(is_unchanged || content[..512] != [7; 512]);
        }
    }

    #[test]
    fn every_place_is_read_and_written_once_and_read_again_in_aligned_requests() {
        let card = FaultyMedium::new(MemoryMedium::new(64 * MIB)).aligned_to(4096);
        let places = probe_places(card.len());
        let probed = probed(&card);
        probed.put_back(&card, |_| false).unwrap();
        let requests = card.requests();
        assert!(requests.iter().all(|request| request.is_aligned));
        // The first place is hidden before it is marked.
        let hidden = places[0].len();
        assert_eq!(card.writes().len(), places.len() + 1);
        let of_flushes = requests.iter().filter(|r| r.extent.is_empty()).count();
        assert_eq!(requests.len() - of_flushes, places.len() * 3 + 1);
        assert_eq!(card.bytes_served(), (card.bytes_written() - hidden) * 2);
    }

    #[test]
    fn one_bad_sector_is_not_a_lie_about_size() {
        let bad = Extent::between(4 * MIB + 512, 4 * MIB + 1024);
        let always = Times::Always;
        for fault in [
            Fault::Unreadable(bad),
            Fault::Unwritable {
                extent: bad,
                times: always,
            },
        ] {
            let card = faulty(fault);
            assert_eq!(failure(&card).extent().unwrap().start(), 4 * MIB);
            assert!(card.inner().to_vec().iter().all(|&byte| byte == 0));
        }
        // Flipped at the end too, where a lie would show first.
        for offset in [4 * MIB + 700, 64 * MIB - 1] {
            let first_bad = offset / 512 * 512;
            let card = faulty(Fault::BitFlip { offset, mask: 4 });
            assert_eq!(probed(&card).capacity, Capacity::Faulty { first_bad });
        }
        let card = faulty(Fault::DropsWrites {
            extent: bad,
            times: always,
        });
        let first_bad = bad.start();
        assert_eq!(probed(&card).capacity, Capacity::Faulty { first_bad });
    }

    #[test]
    fn a_flush_that_fails_is_an_error_unless_it_shows_a_lie() {
        let always = Fault::FlushFails(Times::Always);
        let error = failure(&faulty(always));
        assert_eq!(error.operation(), Operation::Flush);
        let once = || Fault::FlushFails(Times::First(1));
        let lying = faulty(Fault::HollowFrom(16 * MIB)).with(once());
        let probed = probed(&lying);
        assert!(matches!(probed.capacity, Capacity::Lying(_)));
        lying.declare(once());
        probed.put_back(&lying, |_| true).unwrap();
        lying.declare(always);
        assert!(probed.put_back(&lying, |_| true).is_err());
    }

    #[test]
    fn a_write_protected_card_is_not_called_a_liar() {
        let error = failure(&faulty(Fault::WriteProtected));
        assert_eq!(error.kind(), BlockErrorKind::ReadOnly);
    }

    #[test]
    fn what_cannot_be_put_back_is_told() {
        let card = FaultyMedium::new(MemoryMedium::new(64 * MIB));
        let probed = probed(&card);
        let extent = Extent::between(0, 512);
        let times = Times::Always;
        card.declare(Fault::Unwritable { extent, times });
        assert!(probed.put_back(&card, |_| true).is_err());
        // All others were put back.
        let place = PLACE_BYTES as usize;
        assert!(card.inner().to_vec()[place..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_card_that_fails_everywhere_or_is_gone_is_an_error() {
        for kind in [BlockErrorKind::Io, BlockErrorKind::Gone] {
            let card = Card::new(0, 64 * MIB, Beyond::Fails(kind));
            let error = probe(&card, &probe_places(card.len()), 7, &Silent).unwrap_err();
            assert!(matches!(error, CopyError::Destination(e) if e.kind() == kind));
        }
    }

    /// Wants it to stop at a later time, counted in questions.
    struct StopsAfter(AtomicUsize);

    impl Monitor for StopsAfter {
        fn phase(&self, _: Phase, _: Option<u64>) {}
        fn advance(&self, _: Phase, _: u64) {}
        fn trouble(&self, _: Trouble) {}
        fn is_cancelled(&self) -> bool {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            left == 0
        }
    }

    #[test]
    fn an_interrupted_probe_puts_back_what_it_overwrote() {
        for claimed in [2 * MIB, 8 * MIB] {
            let places = probe_places(claimed);
            let questions = places.len() * 3;
            for after in 0..questions {
                let card = Card::new(2 * MIB, claimed, Beyond::Wraps).filled();
                let before = card.inner.to_vec();
                let monitor = StopsAfter(AtomicUsize::new(after));
                let error = probe(&card, &places, 7, &monitor).unwrap_err();
                assert!(matches!(error, CopyError::Interrupted));
                assert!(card.inner.to_vec() == before, "after {after}");
            }
            let card = Card::new(2 * MIB, claimed, Beyond::Wraps);
            let monitor = StopsAfter(AtomicUsize::new(questions));
            assert!(probe(&card, &places, 7, &monitor).is_ok());
        }
    }

    #[test]
    fn an_interrupted_probe_saves_the_first_sectors_even_where_only_writes_wrap() {
        let card = Card::new(2 * MIB, 8 * MIB, Beyond::WritesWrap).filled();
        let before = card.inner.to_vec();
        let places = probe_places(8 * MIB);
        let monitor = StopsAfter(AtomicUsize::new(places.len() * 2));
        let error = probe(&card, &places, 7, &monitor).unwrap_err();
        assert!(matches!(error, CopyError::Interrupted));
        let place = PLACE_BYTES as usize;
        assert!(card.inner.to_vec()[..place] == before[..place]);
    }

    #[test]
    fn several_twins_together_tell_the_size() {
        let card = Card::new(MIB, 8 * MIB, Beyond::Wraps);
        let starts = [0, MIB / 2, 2 * MIB, 3 * MIB + MIB / 2];
        let places = starts.map(|start| Extent::between(start, start + 4096));
        let found = probe(&card, &places, 7, &Silent).unwrap().capacity;
        let lie = Lie {
            real_bytes: MIB,
            how: LieKind::Wraps,
            first_bad: 2 * MIB,
        };
        assert_eq!(found, Capacity::Lying(lie));
    }

    #[test]
    fn only_wanted_places_are_put_back() {
        let card = Card::new(2 * MIB, 2 * MIB, Beyond::Wraps).filled();
        let before = card.inner.to_vec();
        let probed = probed(&card);
        let after = card.inner.to_vec();
        probed
            .put_back(&card, |place| place.start() >= MIB / 2)
            .unwrap();
        let half = MIB as usize / 2;
        assert!(card.inner.to_vec()[..half] == after[..half]);
        assert!(card.inner.to_vec()[half..] == before[half..]);
    }

    #[test]
    fn findings_are_told_with_what_to_do() {
        let lie = |how| {
            let real_bytes = 8_000_000_000;
            let first_bad = real_bytes;
            Capacity::Lying(Lie {
                real_bytes,
                how,
                first_bad,
            })
        };
        assert_eq!(
            lie(LieKind::Wraps).to_string(),
            "the card is smaller than it says: it holds at most 8000 MB and overwrites its \
             beginning with the rest; don't use it"
        );
        assert_eq!(
            lie(LieKind::Swallows).to_string(),
            "the card is smaller than it says: it holds at most 8000 MB and loses the rest; don't \
             use it"
        );
        assert_eq!(
            Capacity::Faulty { first_bad: 512 }.to_string(),
            "the card does not hold what is written to it (first at byte 512): it is worn out or \
             the reader is bad; try another reader, then another card"
        );
    }
}
