//! How hard a failing source is tried, as data.

use std::time::Duration;

use crate::rescue::health::Health;

/// What becomes of bytes that can't be read after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// The image gets zeros there, and says so.
    Recorded,
    /// There is no image: what was read is kept for another try.
    Refused,
}

/// How hard a failing source is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often bad sectors are tried again, after all else was read.
    pub retries: u32,
    /// How long one failed area may take in each pass over it; `None` is as long as it takes.
    pub area_time_max: Option<Duration>,
    /// How far reading jumps ahead behind the first error or slow request, in bytes. It jumps
    /// twice as far behind each further one.
    pub skip_bytes: u64,
    /// A request is slow that takes at least this long, and eight times what others of its size
    /// take.
    pub slow_time_min: Duration,
    /// So many slow requests in a row are put off although nothing failed. One alone may be a card that
    /// tidies up.
    pub slow_streak: u32,
    /// What becomes of what can't be read.
    pub holes: Holes,
}

impl RetryPolicy {
    /// Tells whether a request of `bytes` should not have taken as long as `time`, by what `health` knows.
    pub(crate) fn is_slow(&self, health: &Health, bytes: u64, time: Duration) -> bool {
        time >= self.slow_time_min && health.is_slow(bytes, time)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 1,
            area_time_max: None,
            skip_bytes: 1 << 20,
            slow_time_min: Duration::from_millis(500),
            slow_streak: 3,
            holes: Holes::Recorded,
        }
    }
}
