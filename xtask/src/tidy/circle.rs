//! Circles: files of one crate that import each other, so that none can be understood, tested or moved
//! without the others.
//!
//! A file depends on the file in which a name is defined, whatever module shows it: what a module merely
//! shows on (`pub use`) is followed, and is no dependency of that module. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::mention::{Mention, mentions};
use super::source::{Source, Tree};

const RULE: &str = "circle";

/// Crates whose files still import each other: the rule does not hold there yet.
///
/// * ops: what an input is and how it is opened is being given one room; its circles end there.
const UNCHECKED: [&str; 1] = ["crates/ops/"];

/// The path of a module within its crate: `[]` is its root.
type Module = Vec<String>;

/// The modules of one crate.
struct Crate<'a> {
    files: BTreeMap<Module, &'a Source>,
    /// What each module shows on: the name, and the path that it stands for.
    shown: BTreeMap<Module, BTreeMap<String, Module>>,
}

/// Checks all crates.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut crates: BTreeMap<String, BTreeMap<Module, &Source>> = BTreeMap::new();
    for source in tree.sources.iter().filter(|source| !source.is_test_file()) {
        if let Some((root, inner)) = source.text.path.split_once("src/")
            && !UNCHECKED.contains(&root)
        {
            let files = crates.entry(root.to_owned()).or_default();
            files.insert(module_of(inner), source);
        }
    }
    let crates = crates.into_values().map(Crate::new);
    crates.flat_map(|own| own.findings()).collect()
}

/// Returns the module that a file holds.
fn module_of(inner: &str) -> Module {
    let stem = inner.strip_suffix(".rs").unwrap_or(inner);
    let mut module: Module = stem.split('/').map(str::to_owned).collect();
    let is_own_name = |name: &String| matches!(name.as_str(), "mod" | "lib" | "main");
    if module.last().is_some_and(is_own_name) {
        module.pop();
    }
    module
}

impl<'a> Crate<'a> {
    fn new(files: BTreeMap<Module, &'a Source>) -> Self {
        let mut own = Self {
            files,
            shown: BTreeMap::new(),
        };
        for (module, source) in &own.files {
            let shown = own.shown_by(module, source);
            own.shown.insert(module.clone(), shown);
        }
        own
    }

    /// Returns what a module shows on.
    fn shown_by(&self, module: &Module, source: &Source) -> BTreeMap<String, Module> {
        let mut shown = BTreeMap::new();
        let Ok(file) = &source.syntax else {
            return shown;
        };
        for item in &file.items {
            let syn::Item::Use(item) = item else { continue };
            if matches!(item.vis, syn::Visibility::Inherited) {
                continue;
            }
            let alone = syn::File {
                shebang: None,
                attrs: Vec::new(),
                items: vec![syn::Item::Use(item.clone())],
            };
            for (_, mention) in mentions(&alone) {
                if let Some(path) = self.absolute(module, &mention)
                    && let Some(name) = path.last().cloned()
                {
                    shown.insert(name, path);
                }
            }
        }
        shown
    }

