//! How fast a card reads, measured on what a backup would read anyway.

use std::time::{Duration, Instant};

use cardkeep_block::{AlignedBuffer, AllocationMap, ReadAt, State};

const REQUEST_BYTES: u64 = 4 << 20;
const MEASURE_BYTES: u64 = 64 << 20;
/// Long enough for a card to show its speed, short enough not to annoy.
const MEASURE_TIME: Duration = Duration::from_millis(1500);

/// Returns the speed of reading used bytes of `medium` in bytes per second; `None` where there
/// is too little to measure, or it can't be read.
#[must_use]
pub fn measure(medium: &dyn ReadAt, map: &AllocationMap) -> Option<u64> {
    let mut buffer = AlignedBuffer::new(REQUEST_BYTES as usize);
    let started = Instant::now();
    let mut read = 0;
    for extent in map.extents(State::Used) {
        let mut offset = extent.start();
        while offset < extent.end() {
            if read >= MEASURE_BYTES || started.elapsed() >= MEASURE_TIME {
                return speed(read, started.elapsed());
            }
            let size = REQUEST_BYTES.min(extent.end() - offset);
            medium.read_at(offset, &mut buffer[..size as usize]).ok()?;
            read += size;
            offset += size;
        }
    }
    speed(read, started.elapsed())
}

fn speed(bytes: u64, elapsed: Duration) -> Option<u64> {
    let micros = u64::try_from(elapsed.as_micros())
        .ok()
        .filter(|&micros| micros > 0)?;
    (bytes >= 1 << 20).then(|| bytes.saturating_mul(1_000_000) / micros)
}
