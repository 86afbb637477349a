//! What makes one copy of a GPT unusable, with the place. The other copy may still serve.

use std::fmt;

/// Why one copy of a GPT can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    /// It would lie past the medium's end.
    Absent {
        lba: u64,
    },
    /// Its sectors can't be read.
    Unreadable {
        lba: u64,
    },
    Signature {
        lba: u64,
    },
    HeaderSize {
        lba: u64,
        bytes: u32,
    },
    HeaderCrc {
        lba: u64,
        stored: u32,
        computed: u32,
    },
    /// It says that it lies elsewhere.
    Misplaced {
        lba: u64,
        says: u64,
    },
    /// The usable range ends before it starts.
    UsableRange {
        lba: u64,
    },
    EntrySize {
        lba: u64,
        bytes: u32,
    },
    EntryCount {
        lba: u64,
        count: u32,
    },
    /// The array of entries does not lie on the medium.
    ArrayOutside {
        lba: u64,
        array_lba: u64,
    },
    /// The array of entries would lie on the header, or on the MBR.
    ArrayOverlaps {
        lba: u64,
        array_lba: u64,
    },
    ArrayUnreadable {
        array_lba: u64,
    },
    ArrayCrc {
        array_lba: u64,
        stored: u32,
        computed: u32,
    },
}

impl fmt::Display for HeaderFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { lba } => write!(f, "would lie past the end, at sector {lba}"),
            Self::Unreadable { lba } => write!(f, "at sector {lba} cannot be read"),
            Self::Signature { lba } => write!(f, "has no signature at sector {lba}"),
            Self::HeaderSize { lba, bytes } => {
                write!(f, "at sector {lba} claims a header of {bytes} bytes")
            }
            Self::HeaderCrc {
                lba,
                stored,
                computed,
            } => write!(
                f,
                "at sector {lba} has header checksum {stored:08x} instead of {computed:08x}"
            ),
            Self::Misplaced { lba, says } => {
                write!(f, "at sector {lba} says that it lies at sector {says}")
            }
            Self::UsableRange { lba } => {
                write!(f, "at sector {lba} has its usable range backwards")
            }
            Self::EntrySize { lba, bytes } => {
                write!(f, "at sector {lba} claims entries of {bytes} bytes")
            }
            Self::EntryCount { lba, count } => {
                write!(f, "at sector {lba} claims {count} entries")
            }
            Self::ArrayOutside { lba, array_lba } => write!(
                f,
                "at sector {lba} puts its entries outside the medium, at sector {array_lba}"
            ),
            Self::ArrayOverlaps { lba, array_lba } => write!(
                f,
                "at sector {lba} puts its entries on itself or the MBR, at sector {array_lba}"
            ),
            Self::ArrayUnreadable { array_lba } => {
                write!(f, "has unreadable entries at sector {array_lba}")
            }
            Self::ArrayCrc {
                array_lba,
                stored,
                computed,
            } => write!(
                f,
                "has entries at sector {array_lba} with checksum {computed:08x} \
                 instead of {stored:08x}"
            ),
        }
    }
}
