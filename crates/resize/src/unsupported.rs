//! What a filesystem has that is not handled where it gets another size.

use std::fmt;

/// Something that is not handled when a filesystem gets another size. `Display` says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(UnsupportedKind);

/// What is not handled, or more than is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnsupportedKind {
    /// Something that reading does not handle, either.
    Reading(cardkeep_ext4::Unsupported),
    /// Unknown bits of `s_feature_compat`.
    Compat(u32),
    Revision,
    SharedBlocks,
    Frozen,
    ReadOnly,
    BadBlocks,
    CutCluster,
    JournalElsewhere,
    /// A last group that its own metadata would not fit.
    SmallGroups,
    /// A descriptor of 32 bytes has no room for a number.
    DescriptorTooShort,
    ResizeInodeAndMetaBg,
    MetaBgBehindEnd,
    ReserveWithoutInode,
    StrangeResizeInode,
    ReserveCopies,
    ReserveNumbers,
    ClustersWithoutReserve,
    SharedClusters,
    QuotaOfSplitFile,
    InlineDirectory,
    EditedBytes,
    EditedBlocks,
    ScatteredFreeSpace,
    Pieces,
    Orphans,
}

impl From<UnsupportedKind> for Unsupported {
    fn from(kind: UnsupportedKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use UnsupportedKind as Kind;
        f.write_str(match &self.0 {
            Kind::Reading(what) => return what.fmt(f),
            Kind::Compat(bits) => return write!(f, "an unknown compat feature, {bits:#x}"),
            Kind::Revision => "an unknown revision",
            Kind::SharedBlocks => "blocks that files share (shared_blocks)",
            Kind::Frozen => "blocks that are shared or must not be changed",
            Kind::ReadOnly => "the mark that it must not be changed (readonly)",
            Kind::BadBlocks => "a list of bad blocks",
            Kind::CutCluster => "a last cluster that is cut short (bigalloc)",
            Kind::JournalElsewhere => "its journal on another device",
            Kind::SmallGroups => "groups too small for its metadata",
            Kind::DescriptorTooShort => "groups too large for its descriptors",
            Kind::ResizeInodeAndMetaBg => "both a resize inode and meta block groups",
            Kind::MetaBgBehindEnd => "its first meta block group behind its end",
            Kind::ReserveWithoutInode => "blocks reserved for descriptors that no inode holds",
            Kind::StrangeResizeInode => "a resize inode unlike those of e2fsprogs and the kernel",
            Kind::ReserveCopies => "more copies than a block can name",
            Kind::ReserveNumbers => "reserved blocks beyond 32-bit block numbers",
            Kind::ClustersWithoutReserve => {
                "clusters, and no blocks reserved for that many descriptors"
            }
            Kind::SharedClusters => "too long a chain of extents that share clusters",
            Kind::QuotaOfSplitFile => "quotas, which splitting a file would put out of step",
            Kind::InlineDirectory => "a directory inside an inode",
            Kind::EditedBytes => "more metadata to change than fits memory",
            Kind::EditedBlocks => "too many blocks that would change",
            Kind::ScatteredFreeSpace => "too scattered a free space",
            Kind::Pieces => "too many pieces above the cut",
            Kind::Orphans => "too many orphans",
        })
    }
}

impl std::error::Error for Unsupported {}
