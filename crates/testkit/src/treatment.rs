//! What the declared faults make of one request. Decided once when the request comes, so that a
//! fault that strikes a number of times counts requests, however many pieces they fall into.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use cardkeep_block::{BlockErrorKind, Extent};

use crate::fault::{Fault, RequestKind, Unflushed};

/// The faults of one medium, in the order in which they were declared.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// How often it struck, or how much it let pass, as the fault counts.
    count: u64,
}

/// How one request is to be answered.
#[derive(Debug)]
pub(crate) struct Treatment {
    /// What was asked for.
    pub(crate) kind: RequestKind,
    /// Where; empty for a flush.
    pub(crate) extent: Extent,
    /// The error, if it is refused.
    pub(crate) refusal: Option<BlockErrorKind>,
    /// How much longer it takes.
    pub(crate) delay: Duration,
    /// The power cut that follows it.
    pub(crate) cut: Option<Unflushed>,
    /// Whether a power cut may come, so that unflushed writes must be remembered.
    pub(crate) is_volatile: bool,
    flips: Vec<(u64, u8)>,
    /// Bytes that land elsewhere, with the place of their first; or nowhere.
    astray: Vec<(Extent, Option<u64>)>,
    room: Room,
}

/// How much room a card has behind the length that it claims, in bytes.
#[derive(Clone, Copy, Debug)]
enum Room {
    AsClaimed,
    Wraps(u64),
    Hollow(u64),
}

/// A part of a request that stays together on the inner medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it lies on the inner medium; nowhere, if it is swallowed.
    pub(crate) address: Option<u64>,
    /// Its bytes within the request's buffer.
    pub(crate) range: Range<usize>,
}

impl Faults {
    /// Adds a fault behind the others.
    pub(crate) fn declare(&mut self, fault: Fault) {
        self.armed.push(Armed { fault, count: 0 });
    }

    /// Forgets all faults.
    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// Decides on a request. A refusal ends it: faults declared later don't see it.
    pub(crate) fn treat(&mut self, kind: RequestKind, extent: Extent) -> Treatment {
        let mut treatment = Treatment::new(kind, extent);
        for armed in &mut self.armed {
            treatment.refusal = armed.removal(kind, extent, &mut treatment).or_else(|| {
                armed.room(kind, extent, &mut treatment).or_else(|| {
                    if kind == RequestKind::Read {
                        armed.read(extent, &mut treatment)
                    } else {
                        armed.write(kind, extent, &mut treatment)
                    }
                })
            });
            if treatment.refusal.is_some() {
                break;
            }
        }
        treatment
    }
}

impl Armed {
    /// Counts what passes, and refuses everything once the medium is gone.
    fn removal(
        &mut self,
        kind: RequestKind,
        extent: Extent,
        treatment: &mut Treatment,
    ) -> Option<BlockErrorKind> {
        let (limit, passing) = match self.fault {
            Fault::GoneAfter(bytes) | Fault::MuteAfter(bytes) => (bytes, extent.len()),
            Fault::GoneAfterWrites(writes) | Fault::PowerCutAfterWrites { writes, .. } => {
                (writes, u64::from(kind.is_write()))
            }
            _ => return None,
        };
        if self.count >= limit {
            return Some(match self.fault {
                Fault::MuteAfter(_) => BlockErrorKind::Io,
                _ => BlockErrorKind::Gone,
            });
        }
        self.count = self.count.saturating_add(passing);
        if let Fault::PowerCutAfterWrites { unflushed, .. } = self.fault {
            treatment.is_volatile = true;
            if self.count == limit {
                treatment.cut = Some(unflushed);
            }
        }
        None
    }

    /// Tells of a medium that is smaller than it says.
    fn room(
        &self,
        kind: RequestKind,
        extent: Extent,
        treatment: &mut Treatment,
    ) -> Option<BlockErrorKind> {
        match self.fault {
            Fault::EndsAt(end) if extent.end() > end => Some(if kind.is_write() {
                BlockErrorKind::NoSpace
            } else {
                BlockErrorKind::ShortRead
            }),
            Fault::WrapsAt(len) => {
                treatment.room = Room::Wraps(len.max(1));
                None
            }
            Fault::HollowFrom(len) => {
                treatment.room = Room::Hollow(len);
                None
            }
            _ => None,
        }
    }

    fn read(&mut self, extent: Extent, treatment: &mut Treatment) -> Option<BlockErrorKind> {
        match self.fault {
            Fault::Unreadable(bad) if bad.overlaps(extent) => return Some(BlockErrorKind::Io),
            Fault::Flaky {
                extent: bad,
                failures,
            } if bad.overlaps(extent) && self.count < u64::from(failures) => {
                self.count += 1;
                return Some(BlockErrorKind::Io);
            }
            Fault::Slow {
                extent: slow,
                delay,
            } if slow.overlaps(extent) => treatment.delay += delay,
            Fault::BitFlip { offset, mask } => treatment.flips.push((offset, mask)),
            _ => {}
        }
        None
    }

