//! Deleted or cut files that wait to be cleaned up at the next mount: they were open when the power
//! went. They are kept as they are, and move like all others.
//!
//! ```text
//!   s_last_orphan -> inode -> i_dtime -> inode -> i_dtime -> 0       (ext2 to ext4)
//!   s_orphan_file_inum -> blocks of inode numbers, 0 meaning none    (orphan_file)
//! ```
//!
//! Kernel doc, "Super Block" (`s_last_orphan`) and "Orphan file".

use std::collections::BTreeSet;

use cardkeep_block::ReadAt;
use cardkeep_ext4::{BlockMap, InodeRecord};

use super::descriptors::Descriptors;
use super::file_map::MapReader;
use super::header::Header;
use super::inode_record::read_record;
use super::numbers::Numbers;
use crate::declined::Declined;
use crate::inconsistent::InconsistentKind;
use crate::unsupported::UnsupportedKind;

/// No system has as many files open; bounds memory and time.
const ORPHANS_MAX: usize = 1 << 16;
/// `ob_magic` and `ob_checksum` at the end of each block of the orphan file.
const TAIL_BYTES: usize = 8;

/// The inodes that wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans {
    chained: BTreeSet<u32>,
    filed: BTreeSet<u32>,
}

impl Orphans {
    /// Finds them.
    pub(crate) fn load<M: ReadAt>(
        reader: &MapReader<'_, M>,
        header: &Header,
        descriptors: &Descriptors,
    ) -> Result<Self, Declined> {
        let mut own = Self::default();
        let mut next = header.last_orphan();
        while next != 0 {
            own.add(next, reader)?;
            if !own.chained.insert(next) {
                return Err(InconsistentKind::OrphanRing.into());
            }
            // i_dtime: the next one in the chain.
            next = read_record(reader, descriptors, next)?.dtime();
        }
        let Some(file) = header.orphan_inode().filter(|_| header.has_filed_orphans()) else {
            return Ok(own);
        };
        let map = reader.read(file, &read_record(reader, descriptors, file)?)?;
        let block_bytes = u64::from(reader.superblock.block_bytes);
        for extent in &map.extents {
            for block in extent.physical..extent.physical + extent.count {
                let bytes = reader
                    .medium
                    .read_vec(block * block_bytes, block_bytes as usize)?;
                for number in slots(&bytes)? {
                    own.add(number, reader)?;
                    own.filed.insert(number);
                }
            }
        }
        Ok(own)
    }

    /// Checks that one more may wait.
    fn add<M>(&self, number: u32, reader: &MapReader<'_, M>) -> Result<(), Declined> {
        if number > reader.superblock.inode_count {
            return Err(InconsistentKind::NoOrphan.into());
        }
        if self.chained.len() + self.filed.len() >= ORPHANS_MAX {
            return Err(UnsupportedKind::Orphans.into());
        }
        Ok(())
    }

    /// Tells whether the inode waits.
    pub(crate) fn hold(&self, number: u32) -> bool {
        self.chained.contains(&number) || self.filed.contains(&number)
    }

    /// Brings what the record of inode `number` says of the next one up to date, and tells whether
    /// that changed it.
    pub(crate) fn rename_next<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        number: u32,
        record: &mut InodeRecord<B>,
        numbers: &Numbers,
    ) -> bool {
        if !self.chained.contains(&number) {
            return false;
        }
        let old = record.dtime();
        let new = numbers.new_of(old);
        record.set_dtime(new);
        old != new
    }
}

/// Brings the inode numbers in a block of the orphan file up to date. It is laid out as a list of
/// block numbers is. `None` for a block that has no room for any.
pub(crate) fn rename_slots(block: &mut [u8], numbers: &Numbers) -> Option<()> {
    let end = block.len().saturating_sub(TAIL_BYTES);
    let mut slots = BlockMap::new(&mut block[..end]).ok()?;
    for index in 0..slots.count() {
        let new = numbers.new_of(slots.get(index));
        slots.set(index, new);
    }
    Some(())
}

fn slots(block: &[u8]) -> Result<Vec<u32>, Declined> {
    let end = block.len().saturating_sub(TAIL_BYTES);
    let slots = BlockMap::new(&block[..end])?;
    Ok(slots.iter().filter(|&number| number != 0).collect())
}
