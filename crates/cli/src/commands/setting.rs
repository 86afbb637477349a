//! What commands ask of the process that they run in: its version, the day, signals, processors.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

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

/// Where the system has standard input, which is `-` on the command line.
const STANDARD_INPUT: &str = "/dev/stdin";

/// Returns the path of the image that was named.
///
/// # Errors
/// [`OpErrorKind::Usage`] for standard input that is a terminal.
pub(super) fn image_path(image: PathBuf) -> Result<PathBuf, OpError> {
    if image != Path::new("-") {
        return Ok(image);
    }
    if std::io::stdin().is_terminal() {
        let message = "no image comes from a terminal";
        return Err(OpError::new(OpErrorKind::Usage, message)
            .hint("name a file, or let a program write to standard input"));
    }
    Ok(PathBuf::from(STANDARD_INPUT))
}
