//! What can be wrong with an ext filesystem: damage and "not known here" never share a variant.

use std::fmt;

use cardkeep_block::{BlockError, Extent};

/// Why a filesystem can't be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The medium failed.
    Io(BlockError),
    /// It uses something that this program doesn't know.
    Unsupported(Unsupported),
    /// It contradicts itself.
    Corrupt(Corrupt),
}

/// Something that this program doesn't know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(UnsupportedKind);

/// A failed check, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(CorruptKind);

/// What is not known here, or more than is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnsupportedKind {
    /// An unknown bit of `s_feature_incompat`.
    Incompat(u32),
    /// An unknown bit of `s_feature_ro_compat`.
    RoCompat(u32),
    ChecksumType(u8),
    /// It is an external journal itself.
    JournalDevice,
    ExternalJournal,
    JournalFeature {
        compat: u32,
        incompat: u32,
    },
    JournalChecksum,
    JournalBlocks,
    JournalRevokes,
    FastCommits,
    Extents,
    /// Inode: extents of one file.
    FileExtents(u32),
    ScatteredDescriptors,
    Groups,
    /// A descriptor of 32 bytes has no room for a number.
    DescriptorTooShort,
    /// More blocks than 32 bits count, without 64bit.
    BlockCount(u64),
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CorruptKind {
    ShortRecord {
        name: &'static str,
        len: usize,
        least: usize,
    },
    NoMagic,
    SuperblockChecksum,
    /// An impossible field of the superblock, by its name.
    Field {
        name: &'static str,
        value: u64,
    },
    BitmapEnd,
    GroupCount(u64),
    PastEnd {
        block_count: u64,
        block_bytes: u32,
        medium_bytes: u64,
    },
    OnlyCopy,
    CopyProvesNothing,
    ErrorsNoted,
    NotClean,
    NotUnmounted,
    JournalWaits,
    DescriptorPastEnd,
    /// By group.
    DescriptorChecksum(u64),
    /// By group.
    GroupPlaces(u64),
    MetadataOverlaps(Extent),
    NoInode(u32),
    File {
        number: u32,
        fault: FileFault,
    },
    Circles,
    SharedTrees,
    NoJournal,
    JournalUnasked,
    JournalLost,
    JournalEmpty,
    JournalHoles,
    JournalNoSuperblock,
    JournalSuperblockChecksum,
    JournalGeometry,
    JournalErrno,
    JournalShort,
    JournalHome,
    LogEndless,
    LogRevoke,
    LogChecksum(LogBlock),
}

/// What is wrong with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFault {
    ExtentOrder,
    OutsideBlocks,
    Node,
    NodeChecksum,
    TreeBlocks,
}

/// A block of the log whose checksum is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogBlock {
    Descriptor,
    Revoke,
    Commit,
    Data,
}

impl From<BlockError> for Error {
    fn from(error: BlockError) -> Self {
        Self::Io(error)
    }
}

impl From<UnsupportedKind> for Error {
    fn from(kind: UnsupportedKind) -> Self {
        Self::Unsupported(Unsupported(kind))
    }
}

