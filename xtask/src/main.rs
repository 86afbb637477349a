//! `cargo xtask`: what a developer runs by hand and CI runs always.
//!
//! This room only sorts out the arguments; each task has a file of its own name.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a door: it talks to the developer"
)]

mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask tidy [--accept]

  tidy            check the house rules; --accept stores the hashes of the modules
                  that docs/format describes, once the text is right again";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["tidy"] => tidy::run(&project_root()),
        ["tidy", "--accept"] => tidy::accept(&project_root()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the folder that holds the workspace's `Cargo.toml`.
fn project_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
