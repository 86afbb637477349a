//! `cardkeep completions` and `cardkeep man`: made from the command line's definition.

use std::path::Path;

use cardkeep_ops::{OpError, OpErrorKind, TextFile, path_text};
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::done::Done;
use crate::terminal::{self, Stream};

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Done, OpError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "cardkeep", &mut script);
    terminal::write_styled(Stream::Out, &String::from_utf8_lossy(&script));
    Ok(Done::Well)
}

pub(crate) fn man(args: &ManArgs) -> Result<Done, OpError> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, &args.dir)?;
    Ok(Done::Well)
}

/// Writes the page of a command, and those of its subcommands. What already has a page's name is
/// replaced, never written to: it may be a link that leads elsewhere, or a pipe.
fn write_pages(command: &Command, folder: &Path) -> Result<(), OpError> {
    for inner in command.get_subcommands().filter(|own| !own.is_hide_set()) {
        write_pages(inner, folder)?;
    }
    let page = Man::new(command.clone());
    let path = folder.join(page.get_filename());
    let failed = |path: &Path| {
        let message = format!("the man page {} can't be written", path_text(path));
        OpError::new(OpErrorKind::Environment, message)
    };
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|error| failed(&path).caused_by(error))?;
    let file = TextFile::new(&path).for_everybody();
    file.replace(&text)
        .map_err(|error| failed(&path).caused_by(error))
}
