//! What a module must not be called, and what stands at the top of a file.

use super::finding::Finding;
use super::source::Source;

/// Drawers: a module with such a name attracts whatever has no place.
const DRAWERS: [&str; 9] = [
    "util", "utils", "common", "helper", "helpers", "misc", "manager", "handler", "stuff",
];

/// Checks the path of one file and its first line.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let path = &source.text.path;
    let mut findings = Vec::new();
    let parts = path.trim_end_matches(".rs").split('/');
    for drawer in parts.filter(|part| DRAWERS.contains(part)) {
        let message = format!("a module named `{drawer}` says nothing: name the noun it holds");
        findings.push(Finding::error("name", path, 1, message));
    }
    if !source.text.content.starts_with("//!") {
        let message = "the file must start with `//!`: what this room is for";
        findings.push(Finding::error("room", path, 1, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Source, Text};

    #[test]
    fn drawers_and_unlabelled_rooms_are_found() {
        let rules = |path: &str, content: &str| -> Vec<&str> {
            let (path, content) = (path.to_owned(), content.to_owned());
            let findings = check(&Source::new(Text { path, content }));
            findings.iter().map(|finding| finding.rule).collect()
        };
        assert_eq!(rules("crates/x/src/util.rs", "//! A.\n"), ["name"]);
        assert_eq!(
            rules("crates/x/src/misc/a.rs", "use a;\n"),
            ["name", "room"]
        );
        assert!(rules("crates/x/src/utility.rs", "//! A.\n").is_empty());
    }
}
