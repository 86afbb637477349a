//! cardkeep: backs up a Raspberry Pi's SD card and puts it back.
//!
//! The only floor that prints, asks and exits. Each command has a room in `commands`; what it
//! finds out comes from `cardkeep-ops`, and is shown by `text` or `json`.

mod args;
mod commands;
mod exit;
mod json;
mod progress;
mod report;
mod text;
mod units;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    let output = args.output();
    match commands::run(args) {
        Ok(done) => done.code(),
        Err(error) => exit::fail(&error, output),
    }
}
