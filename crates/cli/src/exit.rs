//! Exit codes, documented in `docs/reference.md`, and how errors are printed.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
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
    ExitCode::from(code)
}
