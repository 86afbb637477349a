//! How long a file and a function may be.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::finding::Finding;
use super::source::Source;

const FILE_LINES_SOFT: usize = 400;
const FILE_LINES_HARD: usize = 700;
const FUNCTION_LINES_SOFT: usize = 40;
const FUNCTION_LINES_HARD: usize = 70;

/// Checks one file and its functions. Tests count for functions, not for the file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings: Vec<Finding> = check_file(source).into_iter().collect();
    if let Ok(file) = &source.syntax {
        let mut functions = Functions { found: Vec::new() };
        functions.visit_file(file);
        let checked = functions
            .found
            .iter()
            .filter_map(|function| function.check(source));
        findings.extend(checked);
    }
    findings
}

fn check_file(source: &Source) -> Option<Finding> {
    let lines = if source.is_test_file() {
        source.text.content.lines().count()
    } else {
        source.product_text().lines().count()
    };
    let message = format!(
        "{lines} lines outside tests; split at {FILE_LINES_SOFT}, at most {FILE_LINES_HARD}"
    );
    let finding = Finding::error("file-size", &source.text.path, 0, message);
    judged(finding, lines, FILE_LINES_SOFT, FILE_LINES_HARD)
}

fn judged(finding: Finding, lines: usize, soft: usize, hard: usize) -> Option<Finding> {
    match lines {
        lines if lines > hard => Some(finding),
        lines if lines > soft => Some(finding.into_warning()),
        _ => None,
    }
}

struct Function {
    name: String,
    first: usize,
    last: usize,
}

impl Function {
    fn check(&self, source: &Source) -> Option<Finding> {
        let lines = self.last - self.first + 1;
        let message = format!(
            "`{}` takes {lines} lines; split at {FUNCTION_LINES_SOFT}, at most {FUNCTION_LINES_HARD}",
            self.name
        );
        let finding = Finding::error("function-size", &source.text.path, self.first, message);
        judged(finding, lines, FUNCTION_LINES_SOFT, FUNCTION_LINES_HARD)
    }
}

struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        self.found.push(Function {
            name: signature.ident.to_string(),
            first: signature.span().start().line,
            last: body.span().end().line,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Source, Text};

    fn errors_and_warnings(content: String) -> (usize, usize) {
        let path = "crates/x/src/a.rs".to_owned();
        let findings = check(&Source::new(Text { path, content }));
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        (errors, findings.len() - errors)
    }

    #[test]
    fn long_functions_are_found_with_their_braces() {
        let function = |lines: usize| format!("fn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2));
        assert_eq!(errors_and_warnings(function(40)), (0, 0));
        assert_eq!(errors_and_warnings(function(41)), (0, 1));
        assert_eq!(errors_and_warnings(function(70)), (0, 1));
        assert_eq!(errors_and_warnings(function(71)), (1, 0));
    }

    #[test]
    fn long_files_are_found_without_their_tests() {
        let items = "const A: u8 = 1;\n".repeat(700);
        let tests = "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(errors_and_warnings(format!("{items}{tests}")), (0, 1));
        assert_eq!(
            errors_and_warnings(format!("{items}{tests}use a;\n")),
            (1, 0)
        );
    }
}
