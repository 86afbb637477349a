//! The program under test, run as a user runs it.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

pub(crate) use cardkeep_testkit::Answer;

/// Runs `cardkeep` with these arguments and an empty stdin.
pub(crate) fn cardkeep<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    cardkeep_reading(Stdio::null(), arguments)
}

/// Runs `cardkeep` with these arguments and this stdin.
pub(crate) fn cardkeep_reading<S: AsRef<OsStr>>(
    stdin: Stdio,
    arguments: impl IntoIterator<Item = S>,
) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_cardkeep"))
        .args(arguments)
        .stdin(stdin)
        .output()
        .expect("the program starts");
    output.into()
}
