//! Phrases that users and newcomers would stumble over, in documents, texts of the program and doc
//! comments.
//!
//! The list is `xtask/dialect.txt`: `phrase | say instead | where | files that may (comma, optional)`.
//! `where` is `texts` (documents and string literals) or `all` (doc comments too). A phrase with `^` in
//! front counts only where a sentence begins with it. A phrase is found across line ends.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::finding::Finding;
use super::source::{Source, Text, Tree};

const RULE: &str = "dialect";
const LIST: &str = "xtask/dialect.txt";
/// Documents outside of `docs`.
const DOCUMENTS: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

struct Phrase<'a> {
    text: String,
    instead: &'a str,
    begins_sentence: bool,
    is_of_comments: bool,
    excepted: Vec<&'a str>,
}

/// Text that is read as a whole, with the line that each of its parts is on.
#[derive(Default)]
struct Paragraph {
    text: String,
    /// Where each part begins in the text, and its line.
    parts: Vec<(usize, usize)>,
    is_comment: bool,
}

impl Paragraph {
    fn push(&mut self, line: usize, part: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.parts.push((self.text.len(), line));
        self.text.push_str(part.trim());
    }

    fn line_at(&self, place: usize) -> usize {
        let before = self.parts.iter().rev().find(|(start, _)| *start <= place);
        before.map_or(0, |&(_, line)| line)
    }
}

/// Checks documents and the products' sources against the list.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.texts.iter().find(|text| text.path == LIST) else {
        let message = "the list of phrases is missing";
        return vec![Finding::error(RULE, LIST, 1, message)];
    };
    let phrases = parse(&list.content);
    let documents = tree.texts.iter().filter(|text| is_document(&text.path));
    let documents = documents.map(|text| (text.path.as_str(), paragraphs(text)));
    let sources = tree.sources.iter().filter(|source| is_product(source));
    let sources = sources.map(|source| (source.text.path.as_str(), texts_of(source)));
    let checked = documents.chain(sources);
    checked
        .flat_map(|(path, texts)| find(path, &texts, &phrases))
        .collect()
}

fn is_document(path: &str) -> bool {
    DOCUMENTS.contains(&path) || path.starts_with("docs/") && path.ends_with(".md")
}

fn is_product(source: &Source) -> bool {
    let path = &source.text.path;
    path.starts_with("crates/") && path.contains("/src/") && !source.is_test_file()
}

fn parse(list: &str) -> Vec<Phrase<'_>> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let phrases = lines.filter_map(|line| {
        let mut columns = line.split('|').map(str::trim);
        let phrase = columns.next().filter(|phrase| !phrase.is_empty())?;
        let (instead, place) = (columns.next()?, columns.next()?);
        let begins_sentence = phrase.starts_with('^');
        let text = phrase.trim_start_matches('^');
        Some(Phrase {
            text: match begins_sentence {
                true => text.to_owned(),
                false => text.to_lowercase(),
            },
            instead,
            begins_sentence,
            is_of_comments: place == "all",
            excepted: columns.next().map_or(Vec::new(), |files| {
                files.split(',').map(str::trim).collect()
            }),
        })
    });
    phrases.collect()
}

