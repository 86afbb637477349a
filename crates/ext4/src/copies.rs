//! Copies of the superblock and of group descriptors, for media whose first ones can't be read
//! (kernel doc, "Layout").
//!
//! What the kernel changes while a filesystem is in use it changes in the first ones only. A copy
//! tells where things lie; of what is free it tells what was true when the filesystem was made.

use cardkeep_block::ReadAt;

use crate::error::{CorruptKind, Error};
use crate::record::{SUPERBLOCK_BYTES, SuperblockRecord};
use crate::superblock::{SUPERBLOCK_OFFSET, Superblock};

/// The groups that sparse_super keeps copies in, as far as one more is worth trying.
const COPY_GROUPS: [u64; 7] = [1, 3, 5, 7, 9, 25, 27];
/// So many copies of a group descriptor are tried.
const COPIES_MAX: usize = 4;
/// Sectors are unreadable one by one.
const SECTOR_BYTES: usize = 512;

/// Tells whether a copy of an ext superblock lies on `medium`, whose first one can't be read. It
/// may have outlived its filesystem: look for others first.
#[must_use]
pub fn probe_copies(medium: &impl ReadAt) -> bool {
    let first = medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES);
    first.is_err() && find_superblock(medium).is_some()
}

/// Reads the superblock of `medium`, or where that can't be read the first sound copy of it; tells
/// whether it is a copy.
pub(crate) fn load_superblock(medium: &impl ReadAt) -> Result<(Superblock, bool), Error> {
    match Superblock::load(medium) {
        Err(Error::Io(error)) => find_superblock(medium)
            .map(|superblock| (superblock, true))
            .ok_or(Error::Io(error)),
        result => result.map(|superblock| (superblock, false)),
    }
}

/// Returns the first copy of a superblock that says of itself that it lies where it does.
pub(crate) fn find_superblock(medium: &impl ReadAt) -> Option<Superblock> {
    let sizes = (0..7).map(|log| 1024_u64 << log);
    sizes.into_iter().find_map(|block_bytes| {
        COPY_GROUPS
            .into_iter()
            .find_map(|group| superblock_at(medium, group, block_bytes))
    })
}

fn superblock_at(medium: &impl ReadAt, group: u64, block_bytes: u64) -> Option<Superblock> {
    // As many blocks as one block of bitmap has bits: what mke2fs makes.
    let first = u64::from(block_bytes == 1024);
    let offset = (group * block_bytes * 8 + first) * block_bytes;
    let bytes = medium.read_vec(offset, SUPERBLOCK_BYTES).ok()?;
    let record = SuperblockRecord::new(&bytes).ok()?;
    let own_bytes = 1024_u64.checked_shl(record.log_block_size());
    if u64::from(record.block_group_nr()) != group || own_bytes != Some(block_bytes) {
        return None;
    }
    let superblock = Superblock::parse(&bytes).ok()?;
    (superblock.len() <= medium.len() && offset > SUPERBLOCK_OFFSET).then_some(superblock)
}

/// A block of group descriptors.
pub(crate) struct DescriptorBlock {
    pub(crate) bytes: Vec<u8>,
    /// Per sector, whether it comes from a copy.
    copied: Vec<bool>,
}

impl DescriptorBlock {
    /// Reads descriptor block `index`, and copies of those sectors of it that can't be read.
    pub(crate) fn load(
        medium: &impl ReadAt,
        superblock: &Superblock,
        index: u64,
    ) -> Result<Self, Error> {
        let offset = byte_offset(superblock, superblock.descriptor_block(index))?;
        let size = superblock.block_bytes as usize;
        match medium.read_vec(offset, size) {
            Ok(bytes) => Ok(Self {
                bytes,
                copied: vec![false; size.div_ceil(SECTOR_BYTES)],
            }),
            Err(error) => Self::mended(medium, superblock, index).ok_or(Error::Io(error)),
        }
    }

    fn mended(medium: &impl ReadAt, superblock: &Superblock, index: u64) -> Option<Self> {
        let first = byte_offset(superblock, superblock.descriptor_block(index)).ok()?;
        let copies = copies_of(superblock, index);
        let mut block = Self {
            bytes: Vec::new(),
            copied: Vec::new(),
        };
        for within in (0..superblock.block_bytes as usize).step_by(SECTOR_BYTES) {
            let read = |block: u64| medium.read_vec(block + within as u64, SECTOR_BYTES).ok();
            let own = read(first);
            block.copied.push(own.is_none());
            let sector = own.or_else(|| copies.iter().copied().find_map(read))?;
            block.bytes.extend(sector);
        }
        Some(block)
    }

    /// Tells whether any of the bytes in `range` comes from a copy.
    pub(crate) fn is_copied(&self, range: std::ops::Range<usize>) -> bool {
        let sectors = range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES);
        self.copied
            .get(sectors)
            .is_none_or(|sectors| sectors.contains(&true))
    }
}

fn byte_offset(superblock: &Superblock, block: u64) -> Result<u64, Error> {
    block
        .checked_mul(u64::from(superblock.block_bytes))
        .ok_or_else(|| CorruptKind::DescriptorPastEnd.into())
}

/// Returns where copies of descriptor block `index` begin, in bytes. Those of meta block groups
/// are not looked for.
fn copies_of(superblock: &Superblock, index: u64) -> Vec<u64> {
    let within = superblock
        .descriptor_block(index)
        .checked_sub(superblock.group_first_block(0));
    let is_plain = superblock.descriptor_block(0).checked_add(index)
        == Some(superblock.descriptor_block(index));
    let Some(within) = within.filter(|_| is_plain) else {
        return Vec::new();
    };
    let groups = (1..superblock.group_count()).filter(|&group| superblock.has_superblock(group));
    let blocks = groups.map(|group| superblock.group_first_block(group).saturating_add(within));
    let offsets = blocks.map_while(|block| byte_offset(superblock, block).ok());
    offsets.take(COPIES_MAX).collect()
}
