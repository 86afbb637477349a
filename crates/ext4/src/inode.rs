//! Inodes as most rooms need them: decoded once, and where their records lie.

use cardkeep_block::ReadAt;

use crate::error::{CorruptKind, Error};
use crate::group::Group;
use crate::number::InodeNumber;
use crate::record::{BLOCK_FIELD_BYTES, FileType, InodeRecord, Mapping};
use crate::seal::{BlockOwner, Sealer};
use crate::superblock::{Superblock, feature};

/// The fields of one inode.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) number: InodeNumber,
    pub(crate) generation: u32,
    pub(crate) file_type: FileType,
    pub(crate) mapping: Mapping,
    pub(crate) is_in_use: bool,
    pub(crate) size_bytes: u64,
    pub(crate) has_inline_data: bool,
    pub(crate) xattr_block: u64,
    pub(crate) has_blocks: bool,
    pub(crate) block_field: [u8; BLOCK_FIELD_BYTES],
}

impl Inode {
    /// Takes what is needed here from a record: its first 128 bytes will do.
    pub(crate) fn parse<B: AsRef<[u8]>>(
        superblock: &Superblock,
        number: InodeNumber,
        record: &InodeRecord<B>,
    ) -> Self {
        let has_huge_file = superblock.has_ro_compat(feature::RO_COMPAT_HUGE_FILE);
        Self {
            number,
            generation: record.generation(),
            file_type: record.file_type(),
            mapping: record.mapping(),
            is_in_use: record.is_linked(),
            size_bytes: record.size_bytes(),
            has_inline_data: record.has_inline_data(),
            xattr_block: record.xattr_block(),
            has_blocks: record.blocks(has_huge_file) != 0,
            block_field: record.block_field(),
        }
    }

    /// Returns what goes into the sums of its blocks.
    pub(crate) const fn block_owner(&self) -> BlockOwner {
        BlockOwner {
            number: self.number,
            generation: self.generation,
        }
    }
}

/// Tells whether a whole record has the checksum that it states (or none is stated).
pub(crate) fn is_record_sound(superblock: &Superblock, number: InodeNumber, record: &[u8]) -> bool {
    // A record that is too short states nothing that could be believed.
    InodeRecord::new(record.to_vec()).is_ok_and(|mut sealed| {
        Sealer::new(superblock).inode(number, &mut sealed);
        sealed.bytes() == record
    })
}

/// Returns the byte offset of an inode's record.
pub(crate) fn inode_offset(
    superblock: &Superblock,
    groups: &[Group],
    number: InodeNumber,
) -> Result<u64, Error> {
    let outside = CorruptKind::NoInode(number);
    let index = number.checked_sub(1).ok_or_else(|| outside.clone())?;
    let group = groups
        .get((index / superblock.inodes_per_group) as usize)
        .ok_or(outside)?;
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
    let record = InodeRecord::new(medium.read_vec(offset, 128)?)?;
    Ok(Inode::parse(superblock, number, &record))
}
