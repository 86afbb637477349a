//! Prints which tests could not run on this machine, why, and what would let them run.
//!
//! It is the last test program of a run (packages are tested in the order of their names) and has no
//! harness, so that nobody captures what it prints. It never fails: a test that is left out is no error.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::BTreeMap;

use cardkeep_testkit::skipped;

/// The name under which runners that ask for a list of tests find it.
const NAME: &str = "tests_that_could_not_run_are_listed";
/// How many tests are named of those that need the same.
const NAMED_MAX: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if has("--list") {
        // Runners ask for ignored tests by themselves; there are none.
        if !has("--ignored") {
            println!("{NAME}: test");
        }
        return;
    }
    // A run of other tests, by name.
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|own| !own.starts_with('-'))
        .collect();
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter.as_str())) {
        return;
    }
    report(&skipped());
}

/// Prints how many tests were left out, by what they need.
fn report(skipped: &[(String, String)]) {
    let mut by_need: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (test, need) in skipped {
        by_need.entry(need).or_default().push(test);
    }
    println!("\n{} tests could not run here", skipped.len());
    for (need, tests) in by_need {
        println!("  {} need {need}: {}", tests.len(), named(&tests));
        println!("    to run them: {}", remedy(need));
    }
}

fn named(tests: &[&str]) -> String {
    let mut names = tests[..tests.len().min(NAMED_MAX)].join(", ");
    if tests.len() > NAMED_MAX {
        names += &format!(" and {} more", tests.len() - NAMED_MAX);
    }
    names
}

/// Returns what lets tests run that need this.
fn remedy(need: &str) -> String {
    let program = need.strip_suffix(", which is not installed");
    match (need, program) {
        ("root and loop devices", _) => "sudo -E env PATH=\"$PATH\" cargo test --workspace".into(),
        ("/dev/fuse", _) => "load the kernel's module fuse".into(),
        ("CARDKEEP_ORACLE=1", _) => "cargo xtask test --all".into(),
        (_, Some(program)) => format!("install the package that has {program}"),
        (need, _) if need.contains("cargo xtask lab") => "cargo xtask lab".into(),
        _ => "not on this system".into(),
    }
}
