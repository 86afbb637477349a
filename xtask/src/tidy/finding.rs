//! What a rule has to say about a place.

use std::fmt;

/// Whether a finding fails the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Past the soft limit: worth a look.
    Warning,
    /// A broken rule.
    Error,
}

/// One broken or nearly broken rule at one place.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// The rule's name as it stands in an allow comment.
    pub(crate) rule: &'static str,
    /// The file, relative to the project's root, with forward slashes.
    pub(crate) path: String,
    /// The line's number from 1; 0 for a rule about the whole file.
    pub(crate) line: usize,
    severity: Severity,
    message: String,
}

impl Finding {
    /// Returns a finding that fails the check.
    pub(crate) fn error(
        rule: &'static str,
        path: &str,
        line: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            path: path.to_owned(),
            line,
            severity: Severity::Error,
            message: message.into(),
        }
    }

    /// Returns the same finding as a mere warning.
    pub(crate) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Tells whether it fails the check.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let line = self.line.max(1);
        let Self {
            rule,
            path,
            message,
            ..
        } = self;
        write!(f, "{path}:{line}: {severity}[{rule}]: {message}")
    }
}
