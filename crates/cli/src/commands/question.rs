//! A question on the terminal, and its answer: a line from standard input, unless a signal ends it.

use std::fmt;
use std::io::BufRead;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cardkeep_ops::{OpError, OpErrorKind, Signals};

use crate::terminal;

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(50);

/// Asks, and returns the line that was typed; an empty one where standard input ends.
///
/// # Errors
/// [`OpErrorKind::Interrupted`] where a signal came first.
pub(crate) fn ask(question: fmt::Arguments<'_>, signals: Signals) -> Result<String, OpError> {
    terminal::ask(question);
    let (send, receive) = channel();
    // A read from a terminal can't be called off: the thread that waits for it ends with the program.
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        // Nobody listens any more where a signal came first.
        drop(send.send(read.map(|_| answer)));
    });
    loop {
        match receive.recv_timeout(LOOK) {
            // What can't be read is no consent.
            Ok(answer) => return Ok(answer.unwrap_or_default()),
            Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if signals.is_interrupted() {
            let error = OpError::new(OpErrorKind::Interrupted, "stopped");
            return Err(error.hint("nothing was read or written yet"));
        }
    }
}
