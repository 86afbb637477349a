//! A gate on the way to a medium, by which a test stops a program at the n-th request.
//!
//! A moment is a count, not a time: however busy the machine is, the program is just there when it is
//! struck, as its request waits for an answer.
//!
//! Main type: [`Gate`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it is asked whether a program that never comes to the gate has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// A gate that lets so many requests pass and holds the others, until it is opened or dropped.
#[derive(Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// How many requests may still pass.
    left: u64,
    is_reached: bool,
    is_open: bool,
}

impl Gate {
    /// Returns a gate that lets this many requests pass, and what their medium asks.
    pub(crate) fn after(requests: u64) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                left: requests,
                is_reached: false,
                is_open: false,
            }),
            changed: Condvar::new(),
        });
        (Self(Arc::clone(&shared)), shared)
    }

    /// Waits until a request is held, or until `is_over`; tells whether one is held.
    pub fn wait(&self, mut is_over: impl FnMut() -> bool) -> bool {
        let mut state = self.0.lock();
        while !state.is_reached && !is_over() {
            let waited = self.0.changed.wait_timeout(state, PAUSE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_reached
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.0.lock().is_open = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Nothing that still waits could end otherwise.
        self.open();
    }
}

impl Shared {
    /// Lets a request pass, at once or when the gate is opened.
    pub(crate) fn pass(&self) {
        let mut state = self.lock();
        if state.is_open {
            return;
        }
        if let Some(left) = state.left.checked_sub(1) {
            state.left = left;
            return;
        }
        state.is_reached = true;
        self.changed.notify_all();
        while !state.is_open {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
