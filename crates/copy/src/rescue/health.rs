//! How well a medium reads: speed over its length, the slowest places, errors.
//!
//! Readers fill it, others draw it. Memory is bounded whatever the medium's length.

use std::time::Duration;

use cardkeep_block::Extent;

/// A curve of so many points is finer than any terminal draws.
const STRETCHES: u64 = 256;
/// How many of the slowest requests are remembered.
const SLOWEST: usize = 16;
/// A medium's typical speed is known after so many bytes.
const TYPICAL_BYTES_MIN: u64 = 4 << 20;
/// What takes so many times longer than what is typical is slow.
const SLOW_FACTOR: u128 = 8;

/// What is known of reading one stretch of the medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Bytes that were read.
    pub bytes: u64,
    /// How long the medium was busy with that.
    pub time: Duration,
    /// Requests that failed.
    pub errors: u64,
}

/// One request that took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowRead {
    /// What was asked for.
    pub extent: Extent,
    /// How long it took.
    pub time: Duration,
    /// Whether it was served.
    pub is_served: bool,
}

/// How well a medium reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    len: u64,
    stretches: Vec<Stretch>,
    slowest: Vec<SlowRead>,
    retries: u64,
}

impl Stretch {
    /// Returns the speed in bytes per second; `None` where nothing was read.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        let nanos = self.time.as_nanos();
        let speed = (u128::from(self.bytes) * 1_000_000_000).checked_div(nanos)?;
        // No source is that fast: the clock stood still.
        u64::try_from(speed).ok()
    }
}

