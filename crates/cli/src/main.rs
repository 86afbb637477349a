//! cardkeep: backs up a Raspberry Pi's SD card and puts it back.
//!
//! The only floor that prints, asks and exits. Each command has a room in `commands`; what it
//! finds out comes from `cardkeep-ops`, and is shown by `text` or `json`. All text leaves by
//! `terminal`.

mod args;
mod commands;
mod done;
mod exit;
mod json;
mod progress;
mod quote;
mod report;
mod terminal;
mod text;
mod units;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match usage::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return exit::with_what_was_told(code, done::Telling::Everything),
    };
    let output = args.output();
    let telling = args.telling();
    let code = match commands::run(args) {
        Ok(done) => done.code(),
        Err(error) => exit::fail(&error, output),
    };
    exit::with_what_was_told(code, telling)
}
