//! A monitor that keeps what it hears, and wants the work to stop when a test says so.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cardkeep_block::{Monitor, Phase, Trouble};

/// When the work is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Not at all.
    #[default]
    Never,
    /// Once it was asked for so many times whether to stop; with 0 at once.
    AfterQuestions(usize),
    /// Once so many bytes are copied.
    AfterCopied(u64),
    /// From this moment on.
    At(Instant),
}

/// Keeps what it hears.
#[derive(Debug, Default)]
pub struct Recorder {
    phases: Mutex<Vec<Phase>>,
    troubles: Mutex<Vec<Trouble>>,
    copied: AtomicU64,
    verified: AtomicU64,
    questions: AtomicUsize,
    stop: Stop,
}

impl Recorder {
    /// Returns one that never wants the work to stop.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns one that wants the work to stop.
    #[must_use]
    pub fn stopping(stop: Stop) -> Self {
        Self {
            stop,
            ..Self::default()
        }
    }

    /// Returns the phases that began so far.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        locked(&self.phases).clone()
    }

    /// Returns the troubles so far.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        locked(&self.troubles).clone()
    }

    /// Returns how many bytes were said to be copied.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were said to be done in all other phases.
    #[must_use]
    pub fn verified_bytes(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }
}

impl Monitor for Recorder {
    fn phase(&self, phase: Phase, _: Option<u64>) {
        locked(&self.phases).push(phase);
    }

    fn advance(&self, phase: Phase, bytes: u64) {
        let counter = match phase {
            Phase::Copy => &self.copied,
            _ => &self.verified,
        };
        counter.fetch_add(bytes, Ordering::Relaxed);
    }

    fn trouble(&self, trouble: Trouble) {
        locked(&self.troubles).push(trouble);
    }

    fn is_cancelled(&self) -> bool {
        let asked = self.questions.fetch_add(1, Ordering::Relaxed);
        match self.stop {
            Stop::Never => false,
            Stop::AfterQuestions(count) => asked >= count,
            Stop::AfterCopied(bytes) => self.copied_bytes() >= bytes,
            Stop::At(moment) => Instant::now() > moment,
        }
    }
}

fn locked<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
