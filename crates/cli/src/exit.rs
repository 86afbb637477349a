//! Exit codes, documented in `docs/reference.md`, and how errors are printed.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use cardkeep_block::{BlockError, BlockErrorKind, Operation};
use cardkeep_device::effective_user_is_root;
use cardkeep_ops::{OpError, OpErrorKind};

use crate::args::OutputArgs;
use crate::json;

/// How a command ended that did what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All is well.
    Well,
    /// Something differs that was compared.
    Mismatch,
    /// Done, but there was trouble on the way.
    Troubled,
}

impl Done {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Well => 0,
            Self::Mismatch => 6,
            Self::Troubled => 9,
        })
    }
}

fn code_of(kind: OpErrorKind) -> u8 {
    match kind {
        OpErrorKind::Usage => 2,
        OpErrorKind::Refused => 3,
        OpErrorKind::Environment => 4,
        OpErrorKind::Medium => 5,
        OpErrorKind::Mismatch => 6,
        OpErrorKind::Corrupt => 7,
        OpErrorKind::Interrupted => 8,
        _ => 1,
    }
}

/// Prints an error with its causes and hints, and returns the code to exit with.
pub(crate) fn fail(error: &OpError, output: OutputArgs) -> ExitCode {
    let code = code_of(error.kind);
    if output.json {
        json::print_error(error, code);
        return ExitCode::from(code);
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let bold = Style::new().bold();
    anstream::eprintln!("{red}error:{red:#} {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        anstream::eprintln!("  {bold}caused by:{bold:#} {cause}");
        source = cause.source();
    }
    for hint in &error.hints {
        anstream::eprintln!("  {bold}hint:{bold:#} {}", hint.0);
    }
    if is_for_root(error) {
        anstream::eprintln!("  {bold}hint:{bold:#} {}", with_sudo(std::env::args()));
    }
    ExitCode::from(code)
}

/// Tells whether the same command would work for root.
fn is_for_root(error: &OpError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<BlockError>()
            && error.kind() == BlockErrorKind::Permission
            && error.operation() == Operation::Open
        {
            return !effective_user_is_root();
        }
        source = cause.source();
    }
    false
}

/// Returns the command line that works, to be copied.
fn with_sudo(args: impl Iterator<Item = String>) -> String {
    let quote = |word: String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    std::iter::once("sudo".to_owned())
        .chain(args.map(quote))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::with_sudo;

    #[test]
    fn the_line_with_sudo_can_be_pasted() {
        let args = ["cardkeep", "backup", "/dev/sdb", "my pi's.img"].map(str::to_owned);
        let line = with_sudo(args.into_iter());
        assert_eq!(line, "sudo cardkeep backup /dev/sdb 'my pi'\\''s.img'");
    }
}
