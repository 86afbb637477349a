//! What makes a partition table unusable: each way in which it can contradict itself or its
//! medium, with the place.

use std::fmt;

use cardkeep_block::Extent;

use crate::flaw::HeaderFlaw;

/// One contradiction that makes the table unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An entry reaches past the medium's end.
    PastEnd { number: u32, extent: Extent },
    /// The chain of an extended partition goes on past the medium's end.
    ChainPastEnd { container: u32, lba: u64 },
    /// An entry ends before it starts, or its bytes can't be counted in 64 bits.
    Backwards { number: u32, lba: u64 },
    /// Two partitions share bytes.
    Overlap { one: u32, other: u32, at: Extent },
    /// A partition lies on the table itself.
    OnTable { number: u32, at: Extent },
    /// The sector of a chain of logical partitions has no signature.
    EbrUnsigned { lba: u64 },
    /// The chain comes back to a sector it has seen.
    EbrLoop { lba: u64 },
    /// The chain, or a logical partition, lies outside its extended partition.
    EbrOutside { lba: u64, container: u32 },
    /// More links than any system would follow.
    EbrTooLong { lba: u64 },
    /// Neither copy of the GPT can be used.
    BothGptBroken {
        primary: HeaderFlaw,
        backup: HeaderFlaw,
    },
    /// The MBR of a hybrid lists a partition that the GPT does not know.
    HybridDisagrees { number: u32, at: Extent },
    /// A filesystem's boot sector with a plausible partition table in it: either may be stale.
    Ambiguous { filesystem: &'static str },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PastEnd { number, extent } => write!(
                f,
                "partition {number} ({extent}) reaches past the end of the medium"
            ),
            Self::ChainPastEnd { container, lba } => write!(
                f,
                "the chain of logical partitions of extended partition {container} goes on at \
                 sector {lba}, past the end of the medium"
            ),
            Self::Backwards { number, lba } => write!(
                f,
                "partition {number} at sector {lba} has an impossible length"
            ),
            Self::Overlap { one, other, at } => {
                write!(f, "partitions {one} and {other} overlap at {at}")
            }
            Self::OnTable { number, at } => write!(
                f,
                "partition {number} overlaps the partition table itself at {at}"
            ),
            Self::EbrUnsigned { lba } => write!(
                f,
                "the record of logical partitions at sector {lba} has no signature"
            ),
            Self::EbrLoop { lba } => write!(
                f,
                "the chain of logical partitions comes back to sector {lba}"
            ),
            Self::EbrOutside { lba, container } => write!(
                f,
                "the chain of logical partitions leaves extended partition {container} \
                 at sector {lba}"
            ),
            Self::EbrTooLong { lba } => write!(
                f,
                "the chain of logical partitions is still not at its end at sector {lba}"
            ),
            Self::BothGptBroken { primary, backup } => write!(
                f,
                "both copies of the GPT are broken: the primary {primary}, the backup {backup}"
            ),
            Self::HybridDisagrees { number, at } => write!(
                f,
                "partition {number} of the hybrid MBR ({at}) is no partition of the GPT"
            ),
            Self::Ambiguous { filesystem } => write!(
                f,
                "the first sector is both a {filesystem} boot sector and a partition table"
            ),
        }
    }
}
