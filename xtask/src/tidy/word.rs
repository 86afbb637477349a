//! Words that the project does not use, and what it says instead.
//!
//! The list is `xtask/words.txt`: `word | say instead | files that may (comma, optional)`.

use super::finding::Finding;
use super::mark::has_word;
use super::source::Tree;

const LIST: &str = "xtask/words.txt";

#[derive(Debug, PartialEq)]
struct Banned<'a> {
    word: &'a str,
    instead: &'a str,
    excepted: Vec<&'a str>,
}

/// Checks all texts against the list.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.texts.iter().find(|text| text.path == LIST) else {
        return vec![Finding::error(
            "word",
            LIST,
            1,
            "the list of banned words is missing",
        )];
    };
    let banned = parse(&list.content);
    let mut findings = Vec::new();
    for text in tree.texts.iter().filter(|text| text.path != LIST) {
        let here = banned
            .iter()
            .filter(|entry| !entry.excepted.contains(&text.path.as_str()));
        let here: Vec<&Banned<'_>> = here.collect();
        for (index, line) in text.content.lines().enumerate() {
            let lower = line.to_lowercase();
            for entry in here.iter().filter(|entry| has_word(&lower, entry.word)) {
                let Banned { word, instead, .. } = entry;
                let message = format!("the project doesn't say `{word}`: {instead}");
                findings.push(Finding::error("word", &text.path, index + 1, message));
            }
        }
    }
    findings
}

fn parse(list: &str) -> Vec<Banned<'_>> {
    let entries = list.lines().filter(|line| !line.starts_with('#'));
    let entries = entries.filter_map(|line| {
        let mut columns = line.split('|').map(str::trim);
        Some(Banned {
            word: columns.next().filter(|word| !word.is_empty())?,
            instead: columns.next()?,
            excepted: columns.next().map_or(Vec::new(), |files| {
                files.split(',').map(str::trim).collect()
            }),
        })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Text, Tree};

    #[test]
    fn banned_words_are_found_except_where_excepted() {
        let text = |path: &str, content: &str| Text {
            path: path.to_owned(),
            content: content.to_owned(),
        };
        let tree = Tree {
            texts: vec![
                text("xtask/words.txt", "# list\nfoo | say bar | b.md, c.md\n"),
                text("a.md", "One\nFoo food\n"),
                text("b.md", "foo\n"),
            ],
            sources: Vec::new(),
            folders: Vec::new(),
        };
        let findings = check(&tree);
        let places: Vec<_> = findings.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(places, [("a.md", 2)]);
    }
}
