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
mod tests;
