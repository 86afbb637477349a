//! What commands ask of the process that they run in: its version, the day, signals, processors.

use cardkeep_ops::{OpError, OpErrorKind, Signals};

/// Name and version of the program, as images tell them.
pub(super) const TOOL: &str = concat!("cardkeep ", env!("CARGO_PKG_VERSION"));

/// Returns the day, as `2026-11-22`.
pub(super) fn today() -> String {
    jiff::Zoned::now().date().to_string()
}

/// Lets signals say that the work is to stop, or ask how far it is.
pub(super) fn signals() -> Result<Signals, OpError> {
    Signals::catch().map_err(|error| {
        OpError::new(OpErrorKind::Internal, "can't catch signals").caused_by(error)
    })
}

/// Returns how many threads the machine runs at once.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
