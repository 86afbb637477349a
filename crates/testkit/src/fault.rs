//! The ways in which a medium can fail: the vocabulary of [`crate::FaultyMedium`].
//!
//! Places are bytes of the address space that the user of the medium sees, also where a fault
//! says that the medium has less room than it claims.

use std::time::Duration;

use cardkeep_block::Extent;

/// One way in which a medium fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Every read that touches these bytes fails with `BlockErrorKind::Io`.
    Unreadable(Extent),
    /// The first `failures` reads that touch these bytes fail, later ones are served.
    Flaky {
        /// Where.
        extent: Extent,
        /// How many requests fail.
        failures: u32,
    },
    /// Every read that touches these bytes takes this much longer.
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

    /// Writes that touch these bytes fail with `BlockErrorKind::Io` and leave the medium as it
    /// was.
    Unwritable {
        /// Where.
        extent: Extent,
        /// How many requests fail.
        times: Times,
    },
    /// Writes are answered as good, but these bytes of them never arrive.
    DropsWrites {
        /// Where.
        extent: Extent,
        /// How many requests are dropped.
        times: Times,
    },
    /// Writes are answered as good, but these bytes of them land elsewhere.
    MisdirectsWrites {
        /// Where they belong.
        extent: Extent,
        /// Where the first byte of `extent` lands; as much room must be there.
        to: u64,
        /// How many requests go astray.
        times: Times,
    },
    /// Writes store the byte at `offset` with the bits of `mask` flipped.
    FlipsOnWrite {
        /// Which byte.
        offset: u64,
        /// Which bits.
        mask: u8,
        /// How many requests are spoiled.
        times: Times,
    },
    /// Every write that touches these bytes takes this much longer.
    SlowWrites {
        /// Where.
        extent: Extent,
        /// By how much.
        delay: Duration,
    },
    /// Flushes fail with `BlockErrorKind::Io`: how a cache reports writes it could not deliver.
    FlushFails(Times),
    /// Every write fails with `BlockErrorKind::ReadOnly`: the switch at the card's side.
    WriteProtected,

    /// The medium claims its length but has no bytes from this offset on: reads fail with
    /// `BlockErrorKind::ShortRead`, writes with `BlockErrorKind::NoSpace`.
    EndsAt(u64),
    /// A counterfeit card of this many bytes: higher addresses are taken modulo this number, so
    /// that late writes destroy early ones.
    WrapsAt(u64),
    /// A counterfeit card of this many bytes: higher addresses read as zeros and swallow writes.
    HollowFrom(u64),

    /// Once this many bytes have been read and written since the fault was declared, nothing is
    /// served any more: `BlockErrorKind::Gone`.
    GoneAfter(u64),
    /// As [`Fault::GoneAfter`], but no error says that it is gone: every request fails with
    /// `BlockErrorKind::Io`, as those of many readers do.
    MuteAfter(u64),
    /// The first so many writes are served, then nothing is any more, not even reads:
    /// `BlockErrorKind::Gone`. What was written stays: a card torn out.
    GoneAfterWrites(u64),
    /// As [`Fault::GoneAfterWrites`], but what was not yet flushed suffers.
    PowerCutAfterWrites {
        /// How many writes are answered before the cut.
        writes: u64,
        /// What the cut does to the writes since the last flush.
        unflushed: Unflushed,
    },
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Every time.
    Always,
    /// The first so many requests that touch it.
    First(u32),
}

impl Times {
    /// Tells whether it still strikes after having struck `count` times.
    pub(crate) fn strikes_after(self, count: u64) -> bool {
        match self {
            Self::Always => true,
            Self::First(times) => count < u64::from(times),
        }
    }
}

/// What a power cut leaves of the writes that no flush made durable. A sector of 512 bytes is
/// either old or new: smaller units tear on no card known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unflushed {
    /// Nothing: all of them waited in a cache.
    Lost,
    /// All but the last one, of which only this many leading sectors arrived.
    Torn {
        /// How many sectors of 512 bytes.
        sectors: u64,
    },
    /// Any of their sectors, in no order: a cache that writes as it likes. The same seed picks
    /// the same sectors.
    Scattered {
        /// The seed of the choice.
        seed: u64,
    },
}

/// What was asked of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// `ReadAt::read_at`.
    Read,
    /// `WriteAt::write_at`.
    Write,
    /// `WriteAt::write_zeros`.
    Zeros,
    /// `WriteAt::flush`, whose extent is empty.
    Flush,
}

impl RequestKind {
    /// Tells whether it changes bytes.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Zeros)
    }
}
