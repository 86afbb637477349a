//! Leaving a test out, aloud.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::tool::tool;

/// Names the file that collects one line per test left out.
const LIST_VARIABLE: &str = "CARDKEEP_SKIPS";
/// Set to 1 to run the whole matrix of the oracle tests.
const BIG_MATRIX_VARIABLE: &str = "CARDKEEP_ORACLE";

/// Says that `test` is left out because it needs what is not there, on stderr and in the list of
/// `CARDKEEP_SKIPS`.
#[expect(clippy::print_stderr, reason = "the one place from which tests talk")]
pub fn skip(test: &str, needs: &str) {
    let line = format!("skipped: {test} needs {needs}");
    eprintln!("{line}");
    let Some(list) = std::env::var_os(LIST_VARIABLE) else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(list);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
        eprintln!("the list of skipped tests can't be written: {error}");
    }
}

/// Tells whether `test` must return at once because it needs root and loop devices, and says so.
#[must_use]
pub fn skip_unless_root(test: &str) -> bool {
    let is_possible =
        rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !is_possible {
        skip(test, "root and loop devices");
    }
    !is_possible
}

/// Tells whether `test` must return at once because it needs a `FaultDisk`: root, loop devices
/// and FUSE. Says so.
#[must_use]
pub fn skip_unless_fuse(test: &str) -> bool {
    if skip_unless_root(test) {
        return true;
    }
    let is_missing = !Path::new("/dev/fuse").exists();
    if is_missing {
        skip(test, "/dev/fuse");
    }
    is_missing
}

/// Tells whether `test` must return at once because a tool is not installed, and says which.
#[must_use]
pub fn skip_unless_tools(test: &str, names: &[&str]) -> bool {
    let missing = names.iter().find(|name| tool(name).is_none());
    if let Some(name) = missing {
        skip(test, &format!("{name}, which is not installed"));
    }
    missing.is_some()
}

/// Tells whether the oracle tests should run their whole matrix instead of a small one.
#[must_use]
pub fn is_big_matrix() -> bool {
    std::env::var_os(BIG_MATRIX_VARIABLE).is_some_and(|value| value == "1")
}
