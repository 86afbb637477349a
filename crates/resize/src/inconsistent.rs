//! The checks of a filesystem that has to agree with itself to the last block, or be at rest, before it
//! gets another size.

use std::fmt;

/// A check that failed. `Display` says which, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistent(InconsistentKind);

/// The checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InconsistentKind {
    /// One that reading made.
    Reading(cardkeep_ext4::Corrupt),
    /// What was told while its map was made: the monitor's words.
    Mapping(String),
    JournalWaits,
    NotClean,
    InodeTotal,
    ResizeInode,
    /// By group.
    InodesBehindTable(u32),
    /// By group.
    InodeCount(u32),
    /// By group.
    BlockBitmap(u64),
    /// By block.
    MetadataShared(u64),
    Inode {
        number: u32,
        fault: InodeFault,
    },
    DirectoryBlock {
        number: u32,
        fault: DirectoryFault,
    },
    TwoOwners {
        owner: Claimant,
        block: u64,
    },
    Askew(Claimant),
    OrphanRing,
    NoOrphan,
    /// What must have moved has no new place.
    Lost(Lost),
    /// Two regions of the new layout.
    Overlap,
    /// The medium is not what it was when the plan was made.
    Changed,
}

/// What is wrong with one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InodeFault {
    Links,
    Checksum,
    XattrOutside,
    XattrChecksum,
}

/// What is wrong with a block of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryFault {
    Checksum,
    List,
}

/// What takes blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimant {
    Inode(u32),
    Mmp,
    ResizeInode,
    Xattrs,
}

/// What has no place in the new layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Tree,
    Extent,
    Referrer,
    Mmp,
}

/// The medium is not what it was when the plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediumChanged;

impl From<InconsistentKind> for Inconsistent {
    fn from(kind: InconsistentKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use InconsistentKind as Kind;
        match &self.0 {
            Kind::Reading(what) => what.fmt(f),
            Kind::Mapping(what) => f.write_str(what),
            Kind::JournalWaits => f.write_str("its journal is not replayed"),
            Kind::NotClean => f.write_str("it is not marked as clean"),
            Kind::InodeTotal => f.write_str("its groups have not as many inodes as it says"),
            Kind::ResizeInode => f.write_str("the resize inode is not what it should be"),
            Kind::InodesBehindTable(group) => write!(
                f,
                "group {group} has inodes in use behind the end of its table"
            ),
            Kind::InodeCount(group) => write!(f, "group {group} miscounts its inodes"),
            Kind::BlockBitmap(group) => write!(f, "group {group}'s block bitmap is wrong"),
            Kind::MetadataShared(block) => {
                write!(f, "fixed metadata at block {block} is a file's, too")
            }
            Kind::Inode { number, fault } => write!(f, "inode {number}: {}", fault.text()),
            Kind::DirectoryBlock { number, fault } => {
                let what = match fault {
                    DirectoryFault::Checksum => "checksum",
                    DirectoryFault::List => "list",
                };
                write!(f, "directory {number}: a block's {what} is wrong")
            }
            Kind::TwoOwners { owner, block } => write!(
                f,
                "{owner}: blocks from {block} on have two owners, or lie outside"
            ),
            Kind::Askew(owner) => write!(f, "{owner}: its blocks are misaligned in their clusters"),
            Kind::OrphanRing => f.write_str("its orphans form a ring"),
            Kind::NoOrphan => f.write_str("an orphan is not an inode"),
            Kind::Lost(what) => f.write_str(what.text()),
            Kind::Overlap => f.write_str("two things lie in one block"),
            Kind::Changed => MediumChanged.fmt(f),
        }
    }
}

impl std::error::Error for Inconsistent {}

impl InodeFault {
    const fn text(self) -> &'static str {
        match self {
            Self::Links => "its bitmap and its links disagree",
            Self::Checksum => "its checksum is wrong",
            Self::XattrOutside => "its attributes lie outside the filesystem",
            Self::XattrChecksum => "its attributes' checksum is wrong",
        }
    }
}

impl Lost {
    const fn text(self) -> &'static str {
        match self {
            Self::Tree => "a tree has no place",
            Self::Extent => "an extent has no place",
            Self::Referrer => "a block that refers to others is lost",
            Self::Mmp => "the MMP block is lost",
        }
    }
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inode(number) => return write!(f, "inode {number}"),
            Self::Mmp => "the MMP block",
            Self::ResizeInode => "the resize inode",
            Self::Xattrs => "attributes",
        })
    }
}

impl fmt::Display for MediumChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the medium is not what it was when the plan was made")
    }
}

impl std::error::Error for MediumChanged {}
