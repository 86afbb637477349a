//! The project's files as the rules see them.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::finding::Finding;

/// Folders that hold nothing written by hand.
const SKIPPED_FOLDERS: [&str; 5] = [
    ".git",
    "target",
    "corpus",
    "artifacts",
    "proptest-regressions",
];
/// What is text and written by hand, by the end of its name.
const TEXT_ENDINGS: [&str; 8] = ["rs", "md", "toml", "txt", "sh", "py", "yml", "run"];

/// All texts of the project, and the Rust sources among them parsed.
pub(crate) struct Tree {
    /// Every text file.
    pub(crate) texts: Vec<Text>,
    /// The Rust files.
    pub(crate) sources: Vec<Source>,
    /// Every folder, relative to the root.
    pub(crate) folders: Vec<String>,
}

/// A text file.
#[derive(Clone)]
pub(crate) struct Text {
    /// Relative to the project's root, with forward slashes.
    pub(crate) path: String,
    /// The whole content.
    pub(crate) content: String,
}

impl Tree {
    /// Reads the project below `root`.
    ///
    /// # Errors
    /// Names what can't be read.
    pub(crate) fn load(root: &Path) -> Result<Self, String> {
        let mut tree = Self {
            texts: Vec::new(),
            sources: Vec::new(),
            folders: Vec::new(),
        };
        tree.walk(root, "")?;
        let is_rust = |text: &&Text| text.path.ends_with(".rs");
        tree.sources = tree
            .texts
            .iter()
            .filter(is_rust)
            .cloned()
            .map(Source::new)
            .collect();
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, folder: &str) -> Result<(), String> {
        let at = |path: &str, e: std::io::Error| format!("can't read {path}: {e}");
        let mut entries: Vec<_> = fs::read_dir(root.join(folder))
            .and_then(Iterator::collect::<Result<_, _>>)
            .map_err(|e| at(folder, e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = [folder, &name].join(if folder.is_empty() { "" } else { "/" });
            let kind = entry.file_type().map_err(|e| at(&path, e))?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                self.folders.push(path.clone());
                self.walk(root, &path)?;
            } else if kind.is_file() && is_text(&name) {
                let content = fs::read_to_string(root.join(&path)).map_err(|e| at(&path, e))?;
                self.texts.push(Text { path, content });
            }
        }
        Ok(())
    }

    /// Tells whether a comment at the finding's place excepts it from its rule.
    pub(crate) fn allows(&self, finding: &Finding) -> bool {
        let Some(text) = self.texts.iter().find(|text| text.path == finding.path) else {
            return false;
        };
        let allow = format!("tidy: allow({}): ", finding.rule);
        if finding.line == 0 {
            return text.content.contains(&allow);
        }
        let lines: Vec<&str> = text.content.lines().collect();
        let above = lines.iter().take(finding.line.saturating_sub(1)).rev();
        let mut attached = above
            .map(|line| line.trim_start())
            .take_while(|line| line.starts_with("//") || line.starts_with("#["));
        attached.any(|line| line.contains(&allow))
            || lines
                .get(finding.line - 1)
                .is_some_and(|line| line.contains(&allow))
    }
}

fn is_text(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|ending| TEXT_ENDINGS.contains(&ending))
}

/// A Rust file: its text, its syntax, and which of its lines are test code.
pub(crate) struct Source {
    /// Path and content.
    pub(crate) text: Text,
    /// The parsed file, or where and why it can't be parsed.
    pub(crate) syntax: Result<syn::File, (usize, String)>,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Parses a file.
    pub(crate) fn new(text: Text) -> Self {
        let syntax =
            syn::parse_file(&text.content).map_err(|e| (e.span().start().line, e.to_string()));
        let mut finder = TestItems { lines: Vec::new() };
        if let Ok(file) = &syntax {
            finder.visit_file(file);
        }
        Self {
            text,
            syntax,
            test_lines: finder.lines,
        }
    }

    /// Returns the error where the file is no Rust.
    pub(crate) fn parse_findings(&self) -> Option<Finding> {
        let (line, message) = self.syntax.as_ref().err()?;
        Some(Finding::error(
            "syntax",
            &self.text.path,
            *line,
            message.clone(),
        ))
    }

    /// Returns the noun of the crate it belongs to: `ext4` for `crates/ext4/…`, else the first
    /// folder.
    pub(crate) fn crate_noun(&self) -> &str {
        let path = &self.text.path;
        let inner = path.strip_prefix("crates/").unwrap_or(path);
        inner.split('/').next().unwrap_or(inner)
    }

    /// Tells whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        let path = &self.text.path;
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_named = name == "tests.rs" || name.starts_with("test_");
        path.contains("/tests/") || path.contains("/benches/") || is_named
    }

    /// Tells whether the line with this number, from 1, is test code.
    pub(crate) fn is_test_line(&self, number: usize) -> bool {
        self.is_test_file() || self.test_lines.iter().any(|range| range.contains(&number))
    }

    /// Returns the content without the lines of tests.
    pub(crate) fn product_text(&self) -> String {
        let numbered = self.text.content.lines().enumerate();
        let kept = numbered.filter(|(index, _)| !self.is_test_line(index + 1));
        kept.map(|(_, line)| format!("{line}\n")).collect()
    }
}

/// Tells whether one of the attributes is `#[cfg(test)]`, `#[cfg(all(test, …))]` or `#[test]`.
pub(super) fn are_of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && matches!(&attribute.meta, syn::Meta::List(list) if is_test(&list.tokens))
    })
}

fn is_test(condition: &proc_macro2::TokenStream) -> bool {
    let condition = condition.to_string().replace(' ', "");
    condition == "test" || condition.starts_with("all(test,")
}

struct TestItems {
    lines: Vec<RangeInclusive<usize>>,
}

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if are_of_tests(attributes) {
            let span = item.span();
            self.lines.push(span.start().line..=span.end().line);
        } else {
            visit::visit_item(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, Text};

    pub(crate) fn source(path: &str, content: &str) -> Source {
        Source::new(Text {
            path: path.to_owned(),
            content: content.to_owned(),
        })
    }

    #[test]
    fn test_modules_are_not_product_text() {
        let source = source(
            "crates/x/src/a.rs",
            "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n",
        );
        assert_eq!(source.product_text(), "//! A.\nfn a() {}\nfn c() {}\n");
        let on_unix =
            "fn a() {}\n#[cfg(all(test, unix))]\nmod tests {\n}\n#[cfg(unix)]\nfn c() {}\n";
        let source = self::source("crates/x/src/a.rs", on_unix);
        assert_eq!(
            source.product_text(),
            "fn a() {}\n#[cfg(unix)]\nfn c() {}\n"
        );
        assert_eq!(source.crate_noun(), "x");
    }
}