fn find(path: &str, texts: &[Paragraph], phrases: &[Phrase<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for phrase in phrases
        .iter()
        .filter(|phrase| !phrase.excepted.contains(&path))
    {
        let texts = texts
            .iter()
            .filter(|text| phrase.is_of_comments || !text.is_comment);
        for text in texts {
            for place in places(&text.text, phrase) {
                let Phrase {
                    text: said,
                    instead,
                    ..
                } = phrase;
                let message = format!("`{said}` is dialect: {instead}");
                findings.push(Finding::error(RULE, path, text.line_at(place), message));
            }
        }
    }
    findings
}

/// Returns where a phrase stands in a text, as whole words.
fn places(text: &str, phrase: &Phrase<'_>) -> Vec<usize> {
    let lower = text.to_ascii_lowercase();
    let searched = if phrase.begins_sentence { text } else { &lower };
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let found = searched.match_indices(phrase.text.as_str());
    let found = found.map(|(start, _)| start).filter(|&start| {
        let before = &searched[..start];
        let after = searched[start + phrase.text.len()..].chars().next();
        let is_begin = before.is_empty() || before.ends_with(". ") || before.ends_with("**");
        !before.chars().next_back().is_some_and(is_part)
            && !after.is_some_and(is_part)
            && (is_begin || !phrase.begins_sentence)
    });
    found.collect()
}

/// Returns the paragraphs, list items and table rows of a document, without its code.
fn paragraphs(text: &Text) -> Vec<Paragraph> {
    let mut found = vec![Paragraph::default()];
    let mut is_code = false;
    for (index, line) in text.content.lines().enumerate() {
        let line = line.trim();
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let begins = line.is_empty() || line.starts_with(['|', '#', '-', '*']) || is_fence;
        if begins || line.starts_with(|c: char| c.is_ascii_digit()) {
            found.push(Paragraph::default());
        }
        if let (false, false, Some(last)) = (is_code, is_fence, found.last_mut()) {
            last.push(index + 1, line);
        }
        if line.starts_with('#') {
            found.push(Paragraph::default());
        }
    }
    found
}

/// Returns the string literals and doc comments of a source, without its tests.
fn texts_of(source: &Source) -> Vec<Paragraph> {
    let tokens: TokenStream = source.text.content.parse().unwrap_or_default();
    let mut found = Vec::new();
    collect(tokens, &mut found);
    // OK to index: each text begins with a part.
    found.retain(|text| {
        !text
            .parts
            .first()
            .is_some_and(|&(_, line)| source.is_test_line(line))
    });
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<Paragraph>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => match doc_line(&group) {
                Some((line, text)) => add_comment(found, line, &text),
                None => collect(group.stream(), found),
            },
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    let mut literal = Paragraph::default();
                    literal.push(line, &text.value());
                    found.push(literal);
                }
            }
            _ => {}
        }
    }
}

/// Returns the line of a doc comment that an attribute holds: `[doc = "..."]`.
fn doc_line(group: &proc_macro2::Group) -> Option<(usize, String)> {
    if group.delimiter() != Delimiter::Bracket {
        return None;
    }
    let mut tokens = group.stream().into_iter();
    match (tokens.next()?, tokens.next()?, tokens.next()?) {
        (TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Literal(text))
            if name == "doc" =>
        {
            let line = text.span().start().line;
            let text = syn::parse_str::<syn::LitStr>(&text.to_string()).ok()?;
            Some((line, text.value()))
        }
        _ => None,
    }
}

/// Adds a line of a doc comment to the paragraph that it continues.
fn add_comment(found: &mut Vec<Paragraph>, line: usize, text: &str) {
    let continued = found.last_mut().filter(|last| {
        let end = last.parts.last().map(|&(_, line)| line);
        last.is_comment && end == Some(line.saturating_sub(1)) && !text.trim().is_empty()
    });
    match continued {
        Some(last) => last.push(line, text),
        None => {
            let mut comment = Paragraph {
                is_comment: true,
                ..Paragraph::default()
            };
            comment.push(line, text);
            found.push(comment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Source, Text, Tree};

    const LIST: &str = "# list\n\
        gone on with | say resumed | all | docs/old.md\n\
        nobody | say who | texts\n\
        ^That | begin with the subject | all\n";

    fn found(path: &str, content: &str) -> Vec<usize> {
        let text = |path: &str, content: &str| Text {
            path: path.to_owned(),
            content: content.to_owned(),
        };
        let texts = vec![text(super::LIST, LIST), text(path, content)];
        let sources = texts.iter().filter(|text| text.path.ends_with(".rs"));
        let sources = sources.cloned().map(Source::new).collect();
        let folders = Vec::new();
        let tree = Tree {
            texts,
            sources,
            folders,
        };
        check(&tree).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn phrases_of_documents_are_found_across_lines_but_not_in_code() {
        let content =
            "# A\nIt is gone\non with. Nobody\nknows.\n```\nnobody\n```\nThat helps. Of that.\n";
        assert_eq!(found("docs/a.md", content), [2, 3, 8]);
        assert_eq!(found("docs/old.md", content), [3, 8]);
        assert_eq!(found("lab/a.md", content), [0; 0]);
    }

    #[test]
    fn phrases_of_literals_and_doc_comments_are_found_but_not_of_tests() {
        let content = "//! A.\n\n/// Is gone\n/// on with. That is\n/// nobody.\nfn a() {\n    \
            b(\"nobody\");\n    // nobody\n}\n#[cfg(test)]\nmod tests {\n    const A: &str = \"nobody\";\n}\n";
        assert_eq!(found("crates/x/src/a.rs", content), [3, 7, 4]);
        assert_eq!(found("crates/x/tests/a.rs", content), [0; 0]);
    }
}
