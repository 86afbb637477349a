//! Format documents and the modules they describe change together.
//!
//! A document under `docs/format` names its modules with a hash of their text without tests:
//!
//! ```text
//!   <!-- describes crates/image/src/manifest.rs 0123456789abcdef -->
//! ```
//!
//! Whoever changes the module reads the document again and stores the new hash with
//! `cargo xtask tidy --accept`.

use std::fs;
use std::path::Path;

use super::finding::Finding;
use super::source::{Text, Tree};

const RULE: &str = "format-doc";
const FOLDER: &str = "docs/format/";
const OPENING: &str = "<!-- describes ";
const CLOSING: &str = " -->";
/// 16 hex digits: this guards against forgetting, not against forgery.
const HASH_DIGITS: usize = 16;

/// Checks that every format document names a module, and that its hash is the module's.
pub(crate) fn check(_root: &Path, tree: &Tree) -> Vec<Finding> {
    documents(tree)
        .flat_map(|text| check_document(text, tree))
        .collect()
}

fn check_document(text: &Text, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut count = 0;
    for (index, line) in text.content.lines().enumerate() {
        let Some((module, stored)) = described(line) else {
            continue;
        };
        count += 1;
        let message = match hash(tree, module) {
            None => format!("describes {module}, which does not exist"),
            Some(hash) if hash != stored => format!(
                "{module} has changed: read this document again, then `cargo xtask tidy --accept`"
            ),
            Some(_) => continue,
        };
        findings.push(Finding::error(RULE, &text.path, index + 1, message));
    }
    if count == 0 {
        let message = format!("names no module: add `{OPENING}crates/…{CLOSING}`");
        findings.push(Finding::error(RULE, &text.path, 1, message));
    }
    findings
}

/// Writes the present hashes into all format documents.
///
/// # Errors
/// Names the document that can't be written.
pub(crate) fn accept(root: &Path, tree: &Tree) -> Result<(), String> {
    for text in documents(tree) {
        let lines = text.content.lines().map(|line| match described(line) {
            Some((module, _)) => {
                let hash = hash(tree, module).unwrap_or_default();
                format!("{OPENING}{module} {hash}{CLOSING}\n")
            }
            None => format!("{line}\n"),
        });
        let content: String = lines.collect();
        if content != text.content {
            fs::write(root.join(&text.path), content)
                .map_err(|e| format!("can't write {}: {e}", text.path))?;
            println!("accepted {}", text.path);
        }
    }
    Ok(())
}

fn documents(tree: &Tree) -> impl Iterator<Item = &Text> {
    let is_document = |text: &&Text| text.path.starts_with(FOLDER) && text.path.ends_with(".md");
    tree.texts.iter().filter(is_document)
}

/// Returns the module and the hash that a line of a document names.
fn described(line: &str) -> Option<(&str, &str)> {
    let inner = line.strip_prefix(OPENING)?.strip_suffix(CLOSING)?;
    Some(inner.split_once(' ').unwrap_or((inner, "")))
}

fn hash(tree: &Tree, module: &str) -> Option<String> {
    let source = tree
        .sources
        .iter()
        .find(|source| source.text.path == module)?;
    let digest = blake3::hash(source.product_text().as_bytes()).to_hex();
    Some(digest[..HASH_DIGITS].to_owned())
}

#[cfg(test)]
mod tests {
    use super::{check_document, hash};
    use crate::tidy::source::{Source, Text, Tree};

    fn text(path: &str, content: &str) -> Text {
        Text {
            path: path.to_owned(),
            content: content.to_owned(),
        }
    }

    #[test]
    fn a_changed_module_is_found_and_a_changed_test_is_not() {
        let tree = |code: &str| Tree {
            texts: Vec::new(),
            sources: vec![Source::new(text("crates/x/src/a.rs", code))],
            folders: Vec::new(),
        };
        let stored = hash(&tree("//! A.\n"), "crates/x/src/a.rs").unwrap();
        let line = format!("# Format\n<!-- describes crates/x/src/a.rs {stored} -->\n");
        let document = text("docs/format/a.md", &line);
        let count = |code: &str| check_document(&document, &tree(code)).len();
        assert_eq!(count("//! A.\n"), 0);
        assert_eq!(count("//! A.\n#[cfg(test)]\nmod tests {}\n"), 0);
        assert_eq!(count("//! A.\nconst B: u8 = 1;\n"), 1);
        assert_eq!(
            check_document(&text("docs/format/b.md", "# B\n"), &tree("")).len(),
            1
        );
    }
}
