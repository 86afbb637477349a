//! What the lower floors must not do: print, prompt, exit; and, lower still, open files, spawn
//! threads or read clocks. And who may say `unsafe`.

use proc_macro2::{TokenStream, TokenTree};

use super::finding::Finding;
use super::floor;
use super::mention::{Mention, mentions};
use super::source::Source;

const RULE: &str = "purity";
/// The one crate that talks to the system in its own words (DESIGN: only `device` has `unsafe`).
const UNSAFE_CRATE: &str = "device";

/// Below the doors nothing talks to a person and nothing ends the program.
const BELOW_DOORS: [&[&str]; 5] = [
    &["process", "exit"],
    &["process", "abort"],
    &["io", "stdin"],
    &["io", "stderr"],
    &["std", "dbg"],
];
const BELOW_DOORS_MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// The formats and the ground see bytes through `ReadAt` and nothing else of the world.
const IN_FORMATS: [&[&str]; 7] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["time", "Instant"],
    &["time", "SystemTime"],
];

/// Checks one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = check_unsafe(source);
    let (Some(floor), Ok(file)) = (floor::of(source.crate_noun()), &source.syntax) else {
        return findings;
    };
    for (line, mention) in mentions(file) {
        if source.is_test_line(line) {
            continue;
        }
        let reason = objection(floor, &mention).or_else(|| bypass(source, &mention));
        if let Some(reason) = reason {
            let message = format!("`{}` {reason}", mention.text());
            findings.push(Finding::error(RULE, &source.text.path, line, message));
        }
    }
    findings
}

fn objection(floor: floor::Floor, mention: &Mention) -> Option<&'static str> {
    let has = |patterns: &[&[&str]]| patterns.iter().any(|pattern| mention.contains(pattern));
    let prints = match mention {
        Mention::Macro(name) => BELOW_DOORS_MACROS.contains(&name.as_str()),
        Mention::Path(_) => has(&BELOW_DOORS),
    };
    if prints && floor.is_below_doors() {
        Some("talks to the user or ends the program: only a door (floor 5) may; tell the Monitor")
    } else if floor.is_pure() && has(&IN_FORMATS) {
        Some("reaches for the world: floors 0 and 1 see bytes through `ReadAt` alone")
    } else {
        None
    }
}

/// In the program itself all text leaves by one room, which quotes what came from outside and survives
/// a stream that fails.
fn bypass(source: &Source, mention: &Mention) -> Option<&'static str> {
    let is_program = source.text.path.starts_with("crates/cli/src/");
    let is_the_room = source.text.path.ends_with("/terminal.rs");
    let Mention::Macro(name) = mention else {
        return None;
    };
    let prints = BELOW_DOORS_MACROS.contains(&name.as_str());
    (is_program && !is_the_room && prints)
        .then_some("prints past `terminal.rs`, which quotes and never panics: say outln! or errln!")
}

fn check_unsafe(source: &Source) -> Vec<Finding> {
    let Ok(tokens) = source.text.content.parse::<TokenStream>() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if source.crate_noun() != UNSAFE_CRATE {
        collect_unsafe(tokens, &mut lines);
    }
    let message = "`unsafe` belongs into crates/device alone";
    let findings = lines.into_iter();
    findings
        .map(|line| Finding::error("unsafe", &source.text.path, line, message))
        .collect()
}

fn collect_unsafe(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "unsafe" => lines.push(ident.span().start().line),
            TokenTree::Group(group) => collect_unsafe(group.stream(), lines),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Source, Text};

    fn lines_found(path: &str, content: &str) -> Vec<usize> {
        let source = Source::new(Text {
            path: path.to_owned(),
            content: content.to_owned(),
        });
        check(&source).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_format_that_opens_a_file_is_found_however_it_is_written() {
        let content = "use std::{fmt, fs};\nfn a() {\n    std::fs::read(\"a\");\n    \
            assert!(std::fs::exists(\"a\"));\n    std::time::Instant::now();\n}\n";
        assert_eq!(lines_found("crates/ext4/src/a.rs", content), [1, 3, 4, 5]);
        assert!(lines_found("crates/copy/src/a.rs", content).is_empty());
    }

    #[test]
    fn only_doors_print_and_exit() {
        let content = "fn a() {\n    println!(\"\");\n    std::process::exit(1);\n}\n\
            #[cfg(test)]\nmod tests {\n    fn b() { eprintln!(); }\n}\n";
        assert_eq!(lines_found("crates/ops/src/a.rs", content), [2, 3]);
        assert_eq!(lines_found("crates/cli/src/a.rs", content), [2]);
        assert!(lines_found("crates/cli/src/terminal.rs", content).is_empty());
    }

    #[test]
    fn unsafe_is_found_in_code_but_not_in_words() {
        let content =
            "// unsafe\n#![forbid(unsafe_code)]\nfn a() { let b = \"unsafe\"; unsafe {} }\n";
        assert_eq!(lines_found("crates/copy/src/a.rs", content), [3]);
        assert!(lines_found("crates/device/src/a.rs", content).is_empty());
    }
}
