//! What a file of Rust names: paths, imports, macros.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A path or a macro that the code names.
#[derive(Debug, PartialEq)]
pub(super) enum Mention {
    Macro(String),
    Path(Vec<String>),
}

impl Mention {
    /// Tells whether it has these segments, one after the other.
    pub(super) fn contains(&self, pattern: &[&str]) -> bool {
        match self {
            Self::Macro(_) => false,
            Self::Path(segments) => segments
                .windows(pattern.len())
                .any(|window| window == pattern),
        }
    }

    /// Returns it as the code writes it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Macro(name) => format!("{name}!"),
            Self::Path(segments) => segments.join("::"),
        }
    }
}

/// Returns all that a file names, each with its line.
pub(super) fn mentions(file: &syn::File) -> Vec<(usize, Mention)> {
    let mut visitor = Mentions { found: Vec::new() };
    visitor.visit_file(file);
    visitor.found
}

struct Mentions {
    found: Vec<(usize, Mention)>,
}

impl Mentions {
    fn add_use(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: String| [prefix, &[name]].concat();
        let path = match tree {
            syn::UseTree::Path(path) => {
                return self.add_use(&with(path.ident.to_string()), &path.tree);
            }
            syn::UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|item| self.add_use(prefix, item));
            }
            syn::UseTree::Name(name) => with(name.ident.to_string()),
            syn::UseTree::Rename(rename) => with(rename.ident.to_string()),
            syn::UseTree::Glob(_) => prefix.to_vec(),
        };
        self.found
            .push((tree.span().start().line, Mention::Path(path)));
    }

    /// Finds `a::b::c` in the arguments of a macro, which are not parsed.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            line = token.span().start().line;
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.found
                            .push((line, Mention::Path(std::mem::take(&mut path))));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                _ => colons = 0,
            }
        }
        self.found.push((line, Mention::Path(path)));
    }
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        let mention = Mention::Path(segments.collect());
        self.found.push((path.span().start().line, mention));
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(crate)` uses nothing of the crate.
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let line = item.span().start().line;
        if let Some(segment) = item.path.segments.last() {
            self.found
                .push((line, Mention::Macro(segment.ident.to_string())));
        }
        self.add_tokens(item.tokens.clone());
    }
}