    /// Returns a path from the crate's root on; `None` where it leads out of the crate.
    fn absolute(&self, module: &Module, mention: &Mention) -> Option<Module> {
        let Mention::Path(segments) = mention else {
            return None;
        };
        let (first, rest) = segments.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            name => {
                let child = [module.as_slice(), &[name.to_owned()]].concat();
                self.files.contains_key(&child).then_some(child)?
            }
        };
        for segment in rest {
            match segment.as_str() {
                "super" => drop(base.pop()?),
                "self" => {}
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    /// Returns the file in which what `path` names is defined.
    fn definer(&self, path: &Module) -> Option<Module> {
        let mut path = path.clone();
        // What is shown on may be shown on again; not in a circle, or the compiler would object.
        for _ in 0..self.files.len() {
            let len = (0..=path.len())
                .rev()
                .find(|&len| self.files.contains_key(&path[..len]))?;
            let module = path[..len].to_vec();
            let shown = path
                .get(len)
                .and_then(|name| self.shown.get(&module)?.get(name));
            match shown {
                Some(shown) => path = [shown.as_slice(), &path[len + 1..]].concat(),
                None => return Some(module),
            }
        }
        None
    }

    /// Returns the modules that a module depends on, each with the first line that says so.
    fn dependencies(&self, module: &Module, source: &Source) -> BTreeMap<Module, usize> {
        let mut found = BTreeMap::new();
        let Ok(file) = &source.syntax else {
            return found;
        };
        let shown: BTreeSet<usize> = shown_lines(file);
        for (line, mention) in mentions(file) {
            if source.is_test_line(line) || shown.contains(&line) {
                continue;
            }
            let path = self.absolute(module, &mention);
            let definer = path.and_then(|path| self.definer(&path));
            if let Some(definer) = definer.filter(|definer| definer != module) {
                found.entry(definer).or_insert(line);
            }
        }
        found
    }

    fn findings(&self) -> Vec<Finding> {
        let edges: BTreeMap<&Module, BTreeMap<Module, usize>> = self
            .files
            .iter()
            .map(|(module, source)| (module, self.dependencies(module, source)))
            .collect();
        let mut findings = Vec::new();
        for (module, source) in &self.files {
            for (other, line) in &edges[module] {
                // One finding for each circle that closes here, at the file that is named last.
                if other < module && reaches(&edges, other, module) {
                    let message = format!(
                        "it imports `{}`, which depends on it: move what both need into a file below",
                        name(other)
                    );
                    findings.push(Finding::error(RULE, &source.text.path, *line, message));
                }
            }
        }
        findings
    }
}

/// Returns the lines on which a file shows on what others define.
fn shown_lines(file: &syn::File) -> BTreeSet<usize> {
    use syn::spanned::Spanned;
    let items = file.items.iter().filter_map(|item| match item {
        syn::Item::Use(item) if !matches!(item.vis, syn::Visibility::Inherited) => Some(item),
        _ => None,
    });
    items
        .flat_map(|item| item.span().start().line..=item.span().end().line)
        .collect()
}

fn reaches(edges: &BTreeMap<&Module, BTreeMap<Module, usize>>, from: &Module, to: &Module) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(module) = waiting.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            waiting.extend(edges.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    false
}

fn name(module: &Module) -> String {
    match module.is_empty() {
        true => "the crate's root".to_owned(),
        false => module.join("::"),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Source, Text, Tree};

    fn circles(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let sources = files.iter().map(|(path, content)| {
            Source::new(Text {
                path: format!("crates/x/src/{path}"),
                content: (*content).to_owned(),
            })
        });
        let tree = Tree {
            texts: Vec::new(),
            sources: sources.collect(),
            folders: Vec::new(),
        };
        let findings = check(&tree);
        findings
            .iter()
            .map(|own| (own.path.clone(), own.line))
            .collect()
    }

    #[test]
    fn files_that_import_each_other_are_found() {
        let found = circles(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n"),
            ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
            ("b.rs", "pub struct B;\nfn f() { crate::c::g() }\n"),
            ("c.rs", "\nuse crate::A;\npub fn g() {}\n"),
        ]);
        assert_eq!(found, [("crates/x/src/c.rs".to_owned(), 2)]);
    }

    #[test]
    fn what_is_shown_on_and_what_tests_import_makes_no_circle() {
        let found = circles(&[
            ("lib.rs", "mod a;\npub use a::A;\nmod b;\n"),
            (
                "a/mod.rs",
                "mod inner;\npub(crate) use inner::I;\npub struct A(I);\n",
            ),
            ("a/inner.rs", "use crate::b::B;\npub struct I(B);\n"),
            (
                "b.rs",
                "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}\n",
            ),
        ]);
        assert_eq!(found, []);
    }

    #[test]
    fn a_child_that_needs_its_parent_that_needs_it_is_found() {
        let found = circles(&[
            ("a.rs", "mod inner;\nuse inner::I;\npub struct A(I);\n"),
            ("a/inner.rs", "use super::A;\npub struct I(Box<A>);\n"),
        ]);
        assert_eq!(found, [("crates/x/src/a/inner.rs".to_owned(), 1)]);
    }
}
