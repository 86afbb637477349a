//! The programs that are measured at putting a card back.

/// What a program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Write an image onto a card that holds junk.
    Full,
    /// Write the image of the next day onto a card that holds today's content.
    Delta,
    /// Decode an image and write it nowhere.
    Decode,
}

/// A program, called as its users call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The used bytes of cardkeep's image; read back and verified.
    Cardkeep,
    /// As above without reading back, as most others do.
    CardkeepUnverified,
    /// The used bytes, writing only what differs from what the card holds.
    CardkeepDelta,
    /// The whole card, as it is.
    Dd,
    /// The whole card out of a compressed image.
    ZstdDd,
    /// What the raw image's file has blocks for.
    Bmaptool,
    /// The used blocks of each partition, and what lies before the first.
    Partclone,
    /// The whole card out of a compressed image, read back and compared.
    Caligula,
    /// Every frame decoded and checked.
    Verify,
    /// The same file, decoded and checked by zstd.
    Zstd,
    /// An image that xz made, decoded and checked.
    VerifyXz,
    /// The same file, decoded and checked by xz.
    Xz,
}

impl Peer {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 12] = [
        Self::Cardkeep,
        Self::CardkeepUnverified,
        Self::CardkeepDelta,
        Self::Dd,
        Self::ZstdDd,
        Self::Bmaptool,
        Self::Partclone,
        Self::Caligula,
        Self::Verify,
        Self::Zstd,
        Self::VerifyXz,
        Self::Xz,
    ];

    /// Whom to measure where nobody is named: to make an image for xz takes as long as all else.
    pub(crate) const USUAL: [Self; 10] = [
        Self::Cardkeep,
        Self::CardkeepUnverified,
        Self::CardkeepDelta,
        Self::Dd,
        Self::ZstdDd,
        Self::Bmaptool,
        Self::Partclone,
        Self::Caligula,
        Self::Verify,
        Self::Zstd,
    ];

    /// Returns its name on the command line and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cardkeep => "cardkeep",
            Self::CardkeepUnverified => "cardkeep-unverified",
            Self::CardkeepDelta => "cardkeep-delta",
            Self::Dd => "dd",
            Self::ZstdDd => "zstd+dd",
            Self::Bmaptool => "bmaptool",
            Self::Partclone => "partclone",
            Self::Caligula => "caligula",
            Self::Verify => "cardkeep-verify",
            Self::Zstd => "zstd",
            Self::VerifyXz => "cardkeep-verify-xz",
            Self::Xz => "xz",
        }
    }

    /// Returns what it is asked to do.
    pub(crate) fn task(self) -> Task {
        match self {
            Self::CardkeepDelta => Task::Delta,
            Self::Verify | Self::Zstd | Self::VerifyXz | Self::Xz => Task::Decode,
            _ => Task::Full,
        }
    }

    /// Returns the cardkeep that does the same job.
    pub(crate) fn rival(self) -> Self {
        match self {
            Self::CardkeepDelta => Self::CardkeepDelta,
            Self::Verify | Self::Zstd => Self::Verify,
            Self::VerifyXz | Self::Xz => Self::VerifyXz,
            _ => Self::Cardkeep,
        }
    }

    /// Returns what it compares with what, in a word for the table.
    pub(crate) fn verifies(self) -> &'static str {
        match self {
            Self::Cardkeep | Self::CardkeepDelta | Self::Caligula => "card",
            Self::Dd => "no",
            _ => "image",
        }
    }
}
