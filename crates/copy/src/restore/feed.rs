//! The feed: a window of frames that several cards read, each at its own pace.
//!
//! The fastest card is never held up: where the window is full and somebody waits for more, the
//! oldest frame goes, and who had not taken it is left behind, to read the original on its own
//! from there. Where the original can be read only once, the fastest waits for the slowest.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::CopyError;
use crate::restore::frame::Frame;

/// What a card gets from the feed.
enum Fed {
    /// The next frame.
    Frame(Arc<Frame>),
    /// There are no more.
    End,
    /// It was left behind: this frame is the next one that it needs, and is gone.
    LeftBehind(usize),
}

/// Who fills a feed. When it goes without having said how it ended, it died, and nobody is to wait
/// for more.
pub(crate) struct Filling<'a>(&'a Feed);

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        let died = CopyError::Internal("the thread that reads the original died");
        self.0.end(Err(died));
    }
}

/// A reader's place at a feed. When it goes, whatever for, nobody is to wait for that reader.
pub(crate) struct Seat<'a>(&'a Feed, usize);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// What one card gets from the feed, as an iterator; why it ended is asked afterwards.
pub(crate) struct Frames<'a> {
    feed: &'a Feed,
    place: usize,
    left_behind: Option<usize>,
    failure: Option<CopyError>,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(feed: &'a Feed, place: usize) -> Self {
        Self {
            feed,
            place,
            left_behind: None,
            failure: None,
        }
    }

    /// Returns the frame from which on the card was left behind, where it was.
    ///
    /// # Errors
    /// [`CopyError::Original`] where the original failed.
    pub(crate) fn ended(self) -> Result<Option<usize>, CopyError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.left_behind),
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Arc<Frame>;

    fn next(&mut self) -> Option<Arc<Frame>> {
        match self.feed.next(self.place) {
            Ok(Fed::Frame(frame)) => return Some(frame),
            Ok(Fed::End) => {}
            Ok(Fed::LeftBehind(index)) => self.left_behind = Some(index),
            Err(error) => self.failure = Some(error),
        }
        None
    }
}

/// A window of frames.
pub(crate) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
    /// Whether a card may be left behind.
    may_leave_behind: bool,
}

struct State {
    frames: VecDeque<Arc<Frame>>,
    /// How many frames have left the window.
    gone: u64,
    readers: Vec<Reader>,
    end: Option<Result<(), Arc<CopyError>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// It has taken so many frames.
    Taken(u64),
    /// It waits, having taken so many: all there are.
    Waiting(u64),
    LeftBehind(usize),
    /// It wants no more.
    Done,
}

impl Feed {
    pub(crate) fn new(readers: usize, capacity: usize, may_leave_behind: bool) -> Self {
        let state = State {
            frames: VecDeque::new(),
            gone: 0,
            readers: vec![Reader::Taken(0); readers],
            end: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            capacity,
            may_leave_behind,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the part of who fills it.
    pub(crate) const fn filling(&self) -> Filling<'_> {
        Filling(self)
    }

    /// Takes the place of the reader at `place`.
    pub(crate) const fn seat(&self, place: usize) -> Seat<'_> {
        Seat(self, place)
    }

    /// Adds the next frame, waiting for room; answers whether anybody wants more.
    pub(crate) fn push(&self, frame: Frame) -> bool {
        let mut state = self.lock();
        loop {
            if !state.is_wanted() {
                return false;
            }
            state.drop_taken();
            if state.frames.len() < self.capacity {
                break;
            }
            if self.may_leave_behind && state.somebody_waits() {
                state.leave_behind();
            } else {
                state = self.wait(state);
            }
        }
        state.frames.push_back(Arc::new(frame));
        self.changed.notify_all();
        true
    }

    /// Tells that no more frames come, and why. The first word counts.
    pub(crate) fn end(&self, result: Result<(), CopyError>) {
        self.lock().end.get_or_insert(result.map_err(Arc::new));
        self.changed.notify_all();
    }

    /// Returns the next frame for the reader at `place`, waiting for it.
    ///
    /// # Errors
    /// [`CopyError::Original`] where the original failed.
    fn next(&self, place: usize) -> Result<Fed, CopyError> {
        let mut state = self.lock();
        loop {
            let taken = match state.readers.get(place) {
                Some(Reader::Taken(taken) | Reader::Waiting(taken)) => *taken,
                Some(Reader::LeftBehind(index)) => return Ok(Fed::LeftBehind(*index)),
                Some(Reader::Done) | None => return Ok(Fed::End),
            };
            // Never less: who is behind the window was left behind.
            let position = taken.saturating_sub(state.gone) as usize;
            if let Some(frame) = state.frames.get(position).cloned() {
                state.readers[place] = Reader::Taken(taken + 1);
                self.changed.notify_all();
                return Ok(Fed::Frame(frame));
            }
            if let Some(end) = &state.end {
                return match end {
                    Ok(()) => Ok(Fed::End),
                    Err(error) => Err(CopyError::Original(Arc::clone(error))),
                };
            }
            if state.readers[place] != Reader::Waiting(taken) {
                state.readers[place] = Reader::Waiting(taken);
                self.changed.notify_all();
            }
            state = self.wait(state);
        }
    }

