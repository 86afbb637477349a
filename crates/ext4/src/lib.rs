//! ext2, ext3 and ext4, read only: which blocks matter, what the journal holds, whose a block is.
//!
//! Bytes in, types out: the medium is seen through [`ReadAt`](cardkeep_block::ReadAt), nothing is
//! written, and nothing that a medium says makes this crate panic, loop or allocate without bound.
//!
//! Facts are taken from the kernel's `Documentation/filesystems/ext4` ("kernel doc" below) and,
//! where that is silent, from the behaviour of `fs/ext4`, `fs/jbd2` and e2fsprogs, checked against
//! `dumpe2fs`, `e2fsck` and the kernel's own mount in the oracle tests.

mod bitmap;
mod block_walk;
mod checksum;
mod copies;
mod directory;
mod driver;
mod effort;
mod error;
mod extent_tree;
mod file_blocks;
mod files;
mod filesystem;
mod group;
mod indirect;
mod inode;
mod inode_table;
mod journal;
mod layout;
mod log;
mod map;
mod number;
mod owner;
mod passing;
mod record;
mod recovered;
mod replay;
mod seal;
mod superblock;

pub use copies::probe_copies;
pub use driver::ExtDriver;
pub use error::{Corrupt, Error, Unsupported};
pub use file_blocks::{FileMap, TreeBlock};
pub use filesystem::{Ext4, Flavour, Info};
pub use number::InodeNumber;
pub use owner::{Owner, OwnerKind};
pub use passing::PassingGroups;
pub use record::{
    BLOCK_FIELD_BYTES, BLOCK_UNINIT, BlockMap, BrokenList, DescriptorRecord, DirectoryBlock,
    DirectoryEntry, EXTENT_ENTRY_BYTES, ExtentNode, FileExtent, FileType, INODE_UNINIT,
    InodeRecord, Mapping, SUPERBLOCK_BYTES, SuperblockRecord, Timestamp, WRITTEN_LEN_MAX,
};
pub use recovered::Recovered;
pub use replay::Replayed;
pub use seal::{BlockOwner, ChecksumKind, Sealer, journal_superblock};
pub use superblock::{SUPERBLOCK_OFFSET, Superblock, feature, probe};
