//! The program under test, run as a user runs it.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code; -1 where a signal ended it.
    pub(crate) code: i32,
    /// What it wrote on stdout.
    pub(crate) stdout: String,
    /// What it wrote on stderr.
    pub(crate) stderr: String,
}

impl Answer {
    /// Asserts the exit code, and returns the answer.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is no JSON ({e}):\n{}", self.stdout))
    }
}

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
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
