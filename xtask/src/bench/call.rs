//! One call of a program on the way to a measurement: its failure is an answer, not the end.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Runs `program` and waits for its end.
///
/// # Errors
/// Says that it is missing, or what it said when it failed.
pub(crate) fn call<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Result<(), String> {
    let name = program.as_ref().display().to_string();
    let output = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("can't run {name}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name}: {}: {}", output.status, said.trim()))
}

/// Runs `script` in bash with `$1` and following; any program of a pipe may make it fail.
///
/// # Errors
/// As [`call`].
pub(crate) fn bash<S: AsRef<OsStr>>(
    script: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<(), String> {
    let script = format!("set -euo pipefail; {script}");
    let mut command = vec!["-c".into(), script.into(), "bash".into()];
    command.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
    call("bash", command)
}
