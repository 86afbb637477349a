//! One room for each command: from arguments to what `ops` does to what is shown.

mod backup;
mod confirm;
mod generate;
mod info;
mod list;
mod question;
mod restore;
mod sample;
mod setting;
mod shrink;
mod verify;

use cardkeep_ops::OpError;

use crate::args::{Args, Command};
use crate::done::Done;

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
