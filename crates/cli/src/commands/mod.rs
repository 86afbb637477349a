//! One room for each command: from arguments to what `ops` does to what is shown.

mod backup;
mod confirm;
mod generate;
mod info;
mod list;
mod question;
mod restore;
mod sample;
mod shrink;
mod verify;

use cardkeep_ops::{OpError, OpErrorKind, Signals};

use crate::args::{Args, Command};
use crate::exit::Done;

/// Does what the command line says.
pub(crate) fn run(args: Args) -> Result<Done, OpError> {
    match args.command {
        Command::List(args) => list::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => restore::restore(args),
        Command::Clone(args) => restore::clone(args),
        Command::Shrink(args) => shrink::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Sample(args) => sample::run(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    }
}

/// Name and version of the program, as images tell them.
const TOOL: &str = concat!("cardkeep ", env!("CARGO_PKG_VERSION"));

/// Returns the day, as `2026-11-22`.
fn today() -> String {
    jiff::Zoned::now().date().to_string()
}

/// Lets signals say that the work is to stop, or ask how far it is.
fn signals() -> Result<Signals, OpError> {
    Signals::catch().map_err(|error| {
        OpError::new(OpErrorKind::Internal, "signals can't be caught").caused_by(error)
    })
}

/// Returns how many threads the machine runs at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns how a command ended, by the trouble there was.
fn done(troubles: &[cardkeep_ops::Trouble]) -> Done {
    if troubles.is_empty() {
        Done::Well
    } else {
        Done::Troubled
    }
}
