//! The blocks of directories that renumbering inodes changes: those that name a renumbered one, and those
//! that belong to one, whose sums cover its number.

use cardkeep_block::ReadAt;
use cardkeep_ext4::{BlockOwner, DirectoryBlock, Mapping};

use super::descriptors::Descriptors;
use super::file_map::MapReader;
use super::inode_record::read_record;
use super::numbers::Numbers;
use super::tally::{Census, Reference, Referrer};
use crate::declined::Declined;
use crate::inconsistent::{DirectoryFault, InconsistentKind};
use crate::unsupported::UnsupportedKind;

/// Directory blocks are read in pieces of at most this many.
const BATCH_BLOCKS: u64 = 32;
/// Blocks of directories that change: bounds memory to some 24 MB.
const REFERENCES_MAX: usize = 1 << 20;

/// Finds the blocks of directories that renumbering changes.
pub(crate) fn directory_blocks<M: ReadAt>(
    reader: &MapReader<'_, M>,
    descriptors: &Descriptors,
    census: &Census,
    numbers: &Numbers,
) -> Result<Vec<Reference>, Declined> {
    let mut scan = Scan {
        reader,
        numbers,
        found: Vec::new(),
    };
    let directories = census.directories.ranges(0, u64::MAX, true);
    for number in directories.flat_map(|(start, end)| start..end) {
        let number = number as u32;
        let record = read_record(reader, descriptors, number)?;
        let map = reader.read(number, &record)?;
        if map.mapping == Mapping::Inline {
            return Err(UnsupportedKind::InlineDirectory.into());
        }
        let owner = BlockOwner::new(number, &record);
        for extent in map.extents.iter().filter(|extent| !extent.is_unwritten) {
            let end = extent.physical + extent.count;
            for start in (extent.physical..end).step_by(BATCH_BLOCKS as usize) {
                scan.batch(start, BATCH_BLOCKS.min(end - start), owner)?;
            }
        }
    }
    Ok(scan.found)
}

/// A search through directories.
struct Scan<'a, M> {
    reader: &'a MapReader<'a, M>,
    numbers: &'a Numbers,
    found: Vec<Reference>,
}

impl<M: ReadAt> Scan<'_, M> {
    /// Looks at `count` blocks of one directory from `start` on.
    fn batch(&mut self, start: u64, count: u64, owner: BlockOwner) -> Result<(), Declined> {
        let size = self.reader.superblock.block_bytes as usize;
        let place = start * size as u64;
        let mut bytes = self.reader.medium.read_vec(place, count as usize * size)?;
        for (block, bytes) in (start..).zip(bytes.chunks_exact_mut(size)) {
            self.block(block, bytes, owner)?;
        }
        Ok(())
    }

    fn block(&mut self, block: u64, bytes: &mut [u8], owner: BlockOwner) -> Result<(), Declined> {
        let number = owner.number;
        let bad = |fault| InconsistentKind::DirectoryBlock { number, fault };
        let mut sealed = bytes.to_vec();
        self.reader.sealer.directory_block(owner, &mut sealed);
        if sealed != bytes {
            return Err(bad(DirectoryFault::Checksum).into());
        }
        let is_changed = DirectoryBlock::new(bytes)
            .renumber(|old| self.numbers.new_of(old))
            .map_err(|_| bad(DirectoryFault::List))?;
        if !is_changed && self.numbers.new_of(number) == number {
            return Ok(());
        }
        if self.found.len() >= REFERENCES_MAX {
            return Err(UnsupportedKind::EditedBlocks.into());
        }
        self.found.push(Reference {
            block,
            kind: Referrer::Directory,
            owner,
        });
        Ok(())
    }
}
