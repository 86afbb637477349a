//! All tests, the second tier with them: whole matrices, more moments of each fault, the virtual machine.

use std::path::Path;
use std::process::Command;

use crate::lab;

/// Makes the tests run their whole matrices.
const BIG_MATRIX: (&str, &str) = ("CARDKEEP_ORACLE", "1");
/// Names the folder of the virtual machine.
const GUEST_VARIABLE: &str = "CARDKEEP_GUEST";

/// Runs the tests of both tiers. Where the virtual machine can't be made, says why and goes without it.
///
/// # Errors
/// Says that tests failed or could not be started.
pub(crate) fn run_all(root: &Path) -> Result<(), String> {
    let mut tests = Command::new(env!("CARGO"));
    tests.current_dir(root).env(BIG_MATRIX.0, BIG_MATRIX.1);
    if has_nextest(root) {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        tests.args(["test", "--workspace", "--no-fail-fast"]);
    }
    if std::env::var_os(GUEST_VARIABLE).is_none() {
        match lab::make(root) {
            Ok(machine) => {
                tests.env(GUEST_VARIABLE, machine);
            }
            Err(why) => eprintln!("without the virtual machine: {why}"),
        }
    }
    let status = tests.status().map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the tests ended with {status}"))
    }
}

fn has_nextest(root: &Path) -> bool {
    let mut asked = Command::new(env!("CARGO"));
    let asked = asked.args(["nextest", "--version"]).current_dir(root);
    asked.output().is_ok_and(|answer| answer.status.success())
}
