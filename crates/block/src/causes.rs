//! The causes of an error: every error says its own layer alone, so that who shows one walks along
//! its causes.

use std::error::Error;

/// Returns the causes of an error, the nearest first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Returns an error with all its causes in one line: `the outermost: its cause: that one's cause`.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::{causes, with_causes};
    use crate::{BlockError, BlockErrorKind, Operation};

    #[test]
    fn all_causes_are_told_from_the_outermost_on() {
        let inner = BlockError::new(BlockErrorKind::Io, Operation::Read).caused_by("the cable");
        let outer = BlockError::new(BlockErrorKind::Gone, Operation::Write).caused_by(inner);
        let inner = causes(&outer).next().unwrap().to_string();
        assert_eq!(causes(&outer).count(), 2);
        assert_eq!(with_causes(&outer), format!("{outer}: {inner}: the cable"));
    }
}
