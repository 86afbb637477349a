//! Tuple parameters: several arguments in one coat. A function that takes `(a, b): (A, B)` has more
//! parameters than it seems, and its callers give values without names.
//!
//! A struct with named fields says what each value is. Closures take tuples from iterators, and may.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::finding::Finding;
use super::source::Source;

const RULE: &str = "tuple-parameter";

/// Folders in which functions still take tuples: the rule does not hold there yet.
///
/// * ext4: a part of a group in `passing.rs`, and the kinds of logs in the oracle tests.
/// * ops: what is opened and how it is to be read, in many places; they go with the one room for inputs.
/// * resize: what lies behind a view, and the end of a smaller medium.
/// * survey: a partition and where it reaches, in `cut.rs`, `medium.rs` and the cards of its tests.
const UNCHECKED: [&str; 4] = [
    "crates/ext4/",
    "crates/ops/",
    "crates/resize/",
    "crates/survey/",
];

/// Checks the functions of one file; those of tests count as well.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let path = &source.text.path;
    if UNCHECKED.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    let mut parameters = Parameters { found: Vec::new() };
    if let Ok(file) = &source.syntax {
        parameters.visit_file(file);
    }
    let finding = |(line, name): &(usize, String)| {
        let message = format!(
            "`{name}` takes a tuple apart: give it a struct with named fields, or fewer arguments"
        );
        Finding::error(RULE, path, *line, message)
    };
    parameters.found.iter().map(finding).collect()
}

/// The functions that take a tuple apart, each with the line of the parameter.
struct Parameters {
    found: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Parameters {
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        for input in &signature.inputs {
            if let syn::FnArg::Typed(typed) = input
                && names(&typed.pat) >= 2
            {
                let line = typed.pat.span().start().line;
                self.found.push((line, signature.ident.to_string()));
            }
        }
        visit::visit_signature(self, signature);
    }
}

/// Returns how many names a tuple pattern binds; 0 for what is no tuple.
fn names(pattern: &syn::Pat) -> usize {
    match pattern {
        syn::Pat::Tuple(tuple) => {
            let mut bound = Bound { count: 0 };
            bound.visit_pat_tuple(tuple);
            bound.count
        }
        syn::Pat::Reference(inner) => names(&inner.pat),
        syn::Pat::Paren(inner) => names(&inner.pat),
        _ => 0,
    }
}

struct Bound {
    count: usize,
}

impl<'ast> Visit<'ast> for Bound {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.count += 1;
        visit::visit_pat_ident(self, pattern);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Source, Text};

    fn lines(content: &str) -> Vec<usize> {
        let (path, content) = ("crates/x/src/a.rs".to_owned(), content.to_owned());
        let findings = check(&Source::new(Text { path, content }));
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn functions_that_take_a_tuple_apart_are_found() {
        let found = lines(
            "fn a((b, c): (u8, u8)) {}\n\
             impl X {\n\
             fn d(&self, e: u8, &(ref f, (g, _)): &(u8, (u8, u8))) {}\n\
             }\n\
             trait Y {\n\
             fn h((i, j): (u8, u8)) {}\n\
             }\n",
        );
        assert_eq!(found, [1, 3, 6]);
    }

    #[test]
    fn closures_and_single_names_are_left_alone() {
        let found = lines(
            "fn a(b: (u8, u8), (c, _): (u8, u8)) {\n\
             let d = |(e, f): (u8, u8)| e + f;\n\
             }\n\
             fn g(H { i, j }: H) {}\n",
        );
        assert!(found.is_empty(), "{found:?}");
    }
}
