//! What a device is opened for.

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading; others may hold it meanwhile.
    Read,
    /// Writing and reading; nobody else may hold it.
    Write,
}
