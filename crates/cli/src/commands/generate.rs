//! `cardkeep completions` and `cardkeep man`: made from the command line's definition.

use cardkeep_ops::{OpError, OpErrorKind};
use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::exit::Done;

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Done, OpError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "cardkeep", &mut script);
    anstream::print!("{}", String::from_utf8_lossy(&script));
    Ok(Done::Well)
}

pub(crate) fn man(args: &ManArgs) -> Result<Done, OpError> {
    clap_mangen::generate_to(Args::command(), &args.dir).map_err(|error| {
        let message = format!("the man pages can't be written to {}", args.dir.display());
        OpError::new(OpErrorKind::Environment, message).caused_by(error)
    })?;
    Ok(Done::Well)
}
