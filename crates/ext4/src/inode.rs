//! Inodes (kernel doc, "Index Nodes").

use cardkeep_block::{ReadAt, le_u16, le_u32};

use crate::error::Error;
use crate::group::Group;
use crate::seal::Sealer;
use crate::superblock::{Superblock, feature};

/// The number of an inode, from 1.
pub type InodeNumber = u32;

/// The root directory.
pub(crate) const ROOT_INODE: InodeNumber = 2;

const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
const MODE_TYPE: u16 = 0xF000;
/// `i_block`: 15 block numbers, an extent tree's root, a short symlink, or inline data.
pub(crate) const BLOCK_FIELD_BYTES: usize = 60;

/// What an inode is, from the high bits of `i_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular,
    Directory,
    Symlink,
    Other,
}

/// The fields of one inode.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) number: InodeNumber,
    pub(crate) file_type: FileType,
    pub(crate) is_in_use: bool,
    pub(crate) size_bytes: u64,
    pub(crate) flags: u32,
    pub(crate) xattr_block: u64,
    pub(crate) has_blocks: bool,
    pub(crate) block_field: [u8; BLOCK_FIELD_BYTES],
}

impl Inode {
    /// Decodes the first 128 bytes of an inode (all that is needed here).
    pub(crate) fn parse(superblock: &Superblock, number: InodeNumber, bytes: &[u8]) -> Self {
        let mode = le_u16(bytes, 0x00);
        let file_type = match mode & MODE_TYPE {
            0x8000 => FileType::Regular,
            0x4000 => FileType::Directory,
            0xA000 => FileType::Symlink,
            _ => FileType::Other,
        };
        let mut blocks = u64::from(le_u32(bytes, 0x1C));
        if superblock.has_ro_compat(feature::RO_COMPAT_HUGE_FILE) {
            blocks |= u64::from(le_u16(bytes, 0x74)) << 32;
        }
        let mut block_field = [0; BLOCK_FIELD_BYTES];
        if let Some(field) = bytes.get(0x28..0x28 + BLOCK_FIELD_BYTES) {
            block_field.copy_from_slice(field);
        }
        Self {
            number,
            file_type,
            is_in_use: mode != 0 && le_u16(bytes, 0x1A) != 0,
            size_bytes: u64::from(le_u32(bytes, 0x04)) | u64::from(le_u32(bytes, 0x6C)) << 32,
            flags: le_u32(bytes, 0x20),
            xattr_block: u64::from(le_u32(bytes, 0x68)) | u64::from(le_u16(bytes, 0x76)) << 32,
            has_blocks: blocks != 0,
            block_field,
        }
    }

    /// Tells whether `i_block` roots an extent tree.
    pub(crate) const fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    /// Tells whether the content lies in the inode itself.
    pub(crate) const fn has_inline_data(&self) -> bool {
        self.flags & FLAG_INLINE_DATA != 0
    }

    /// Tells whether `i_block` holds block numbers: not so for inline data, for short symlinks,
    /// and for devices.
    pub(crate) const fn maps_blocks(&self) -> bool {
        match self.file_type {
            FileType::Regular | FileType::Directory => !self.has_inline_data(),
            FileType::Symlink => {
                !self.has_inline_data() && self.size_bytes >= BLOCK_FIELD_BYTES as u64
            }
            FileType::Other => false,
        }
    }
}

/// Tells whether a whole record has the checksum that it states (or none is stated).
pub(crate) fn is_record_sound(superblock: &Superblock, number: InodeNumber, record: &[u8]) -> bool {
    let mut sealed = record.to_vec();
    Sealer::new(superblock).inode(number, &mut sealed);
    sealed == record
}

/// Returns the byte offset of an inode's record.
pub(crate) fn inode_offset(
    superblock: &Superblock,
    groups: &[Group],
    number: InodeNumber,
) -> Result<u64, Error> {
    let outside = || Error::corrupt(format!("there is no inode {number}"));
    let index = number.checked_sub(1).ok_or_else(outside)?;
    let group = groups
        .get((index / superblock.inodes_per_group) as usize)
        .ok_or_else(outside)?;
    let within = u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
    Ok(group.inode_table * u64::from(superblock.block_bytes) + within)
}

/// Reads an inode.
pub(crate) fn load_inode(
    medium: &impl ReadAt,
    superblock: &Superblock,
    groups: &[Group],
    number: InodeNumber,
) -> Result<Inode, Error> {
    let offset = inode_offset(superblock, groups, number)?;
    let bytes = medium.read_vec(offset, 128)?;
    Ok(Inode::parse(superblock, number, &bytes))
}
