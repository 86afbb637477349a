//! Exit codes, documented in `docs/reference.md`, and how errors are printed.

use std::ffi::OsString;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use cardkeep_ops::{
    BlockError, BlockErrorKind, OpError, OpErrorKind, Operation, causes, effective_user_is_root,
};

use crate::args::OutputArgs;
use crate::done::Telling;
use crate::json;
use crate::quote::shell_word;
use crate::terminal::{self, errln};

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
pub(crate) fn fail(error: &OpError, output: OutputArgs) -> u8 {
    let code = code_of(error.kind);
    if output.json {
        json::print_error(error, code);
        return code;
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let bold = Style::new().bold();
    errln!([red, "error:"] " {error}");
    for cause in causes(error) {
        errln!([bold, "  caused by:"] " {cause}");
    }
    for hint in &error.hints {
        errln!([bold, "  hint:"] " {}", hint.0);
    }
    if is_for_root(error) {
        errln!([bold, "  hint:"] " {}", with_sudo(std::env::args_os()));
    }
    code
}

/// Returns the code to exit with, which says where something could not be told.
pub(crate) fn with_what_was_told(code: u8, telling: Telling) -> ExitCode {
    let code = match (code, telling) {
        (0, Telling::Everything) if terminal::is_something_lost() => 4,
        (0, Telling::Report) if terminal::is_something_lost() => 9,
        (code, _) => {
            // The code of what went wrong stays; that there is more to say is said.
            terminal::is_something_lost();
            code
        }
    };
    ExitCode::from(code)
}

/// Tells whether the same command would work for root.
fn is_for_root(error: &OpError) -> bool {
    let is_denied = |error: &BlockError| {
        error.kind() == BlockErrorKind::Permission && error.operation() == Operation::Open
    };
    let mut errors = causes(error).filter_map(|cause| cause.downcast_ref());
    errors.any(is_denied) && !effective_user_is_root()
}

/// Returns the command line that works, to be copied.
fn with_sudo(args: impl Iterator<Item = OsString>) -> String {
    std::iter::once("sudo".to_owned())
        .chain(args.map(|word| shell_word(&word)))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::with_sudo;
    use std::ffi::OsString;

    #[test]
    fn the_line_with_sudo_can_be_pasted() {
        let args = ["cardkeep", "backup", "/dev/sdb", "my pi's.img"].map(OsString::from);
        let line = with_sudo(args.into_iter());
        assert_eq!(line, "sudo cardkeep backup /dev/sdb 'my pi'\\''s.img'");
    }
}
