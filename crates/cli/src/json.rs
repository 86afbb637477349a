//! The JSON of `--json`: one object on standard output; progress, trouble and errors as one object a
//! line on standard error. What they hold is [`cardkeep_ops::report`]'s.

use cardkeep_ops::report::{BackupDone, Document, Event};
use cardkeep_ops::{OpError, Phase, Trouble};
use serde::Serialize;
use serde_json::{Value, json};

use crate::terminal::{self, Stream};

/// Prints the result of a command.
pub(crate) fn print<T: Serialize>(command: &'static str, fields: T) {
    terminal::print_json(Stream::Out, &value(Document::new(command, fields)));
}

/// Prints what a backup did; to standard error where standard output carries the image.
pub(crate) fn print_backup(command: &'static str, done: BackupDone, has_image: bool) {
    match has_image {
        true => print(command, done),
        false => print_event(Event::done(done)),
    }
}

/// Prints how far the work is.
pub(crate) fn print_progress(phase: Phase, done: u64, total: Option<u64>, speed: f64) {
    print_event(Event::progress(phase, done, total, speed));
}

/// Prints something that went wrong without ending the work.
pub(crate) fn print_trouble(trouble: &Trouble) {
    print_event(Event::trouble(trouble));
}

/// Prints an error.
pub(crate) fn print_error(error: &OpError, code: u8) {
    print_event(Event::error(error, code));
}

fn print_event<T: Serialize>(event: Event<T>) {
    terminal::print_json(Stream::Err, &value(event));
}

fn value(record: impl Serialize) -> Value {
    // Records of numbers, texts and lists always serialize; their keys are texts.
    serde_json::to_value(record).unwrap_or_else(|error| json!({ "error": error.to_string() }))
}
