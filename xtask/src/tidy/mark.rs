//! Marks of unfinished work and switched-off tests.

use super::finding::Finding;
use super::source::{Source, Text, Tree};

/// Work that is planned belongs where plans are kept, not into the code. Written in halves, so
/// that this file does not find itself.
const MARKS: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

const TEST_ATTRIBUTES: [&str; 2] = ["ignore", "should_panic"];

/// Checks all texts for marks and all sources for switched-off tests.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let marks = tree.texts.iter().flat_map(check_marks);
    let attributes = tree.sources.iter().flat_map(check_attributes);
    marks.chain(attributes).collect()
}

fn check_marks(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.content.lines().enumerate() {
        for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
            let message = format!("`{mark}` left behind: do it, or write down why not");
            findings.push(Finding::error("mark", &text.path, index + 1, message));
        }
    }
    findings
}

fn check_attributes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.content.lines().enumerate() {
        let Some(attribute) = line.trim_start().strip_prefix("#[") else {
            continue;
        };
        let name = attribute
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next();
        if let Some(name) = name.filter(|name| TEST_ATTRIBUTES.contains(name)) {
            let message = format!("`#[{name}]`: a test runs and asserts a value, or it goes");
            findings.push(Finding::error(
                "mark",
                &source.text.path,
                index + 1,
                message,
            ));
        }
    }
    findings
}

/// Tells whether `line` holds `word` with no letter, digit or underscore around it.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::{MARKS, check_attributes, check_marks, has_word};
    use crate::tidy::source::{Source, Text};

    fn text(content: String) -> Text {
        let path = "crates/x/src/a.rs".to_owned();
        Text { path, content }
    }

    #[test]
    fn every_mark_is_found_with_its_line() {
        for mark in MARKS {
            let findings = check_marks(&text(format!("//! A.\n// {mark}: later\n")));
            assert_eq!(
                findings.iter().map(|f| f.line).collect::<Vec<_>>(),
                [2],
                "{mark}"
            );
        }
        assert!(check_marks(&text("uuid-XXXXXXXX".to_owned())).is_empty());
    }

    #[test]
    fn switched_off_tests_are_found() {
        let content =
            "#[test]\n#[ignore]\nfn a() {}\n    #[should_panic(expected = \"a\")]\nfn b() {}\n";
        let findings = check_attributes(&Source::new(text(content.to_owned())));
        assert_eq!(findings.iter().map(|f| f.line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_word_ends_where_letters_end() {
        assert!(has_word("no filler.", "filler"));
        assert!(!has_word("filler_load", "filler"));
    }
}
