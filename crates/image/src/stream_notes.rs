//! What is worth reporting of a stream besides its content: shared between the decoders, which find
//! it, and the reader of the stream.

use std::sync::{Arc, Mutex, PoisonError};

/// So many are kept: hostile bytes make no more.
const NOTES_MAX: usize = 16;

/// Notes of one stream, however often it is opened; none is there twice.
#[derive(Clone, Debug, Default)]
pub struct StreamNotes {
    notes: Arc<Mutex<Vec<String>>>,
}

impl StreamNotes {
    /// Returns the notes so far; what follows the content is known at its end only.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    pub(crate) fn add(&self, note: String) {
        let mut notes = self.lock();
        if notes.len() < NOTES_MAX && !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
