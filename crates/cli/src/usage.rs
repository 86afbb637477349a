//! Reading the command line, and saying what is wrong with it: what was typed is text from outside, too.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, Error};

use crate::args::Args;
use crate::quote::quoted;
use crate::terminal::{self, Stream};

/// Reads the command line. The program's own name in it is not believed: it stands in the help.
///
/// # Errors
/// The code to exit with, after help, version or an error was printed.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Args, u8> {
    let args = std::iter::once(OsString::from("cardkeep")).chain(args.skip(1));
    Args::try_parse_from(args).map_err(|error| {
        let is_error = error.use_stderr();
        let stream = if is_error { Stream::Err } else { Stream::Out };
        terminal::write_styled(stream, &text(error));
        if is_error { 2 } else { 0 }
    })
}

/// Returns the text of an error, with what was typed quoted in it.
fn text(mut error: Error) -> String {
    let quote = |text: &String| quoted(text).into_owned();
    let safe: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(quote(text)))),
            ContextValue::Strings(texts) => {
                let texts = texts.iter().map(quote).collect();
                Some((kind, ContextValue::Strings(texts)))
            }
            // Tips repeat what was typed; their styles are given up, so that none of it is one.
            ContextValue::StyledStrs(texts) => {
                let texts = texts.iter().map(|text| quote(&text.to_string()).into());
                Some((kind, ContextValue::StyledStrs(texts.collect())))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in safe {
        error.insert(kind, value);
    }
    let rendered = error.render().ansi().to_string();
    without_foreign_control(&rendered)
}

/// Quotes all control but line ends and styles: a value that no context names may be left in the text.
fn without_foreign_control(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let own = match c {
            '\n' => 1,
            '\x1b' => style_len(rest),
            _ => 0,
        };
        let taken = if own > 0 { own } else { c.len_utf8() };
        let (head, tail) = rest.split_at(taken);
        if own > 0 {
            safe.push_str(head);
        } else {
            safe.push_str(&quoted(head));
        }
        rest = tail;
    }
    safe
}

/// Returns the length of the style (ECMA-48, "SGR") that `text` begins with; 0 for anything else.
fn style_len(text: &str) -> usize {
    let Some(body) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let digits = body.find(|c: char| !c.is_ascii_digit() && c != ';');
    match digits {
        Some(len) if body[len..].starts_with('m') => 2 + len + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::args::Args;
    use clap::Parser;

    fn said(args: &[&str]) -> String {
        text(Args::try_parse_from(args).unwrap_err())
    }

    #[test]
    fn what_was_typed_is_quoted_in_errors() {
        let hostile = "--a\x1b[31m\nDone\u{202e}";
        for args in [
            ["cardkeep", "info", hostile, "x"],
            ["cardkeep", hostile, "", ""],
            ["cardkeep", "backup\x1b[2J\n", "a", "b"],
            [
                "cardkeep",
                "backup",
                "a",
                "--shrink=1\x1b[31m\nDone\u{202e}",
            ],
            [
                "cardkeep",
                "backup",
                "a",
                "--format=x\x1b[31m\nDone\u{202e}",
            ],
            [
                "cardkeep",
                "backup",
                "a",
                "--retries=x\x1b[31m\nDone\u{202e}",
            ],
        ] {
            let said = said(&args);
            assert!(
                !said.contains("[2J\n") && !said.contains('\u{202e}'),
                "{said:?}"
            );
            assert!(
                !said.contains("\nDone") && !said.contains("\x1b[31m\\"),
                "{said:?}"
            );
            assert!(said.contains("\\033[") && said.contains("\\n"), "{said:?}");
        }
    }
}