impl Health {
    /// Returns what is known of a medium of `len` bytes before anything is read.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self {
            len,
            stretches: vec![Stretch::default(); len.min(STRETCHES) as usize],
            slowest: Vec::new(),
            retries: 0,
        }
    }

    /// Takes down that the medium was busy for `time` with a request of `extent`.
    pub fn record(&mut self, extent: Extent, time: Duration, is_served: bool) {
        let first = self.index(extent.start());
        let last = self.index(extent.end().saturating_sub(1)).max(first);
        for index in first..=last {
            let own = self.extent(index).intersection(extent).len();
            let Some(stretch) = self.stretches.get_mut(index) else {
                return;
            };
            if is_served {
                stretch.bytes += own;
                let nanos = time.as_nanos() * u128::from(own) / u128::from(extent.len().max(1));
                stretch.time += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            } else if index == first {
                stretch.errors += 1;
            }
        }
        self.remember(SlowRead {
            extent,
            time,
            is_served,
        });
    }

    /// Takes down that something was tried again that had failed before.
    pub fn retried(&mut self) {
        self.retries += 1;
    }

    fn remember(&mut self, read: SlowRead) {
        let place = self
            .slowest
            .partition_point(|other| other.time >= read.time);
        if place < SLOWEST {
            self.slowest.insert(place, read);
            self.slowest.truncate(SLOWEST);
        }
    }

    fn index(&self, offset: u64) -> usize {
        let count = self.stretches.len() as u128;
        (u128::from(offset) * count / u128::from(self.len.max(1))) as usize
    }

    /// Returns the place of a stretch: the smallest offset of its index, to that of the next.
    fn extent(&self, index: usize) -> Extent {
        let count = (self.stretches.len() as u128).max(1);
        let start = |index: usize| {
            (index as u128 * u128::from(self.len))
                .div_ceil(count)
                .min(u128::from(self.len)) as u64
        };
        Extent::between(start(index), start(index + 1))
    }

    /// Returns the stretches in address order; they tile the medium.
    pub fn stretches(&self) -> impl Iterator<Item = (Extent, Stretch)> + '_ {
        let stretches = self.stretches.iter().enumerate();
        stretches.map(|(index, stretch)| (self.extent(index), *stretch))
    }

    /// Returns the requests that took longest, the longest first.
    #[must_use]
    pub fn slowest(&self) -> &[SlowRead] {
        &self.slowest
    }

    /// Returns how many requests failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.errors).sum()
    }

    /// Returns how many requests repeated one that had failed.
    #[must_use]
    pub const fn retries(&self) -> u64 {
        self.retries
    }

    /// Returns all stretches as one.
    #[must_use]
    pub fn total(&self) -> Stretch {
        let mut total = Stretch::default();
        for stretch in &self.stretches {
            total.bytes += stretch.bytes;
            total.time += stretch.time;
            total.errors += stretch.errors;
        }
        total
    }

    /// Tells whether `bytes` should not have taken as long as `time`, by what is typical here.
    #[must_use]
    pub fn is_slow(&self, bytes: u64, time: Duration) -> bool {
        if self.total().bytes < TYPICAL_BYTES_MIN {
            return false;
        }
        let Some(speed) = self.typical_speed() else {
            return false;
        };
        let typical = u128::from(bytes) * 1_000_000_000 / u128::from(speed.max(1));
        time.as_nanos() > typical * SLOW_FACTOR
    }

    /// Returns the median speed of the stretches, in bytes per second: few slow ones don't make slowness
    /// typical, many do.
    fn typical_speed(&self) -> Option<u64> {
        let read = self.stretches.iter().filter(|stretch| stretch.bytes > 0);
        let mut speeds: Vec<u64> = read.filter_map(Stretch::bytes_per_second).collect();
        speeds.sort_unstable();
        speeds.get(speeds.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, SLOWEST};
    use cardkeep_block::Extent;
    use proptest::prelude::{prop, proptest};
    use std::time::Duration;

    proptest! {
        #[test]
        fn stretches_tile_the_medium_and_hold_what_was_read(
            len in 1..100_000_u64, reads in prop::collection::vec((0..100_000_u64, 1..5000_u64), 0..30)
        ) {
            let mut health = Health::new(len);
            let mut bytes = 0;
            for (start, size) in reads {
                let extent = Extent::between(start.min(len), (start + size).min(len));
                if !extent.is_empty() {
                    health.record(extent, Duration::from_micros(extent.len()), true);
                    bytes += extent.len();
                }
            }
            let mut end = 0;
            for (extent, _) in health.stretches() {
                assert_eq!(extent.start(), end);
                end = extent.end();
            }
            assert_eq!((end, health.total().bytes), (len, bytes));
        }
    }

    #[test]
    fn the_curve_shows_where_it_is_slow_and_where_it_fails() {
        let mut health = Health::new(256 << 20);
        for mib in 0..256_u64 {
            let extent = Extent::between(mib << 20, (mib + 1) << 20);
            let millis = if mib == 77 { 900 } else { 20 };
            health.record(extent, Duration::from_millis(millis), mib != 99);
        }
        let speeds: Vec<Option<u64>> = health
            .stretches()
            .map(|(_, s)| s.bytes_per_second())
            .collect();
        assert_eq!(speeds[76], Some(50 << 20));
        assert_eq!(speeds[77], Some((1 << 20) * 10 / 9));
        assert_eq!(speeds[99], None);
        assert_eq!(health.errors(), 1);
        assert_eq!(health.slowest()[0].extent.start(), 77 << 20);
        assert_eq!(health.slowest().len(), SLOWEST);
        assert!(health.is_slow(1 << 20, Duration::from_millis(300)));
        assert!(!health.is_slow(4 << 20, Duration::from_millis(300)));
    }

    #[test]
    fn few_slow_stretches_do_not_make_slowness_typical_and_many_do() {
        let mut health = Health::new(256 << 20);
        let mut read = |mib: u64, millis| {
            let extent = Extent::between(mib << 20, (mib + 1) << 20);
            health.record(extent, Duration::from_millis(millis), true);
            health.is_slow(1 << 20, Duration::from_millis(900))
        };
        (0..10).for_each(|mib| _ = read(mib, 1));
        assert!((10..19).all(|mib| read(mib, 900)));
        assert!(!(19..22).all(|mib| read(mib, 900)));
    }

    #[test]
    fn a_medium_without_bytes_has_no_curve() {
        let mut health = Health::new(0);
        health.record(Extent::default(), Duration::ZERO, false);
        assert_eq!((health.stretches().count(), health.errors()), (0, 0));
    }
}