    /// Tells that the reader at `place` wants no more.
    pub(crate) fn leave(&self, place: usize) {
        if let Some(reader) = self.lock().readers.get_mut(place) {
            *reader = Reader::Done;
        }
        self.changed.notify_all();
    }
}

impl State {
    fn is_wanted(&self) -> bool {
        let wants = |reader: &Reader| matches!(reader, Reader::Taken(_) | Reader::Waiting(_));
        self.readers.iter().any(wants)
    }

    /// Tells whether a reader has taken all there is and waits for more. One that only has not
    /// woken up yet doesn't count.
    fn somebody_waits(&self) -> bool {
        let all = self.gone + self.frames.len() as u64;
        self.readers.contains(&Reader::Waiting(all))
    }

    /// Drops the frames that everybody has taken.
    fn drop_taken(&mut self) {
        let taken = self.readers.iter().filter_map(|reader| match reader {
            Reader::Taken(taken) | Reader::Waiting(taken) => Some(*taken),
            _ => None,
        });
        let Some(least) = taken.min() else { return };
        while self.gone < least && self.frames.pop_front().is_some() {
            self.gone += 1;
        }
    }

    /// Drops the oldest frame, even if a card has not taken it yet.
    fn leave_behind(&mut self) {
        let Some(frame) = self.frames.pop_front() else {
            return;
        };
        let gone = self.gone;
        for reader in &mut self.readers {
            // One that waits for this very frame and has not woken up yet is as far behind.
            if [Reader::Taken(gone), Reader::Waiting(gone)].contains(reader) {
                *reader = Reader::LeftBehind(frame.index);
            }
        }
        self.gone += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Fed, Feed, Reader};
    use crate::error::CopyError;
    use crate::restore::frame::Frame;
    use cardkeep_block::Extent;
    use cardkeep_image::zero_digest;
    use std::time::Duration;

    fn frame(index: usize) -> Frame {
        let start = index as u64;
        Frame {
            index,
            extent: Extent::between(start, start + 1),
            runs: Vec::new(),
            digest: zero_digest(1),
            content: None,
        }
    }

    fn take(feed: &Feed, place: usize) -> Option<usize> {
        match feed.next(place).unwrap() {
            Fed::Frame(frame) => Some(frame.index),
            Fed::End => None,
            Fed::LeftBehind(index) => Some(1000 + index),
        }
    }

    #[test]
    fn everybody_gets_every_frame_in_order() {
        let feed = Feed::new(3, 2, false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for index in 0..40 {
                    assert!(feed.push(frame(index)));
                }
                feed.end(Ok(()));
            });
            for place in 0..3 {
                let feed = &feed;
                scope.spawn(move || {
                    let got: Vec<usize> = std::iter::from_fn(|| {
                        std::thread::sleep(Duration::from_micros(place as u64 * 300));
                        take(feed, place)
                    })
                    .collect();
                    assert_eq!(got, (0..40).collect::<Vec<usize>>());
                });
            }
        });
    }

    #[test]
    fn who_is_too_slow_is_left_behind_where_it_stood() {
        let feed = Feed::new(2, 2, true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for index in 0..10 {
                    assert!(feed.push(frame(index)));
                }
                feed.end(Ok(()));
            });
            assert_eq!(take(&feed, 1), Some(0));
            for index in 0..10 {
                assert_eq!(take(&feed, 0), Some(index));
            }
            assert_eq!(take(&feed, 0), None);
            assert_eq!(take(&feed, 1), Some(1001));
        });
    }

    #[test]
    fn who_waited_and_did_not_wake_up_in_time_misses_no_frame() {
        let feed = Feed::new(2, 2, true);
        feed.lock().readers[1] = Reader::Waiting(0);
        for index in 0..2 {
            assert!(feed.push(frame(index)));
            assert_eq!(take(&feed, 0), Some(index));
        }
        feed.lock().readers[0] = Reader::Waiting(2);
        assert!(feed.push(frame(2)));
        assert_eq!(take(&feed, 1), Some(1000));
    }

    #[test]
    fn nobody_waits_for_who_has_left() {
        let feed = Feed::new(2, 1, false);
        feed.leave(1);
        assert!(feed.push(frame(0)));
        assert_eq!(take(&feed, 0), Some(0));
        assert!(feed.push(frame(1)));
        feed.leave(0);
        assert!(!feed.push(frame(2)));
    }

    #[test]
    fn the_failure_of_the_original_reaches_everybody_after_the_last_frame() {
        let feed = Feed::new(2, 2, true);
        assert!(feed.push(frame(0)));
        feed.end(Err(CopyError::Interrupted));
        for place in 0..2 {
            assert_eq!(take(&feed, place), Some(0));
            assert!(matches!(feed.next(place), Err(CopyError::Original(_))));
        }
    }
}
