//! Leaving a test out, aloud.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::tool::tool;

/// Names the file that collects one line per test left out.
const LIST_VARIABLE: &str = "CARDKEEP_SKIPS";
/// What each line of it begins with.
const LINE_START: &str = "skipped: ";
/// Set to 1 to run the whole matrix of the oracle tests.
const BIG_MATRIX_VARIABLE: &str = "CARDKEEP_ORACLE";

/// Says that `test` is left out because it needs what is not there, on stderr and in the list that
/// [`skipped`] reads.
#[expect(clippy::print_stderr, reason = "the one place from which tests talk")]
pub fn skip(test: &str, needs: &str) {
    let line = format!("{LINE_START}{test} needs {needs}");
    eprintln!("{line}");
    let file = OpenOptions::new().create(true).append(true).open(list());
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
        eprintln!("the list of skipped tests can't be written: {error}");
    }
}

/// Returns the tests that were left out in this run so far, each with what it needs, and begins the
/// list anew where this run keeps its own.
#[must_use]
pub fn skipped() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(list()).unwrap_or_default();
    if std::env::var_os(LIST_VARIABLE).is_none() {
        // Where none was left out there is no list.
        std::fs::remove_file(list()).ok();
    }
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(LINE_START));
    let entries = lines.filter_map(|line| line.split_once(" needs "));
    entries
        .map(|(test, needs)| (test.to_owned(), needs.to_owned()))
        .collect()
}

/// Returns the list's file: the one that is named, or one for this run, which is told by the process
/// that starts all test programs.
fn list() -> PathBuf {
    if let Some(list) = std::env::var_os(LIST_VARIABLE) {
        return list.into();
    }
    let runner = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("cardkeep-skipped-{user}-{runner}"))
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
