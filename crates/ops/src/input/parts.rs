//! Parts of a stream: of content that can only be read in order, as much as a search needs.
//!
//! The search runs, and fails at the first byte that is not there; the stream is then read up to
//! that byte, and the search starts again. Growing a filesystem looks at six places or so, one
//! after the other.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Monitor, Operation, ReadAt};
use cardkeep_copy::{CopyError, read_content};
use cardkeep_image::FRAME_BYTES;

/// What is read around a byte that was missed: metadata lies together.
const WINDOW_BYTES: u64 = 4 << 20;
/// How much is held at most. A filesystem that needs more keeps its size.
const HELD_BYTES_MAX: u64 = 48 << 20;
/// How often the stream is read.
const ROUNDS_MAX: usize = 12;

/// Content of which only some parts are there.
#[derive(Debug)]
struct Parts {
    len: u64,
    held: Vec<(Extent, Vec<u8>)>,
    missed: Mutex<Option<Extent>>,
}

impl Parts {
    fn copy(&self, wanted: Extent, buffer: &mut [u8]) -> Option<()> {
        let mut position = wanted.start();
        while position < wanted.end() {
            let part = self.held.iter().find(|(own, _)| own.contains(position));
            let Some((own, bytes)) = part else {
                self.miss(Extent::between(position, wanted.end()));
                return None;
            };
            let end = own.end().min(wanted.end());
            // OK to cast: all are offsets within bytes in memory.
            let from = (position - own.start()) as usize;
            let to = (position - wanted.start()) as usize;
            let len = (end - position) as usize;
            buffer[to..to + len].copy_from_slice(&bytes[from..from + len]);
            position = end;
        }
        Some(())
    }

    fn miss(&self, extent: Extent) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.get_or_insert(extent);
    }
}

impl ReadAt for Parts {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let wanted = self.bounded(offset, buffer.len())?;
        self.copy(wanted, buffer)
            .ok_or_else(|| BlockError::new(BlockErrorKind::Io, Operation::Read).at(wanted))
    }
}

/// Lets `look` look at content of `len` bytes, which `open` delivers from its beginning on.
/// `None` where it wants to see too much.
///
/// # Errors
/// What reading the content answers; [`CopyError::Interrupted`].
pub(crate) fn look_at_stream<T>(
    len: u64,
    open: impl Fn() -> Result<Box<dyn Read + Send>, CopyError>,
    monitor: &dyn Monitor,
    look: impl Fn(&Arc<dyn ReadAt>) -> T,
) -> Result<Option<T>, CopyError> {
    let mut held = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let parts = Arc::new(Parts {
            len,
            held,
            missed: Mutex::default(),
        });
        let seen = look(&(Arc::clone(&parts) as Arc<dyn ReadAt>));
        let missed = *parts.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(missed) = missed else {
            return Ok(Some(seen));
        };
        // What `look` returned may hold on to what it saw.
        drop(seen);
        held = match Arc::try_unwrap(parts) {
            Ok(parts) => parts.held,
            Err(parts) => parts.held.clone(),
        };
        let end = missed.end().max(missed.start() + WINDOW_BYTES).min(len);
        let window = Extent::between(missed.start(), end);
        let bytes: u64 = held.iter().map(|(own, _)| own.len()).sum();
        if bytes + window.len() > HELD_BYTES_MAX {
            return Ok(None);
        }
        held.push((window, window_of(&mut *open()?, window, monitor)?));
    }
    Ok(None)
}

/// Reads the stream up to the end of `window`, and returns what lies there.
fn window_of(
    content: &mut (dyn Read + Send),
    window: Extent,
    monitor: &dyn Monitor,
) -> Result<Vec<u8>, CopyError> {
    let mut bytes = Vec::new();
    let mut frame = vec![0; FRAME_BYTES];
    let mut position = 0;
    while position < window.end() {
        if monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        let done = read_content(content, &mut frame)?;
        if done == 0 {
            return Err(CopyError::Internal("a stream became shorter"));
        }
        let own = Extent::between(position, position + done as u64);
        let part = own.intersection(window);
        if !part.is_empty() {
            let from = (part.start() - position) as usize;
            bytes.extend_from_slice(&frame[from..from + part.len() as usize]);
        }
        position = own.end();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{ROUNDS_MAX, WINDOW_BYTES, look_at_stream};
    use cardkeep_block::{ReadAt, Silent};

    const LEN: u64 = 64 << 20;

    fn content() -> Vec<u8> {
        (0..LEN / 8).flat_map(u64::to_le_bytes).collect()
    }

    #[test]
    fn what_is_missed_is_fetched_and_looked_at_again() {
        let bytes = content();
        let opened = AtomicUsize::new(0);
        let open = || {
            opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Cursor::new(bytes.clone())) as Box<_>)
        };
        let places = [0, 5, WINDOW_BYTES - 4, LEN - 100];
        let look = |medium: &std::sync::Arc<dyn ReadAt>| {
            let read = |&place: &u64| medium.read_vec(place, 100).ok();
            places.iter().map(read).collect::<Option<Vec<_>>>()
        };
        let seen = look_at_stream(LEN, open, &Silent, look).unwrap().unwrap();
        for (place, seen) in places.into_iter().zip(seen.unwrap()) {
            let start = place as usize;
            assert_eq!(seen, &bytes[start..start + 100]);
        }
        assert_eq!(opened.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn who_wants_to_see_too_much_is_stopped() {
        let bytes = content();
        let opened = AtomicUsize::new(0);
        let open = || {
            opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Cursor::new(bytes.clone())) as Box<_>)
        };
        let look = |medium: &std::sync::Arc<dyn ReadAt>| {
            (0..LEN / 4096).all(|block| medium.read_vec(block * 4096, 4096).is_ok())
        };
        let seen = look_at_stream(LEN, open, &Silent, look).unwrap();
        assert_eq!(seen, None);
        assert!(opened.load(Ordering::Relaxed) <= ROUNDS_MAX);
    }
}
