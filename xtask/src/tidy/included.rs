//! Files that sources include: a clone must have them.
//!
//! `.gitignore` keeps images out of the repository, and would keep out one that the program is
//! built with; whoever made it would never notice.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};

use super::finding::Finding;
use super::source::{Source, Tree};

const RULE: &str = "included";
const MACROS: [&str; 2] = ["include_bytes", "include_str"];

/// Checks that git knows every file that a source includes. Where there is no git, as in an
/// unpacked archive, nothing is checked.
pub(crate) fn check(root: &Path, tree: &Tree) -> Vec<Finding> {
    let Some(tracked) = tracked(root) else {
        return Vec::new();
    };
    tree.sources
        .iter()
        .flat_map(|source| check_source(source, &tracked))
        .collect()
}

fn check_source(source: &Source, tracked: &[String]) -> Vec<Finding> {
    let mut included = Vec::new();
    if let Ok(tokens) = source.text.content.parse() {
        collect(tokens, &mut included);
    }
    let folder = Path::new(&source.text.path)
        .parent()
        .unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (line, name) in included {
        let path = resolved(&folder.join(&name));
        if !tracked.contains(&path) {
            let message = format!("{path} is not in git: `git add --force` it");
            findings.push(Finding::error(RULE, &source.text.path, line, message));
        }
    }
    findings
}

/// Finds `include_bytes!("name")` and its like, with their lines.
fn collect(tokens: TokenStream, included: &mut Vec<(usize, String)>) {
    let mut name_line = None;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if MACROS.contains(&ident.to_string().as_str()) => {
                name_line = Some(ident.span().start().line);
            }
            TokenTree::Punct(punct) if punct.as_char() == '!' => {}
            TokenTree::Group(group) => {
                let literal = syn::parse2::<syn::LitStr>(group.stream());
                match (name_line.take(), literal) {
                    (Some(line), Ok(literal)) => included.push((line, literal.value())),
                    _ => collect(group.stream(), included),
                }
            }
            _ => name_line = None,
        }
    }
}

/// Returns the path without `..`, with forward slashes.
fn resolved(path: &Path) -> String {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.to_string_lossy().replace('\\', "/")
}

/// Returns the paths that git knows; `None` where there is no git.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

#[cfg(test)]
mod tests {
    use super::check_source;
    use crate::tidy::source::{Source, Text};

    #[test]
    fn an_included_file_that_git_does_not_know_is_found() {
        let content = "const A: &[u8] =\n    include_bytes!(\"../assets/a.img\");\n\
            fn b() { c(include_str!(\"b.txt\"), \"d.txt\"); }\n";
        let source = Source::new(Text {
            path: "crates/x/src/a.rs".to_owned(),
            content: content.to_owned(),
        });
        let lines = |tracked: &[&str]| -> Vec<usize> {
            let tracked: Vec<String> = tracked.iter().map(|path| (*path).to_owned()).collect();
            check_source(&source, &tracked)
                .iter()
                .map(|finding| finding.line)
                .collect()
        };
        assert_eq!(
            lines(&["crates/x/assets/a.img", "crates/x/src/b.txt"]),
            Vec::<usize>::new()
        );
        assert_eq!(lines(&["crates/x/src/b.txt"]), [2]);
        assert_eq!(lines(&[]), [2, 3]);
    }
}