    fn write(
        &mut self,
        kind: RequestKind,
        extent: Extent,
        treatment: &mut Treatment,
    ) -> Option<BlockErrorKind> {
        let (is_touched, times) = match self.fault {
            Fault::Unwritable { extent: own, times }
            | Fault::DropsWrites { extent: own, times }
            | Fault::MisdirectsWrites {
                extent: own, times, ..
            } => (own.overlaps(extent), times),
            Fault::FlipsOnWrite { offset, times, .. } => (extent.contains(offset), times),
            Fault::FlushFails(times) => (kind == RequestKind::Flush, times),
            Fault::WriteProtected if kind.is_write() => return Some(BlockErrorKind::ReadOnly),
            Fault::SlowWrites { extent: own, delay } if own.overlaps(extent) => {
                treatment.delay += delay;
                return None;
            }
            _ => return None,
        };
        if !is_touched || !times.strikes_after(self.count) {
            return None;
        }
        self.count += 1;
        match self.fault {
            Fault::DropsWrites { extent: own, .. } => treatment.astray.push((own, None)),
            Fault::MisdirectsWrites {
                extent: own, to, ..
            } => treatment.astray.push((own, Some(to))),
            Fault::FlipsOnWrite { offset, mask, .. } => treatment.flips.push((offset, mask)),
            _ => return Some(BlockErrorKind::Io),
        }
        None
    }
}

impl Treatment {
    /// Returns the treatment of a request that no fault touches.
    fn new(kind: RequestKind, extent: Extent) -> Self {
        Self {
            kind,
            extent,
            refusal: None,
            delay: Duration::ZERO,
            cut: None,
            is_volatile: false,
            flips: Vec::new(),
            astray: Vec::new(),
            room: Room::AsClaimed,
        }
    }

    /// Tells whether what is to be zero becomes zero.
    pub(crate) fn leaves_zeros(&self) -> bool {
        self.kind == RequestKind::Zeros && self.flips.is_empty()
    }

    /// Flips in `bytes`, which belong at `offset`, what is to be flipped.
    pub(crate) fn flip(&self, offset: u64, bytes: &mut [u8]) {
        let own = Extent::between(offset, offset.saturating_add(bytes.len() as u64));
        for &(at, mask) in &self.flips {
            if own.contains(at)
                && let Ok(index) = usize::try_from(at - offset)
            {
                bytes[index] ^= mask;
            }
        }
    }

    /// Returns `bytes`, which belong at `offset`, as [`Treatment::flip`] makes them.
    pub(crate) fn flipped<'a>(&self, offset: u64, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.flips.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut own = bytes.to_vec();
        self.flip(offset, &mut own);
        Cow::Owned(own)
    }

    /// Returns where the bytes of `extent` lie on the inner medium, in address order; what is
    /// dropped lies nowhere.
    pub(crate) fn pieces(&self, extent: Extent) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut position = extent.start();
        while position < extent.end() {
            let (address, end) = self.place(position);
            let end = end.min(extent.end());
            // OK to cast: offsets within a buffer in memory.
            let range = (position - extent.start()) as usize..(end - extent.start()) as usize;
            pieces.push(Piece { address, range });
            position = end;
        }
        pieces
    }

    /// Returns where the byte at `position` lies, and where the next thing happens.
    fn place(&self, position: u64) -> (Option<u64>, u64) {
        let (address, mut end) = match self.room {
            Room::AsClaimed => (Some(position), u64::MAX),
            Room::Wraps(len) => {
                let address = position % len;
                (Some(address), position.saturating_add(len - address))
            }
            Room::Hollow(len) if position < len => (Some(position), len),
            Room::Hollow(_) => (None, u64::MAX),
        };
        for &(own, to) in &self.astray {
            if own.contains(position) {
                let address = to.map(|to| to.saturating_add(position - own.start()));
                return (address, end.min(own.end()));
            }
            if own.start() > position {
                end = end.min(own.start());
            }
        }
        (address, end)
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Piece};
    use crate::fault::{Fault, RequestKind, Times};
    use cardkeep_block::Extent;

    fn pieces(faults: &[Fault], extent: Extent) -> Vec<(Option<u64>, std::ops::Range<usize>)> {
        let mut list = Faults::default();
        for &fault in faults {
            list.declare(fault);
        }
        let treatment = list.treat(RequestKind::Write, extent);
        let pieces = treatment.pieces(extent).into_iter();
        pieces
            .map(|Piece { address, range }| (address, range))
            .collect()
    }

    #[test]
    fn a_request_falls_into_pieces_where_its_fate_changes() {
        let whole = Extent::between(1000, 5000);
        assert_eq!(pieces(&[], whole), [(Some(1000), 0..4000)]);
        assert_eq!(
            pieces(&[Fault::WrapsAt(2048)], whole),
            [
                (Some(1000), 0..1048),
                (Some(0), 1048..3096),
                (Some(0), 3096..4000)
            ]
        );
        assert_eq!(
            pieces(&[Fault::HollowFrom(2048)], whole),
            [(Some(1000), 0..1048), (None, 1048..4000)]
        );
        let drop = |start, end| Fault::DropsWrites {
            extent: Extent::between(start, end),
            times: Times::Always,
        };
        assert_eq!(
            pieces(&[drop(4000, 4512), drop(500, 1512)], whole),
            [
                (None, 0..512),
                (Some(1512), 512..3000),
                (None, 3000..3512),
                (Some(4512), 3512..4000)
            ]
        );
    }
}
