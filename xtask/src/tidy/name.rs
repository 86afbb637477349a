//! What a module must not be called, and what stands at the top of a file.

use super::finding::Finding;
use super::source::{Source, are_of_tests};

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
    findings.extend(check_test_modules(source));
    findings
}

/// Checks that a file that only tests compile says so in its name.
fn check_test_modules(source: &Source) -> Vec<Finding> {
    let items = source.syntax.iter().flat_map(|file| &file.items);
    let modules = items.filter_map(|item| match item {
        syn::Item::Mod(item) if item.content.is_none() && are_of_tests(&item.attrs) => Some(item),
        _ => None,
    });
    let is_named = |name: &str| name == "tests" || name.starts_with("test_");
    let hidden = modules.filter(|item| !is_named(&item.ident.to_string()));
    let finding = |item: &syn::ItemMod| {
        let message = format!(
            "only tests compile `{0}`: call it `test_{0}`, or `tests`",
            item.ident
        );
        let line = item.ident.span().start().line;
        Finding::error("test-name", &source.text.path, line, message)
    };
    hidden.map(finding).collect()
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

    #[test]
    fn test_modules_under_product_names_are_found() {
        let content = "//! A.\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod test_card;\n\
                       #[cfg(test)]\nmod writer;\nmod reader;\n#[cfg(test)]\nmod inner {}\n";
        let (path, content) = ("crates/x/src/lib.rs".to_owned(), content.to_owned());
        let findings = check(&Source::new(Text { path, content }));
        let found: Vec<(&str, usize)> = findings.iter().map(|own| (own.rule, own.line)).collect();
        assert_eq!(found, [("test-name", 7)]);
    }
}
