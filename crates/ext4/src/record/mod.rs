//! On-disk records: the one place where each is decoded and edited, by the standard's field names
//! and hex offsets (kernel doc, "Super Block", "Block Group Descriptors", "Index Nodes", "Extent
//! Tree", "Direct/Indirect Block Addressing").
//!
//! ```text
//!   bytes -> XRecord::new, which checks the length -> fields by name -> set_ by name, in place
//! ```
//!
//! A record may borrow its bytes, mutably or not, or own them. What is too short for a record is
//! an error when the record is made, so that no field of it is ever left out silently. Sums are
//! not set here: see [`Sealer`](crate::Sealer).

mod block_map;
mod descriptor;
mod directory_block;
mod extent_node;
mod inode;
mod superblock;

pub use block_map::BlockMap;
pub(crate) use descriptor::INODE_ZEROED;
pub use descriptor::{BLOCK_UNINIT, DescriptorRecord, INODE_UNINIT};
pub use directory_block::{BrokenList, DirectoryBlock, DirectoryEntry};
pub use extent_node::{EXTENT_ENTRY_BYTES, ExtentNode, FileExtent, WRITTEN_LEN_MAX};
pub use inode::{BLOCK_FIELD_BYTES, FileType, InodeRecord, Mapping, Timestamp};
pub(crate) use superblock::has_magic;
pub use superblock::{SUPERBLOCK_BYTES, SuperblockRecord};

use crate::error::{CorruptKind, Error};

/// Checks that `bytes` is long enough for a record of the kind `name`.
fn check_len(name: &'static str, bytes: &[u8], least: usize) -> Result<(), Error> {
    if bytes.len() < least {
        let len = bytes.len();
        return Err(CorruptKind::ShortRecord { name, len, least }.into());
    }
    Ok(())
}

/// Writes a little-endian `u16`. The record's own length was checked.
fn put_u16(bytes: &mut [u8], offset: usize, value: u16) {
    bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes a little-endian `u32`. The record's own length was checked.
fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}