impl From<CorruptKind> for Error {
    fn from(kind: CorruptKind) -> Self {
        Self::Corrupt(Corrupt(kind))
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use UnsupportedKind as Kind;
        f.write_str(match &self.0 {
            Kind::Incompat(bits) => return write!(f, "an unknown incompat feature, {bits:#x}"),
            Kind::RoCompat(bits) => return write!(f, "an unknown ro_compat feature, {bits:#x}"),
            Kind::ChecksumType(kind) => return write!(f, "an unknown kind of checksum, {kind}"),
            Kind::JournalFeature { compat, incompat } => {
                return write!(
                    f,
                    "an unknown journal feature, {compat:#x} or {incompat:#x}"
                );
            }
            Kind::FileExtents(number) => {
                return write!(f, "a file in more than a million pieces, inode {number}");
            }
            Kind::BlockCount(count) => {
                return write!(f, "no room for a count of {count} blocks without 64bit");
            }
            Kind::JournalDevice => "no files: it is another filesystem's journal",
            Kind::ExternalJournal => "its journal on another device",
            Kind::JournalChecksum => "an old kind of checksum in its journal",
            Kind::JournalBlocks => "a journal of more than a million blocks",
            Kind::JournalRevokes => "a journal that revokes a million blocks",
            Kind::FastCommits => "fast commits in an unfinished journal",
            Kind::Extents => "too many extents to look at",
            Kind::ScatteredDescriptors => "scattered group descriptors",
            Kind::Groups => "too many groups to keep in memory",
            Kind::DescriptorTooShort => "groups too large for its descriptors",
        })
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CorruptKind as Kind;
        f.write_str(match &self.0 {
            Kind::ShortRecord { name, len, least } => {
                return write!(f, "a record ({name}) has {len} bytes and needs {least}");
            }
            Kind::Field { name, value } => return write!(f, "{name} is {value}"),
            Kind::GroupCount(count) => return write!(f, "it has {count} block groups"),
            Kind::PastEnd {
                block_count,
                block_bytes,
                medium_bytes,
            } => {
                return write!(
                    f,
                    "it has {block_count} blocks of {block_bytes} bytes, but only {medium_bytes} \
                     bytes are there"
                );
            }
            Kind::DescriptorChecksum(group) => {
                return write!(f, "block group {group}: its descriptor's checksum is wrong");
            }
            Kind::GroupPlaces(group) => {
                return write!(
                    f,
                    "block group {group} has its bitmaps outside the filesystem"
                );
            }
            Kind::MetadataOverlaps(place) => {
                return write!(f, "two groups claim the same metadata at {place}");
            }
            Kind::NoInode(number) => return write!(f, "there is no inode {number}"),
            Kind::File { number, fault } => return write!(f, "inode {number}: {}", fault.text()),
            Kind::LogChecksum(block) => {
                return write!(
                    f,
                    "in the journal, a {} block's checksum is wrong",
                    block.name()
                );
            }
            other => other.text(),
        })
    }
}

impl CorruptKind {
    /// The text of a check that names no place.
    const fn text(&self) -> &'static str {
        match self {
            Self::NoMagic => "the superblock has no magic number",
            Self::SuperblockChecksum => "the superblock's checksum is wrong",
            Self::BitmapEnd => "a group's bitmap does not end at a byte",
            Self::OnlyCopy => "its superblock can't be read, only a copy",
            Self::CopyProvesNothing => {
                "its superblock can't be read, and a copy does not tell what is free"
            }
            Self::ErrorsNoted => "the kernel noted errors on it; e2fsck can repair it",
            Self::NotClean => "it was not unmounted, or needs e2fsck",
            Self::NotUnmounted => "it was not unmounted",
            Self::JournalWaits => "it was not unmounted: its journal must be replayed",
            Self::DescriptorPastEnd => "a group descriptor lies past the end",
            Self::Circles => "its trees or directories go in circles",
            Self::SharedTrees => "its files share their trees",
            Self::NoJournal => "it needs a journal replay but has no journal",
            Self::JournalUnasked => "its journal is not empty, but no replay is requested",
            Self::JournalLost => "its journal can't be found",
            Self::JournalEmpty => "the journal is empty",
            Self::JournalHoles => "the journal has holes",
            Self::JournalNoSuperblock => "the journal has no superblock",
            Self::JournalSuperblockChecksum => "the journal superblock's checksum is wrong",
            Self::JournalGeometry => "the journal's geometry is impossible",
            Self::JournalErrno => "the kernel noted an error in its journal",
            Self::JournalShort => "the journal is shorter than it says",
            Self::JournalHome => "the journal replaces what it can't",
            Self::LogEndless => "the journal's log has no end",
            Self::LogRevoke => "the journal revokes more than fits a block",
            // These name a place, and are written where it is known.
            Self::ShortRecord { .. }
            | Self::Field { .. }
            | Self::GroupCount(_)
            | Self::PastEnd { .. }
            | Self::DescriptorChecksum(_)
            | Self::GroupPlaces(_)
            | Self::MetadataOverlaps(_)
            | Self::NoInode(_)
            | Self::File { .. }
            | Self::LogChecksum(_) => "a check failed",
        }
    }
}

impl FileFault {
    const fn text(self) -> &'static str {
        match self {
            Self::ExtentOrder => "its extents are empty or out of order",
            Self::OutsideBlocks => "it has blocks outside the filesystem",
            Self::Node => "an extent tree node is damaged",
            Self::NodeChecksum => "an extent tree node's checksum is wrong",
            Self::TreeBlocks => "its tree has too many blocks",
        }
    }
}

impl LogBlock {
    const fn name(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Revoke => "revoke",
            Self::Commit => "commit",
            Self::Data => "data",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the ext filesystem can't be read"),
            Self::Unsupported(what) => write!(f, "the ext filesystem has {what}"),
            Self::Corrupt(what) => write!(f, "the ext filesystem is damaged: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
