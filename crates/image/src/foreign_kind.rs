//! What a file is that is no disk image, and what to do about it.

/// A kind of file that is no disk image as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignKind {
    name: &'static str,
    advice: &'static str,
}

impl ForeignKind {
    /// The first bytes that [`crate::detect_foreign`] needs in order to know all kinds.
    pub const DETECT_BYTES: usize = 64 * 1024;

    pub(crate) const fn new(name: &'static str, advice: &'static str) -> Self {
        Self { name, advice }
    }

    /// Returns what it is, with its article: "a 7z archive".
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what to do about it; `FILE` stands for its name.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        self.advice
    }
}
