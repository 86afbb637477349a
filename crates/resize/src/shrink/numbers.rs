//! Inodes of groups above the cut get the lowest free numbers below it, in their order; the
//! directories that name them, and their own blocks, have to be changed.

use cardkeep_block::{ReadAt, le_u16, le_u32};
use cardkeep_ext4::{BlockOwner, InodeRecord, Mapping};

use super::bits::Bits;
use super::declined::Declined;
use super::descriptors::Descriptors;
use super::file_map::MapReader;
use super::tally::{Census, Reference, Referrer};

/// Directory blocks are read in pieces of at most this many.
const BATCH_BLOCKS: u64 = 32;
/// Blocks of directories that change: bounds memory to some 24 MB.
const REFERENCES_MAX: usize = 1 << 20;

/// Old and new numbers. Both ascend.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pairs: Vec<(u32, u32)>,
}

impl Numbers {
    /// Gives new numbers below `end` to all inodes from `end` on. Reserved inodes, below `first`,
    /// are not given away. `None` where there are not enough.
    pub(crate) fn assign(inodes: &Bits, first: u32, end: u32) -> Option<Self> {
        let mut pairs = Vec::new();
        let mut free = u64::from(first);
        for (start, stop) in inodes.ranges(u64::from(end), inodes.end(), true) {
            for old in start..stop {
                free = inodes.next(free, false);
                if free >= u64::from(end) {
                    return None;
                }
                pairs.push((old as u32, free as u32));
                free += 1;
            }
        }
        Some(Self { pairs })
    }

    /// Returns how many inodes get new numbers.
    pub(crate) const fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Returns the pairs of old and new numbers.
    pub(crate) fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// Returns the new number of an inode.
    pub(crate) fn new_of(&self, old: u32) -> u32 {
        let found = self.pairs.binary_search_by_key(&old, |pair| pair.0);
        found.map_or(old, |index| self.pairs[index].1)
    }

    /// Returns the old number of an inode.
    pub(crate) fn old_of(&self, new: u32) -> u32 {
        let found = self.pairs.binary_search_by_key(&new, |pair| pair.1);
        found.map_or(new, |index| self.pairs[index].0)
    }

    /// Renames the inodes that a directory block names, and tells whether there were any. `None`
    /// where the block is damaged. Nodes of hashed trees look like unused entries.
    pub(crate) fn rename_entries(&self, block: &mut [u8]) -> Option<bool> {
        let len = block.len();
        let mut is_changed = false;
        let mut offset = 0;
        while offset < len {
            // In blocks of 64 KiB the length does not fit: 0 and 0xFFFF mean "to the end".
            let entry_len = match le_u16(block, offset + 4) {
                0 | 0xFFFF if len == 65536 => len - offset,
                entry_len => usize::from(entry_len),
            };
            if entry_len < 8 || offset + entry_len > len {
                return None;
            }
            let old = le_u32(block, offset);
            let new = self.new_of(old);
            if old != 0 && new != old {
                block[offset..offset + 4].copy_from_slice(&new.to_le_bytes());
                is_changed = true;
            }
            offset += entry_len;
        }
        Some(is_changed)
    }
}

/// Finds the blocks of directories that renumbering changes.
pub(crate) fn directory_blocks<M: ReadAt>(
    reader: &MapReader<'_, M>,
    descriptors: &Descriptors,
    census: &Census,
    numbers: &Numbers,
) -> Result<Vec<Reference>, Declined> {
    let mut found = Vec::new();
    let directories = census.directories.ranges(0, u64::MAX, true);
    for number in directories.flat_map(|(start, end)| start..end) {
        let number = number as u32;
        let record = read_record(reader, descriptors, number)?;
        let map = reader.read(number, &record)?;
        if map.mapping == Mapping::Inline {
            return Err(Declined::unsupported("a directory inside an inode"));
        }
        let owner = BlockOwner::new(number, &record);
        let is_renumbered = numbers.new_of(number) != number;
        for extent in map.extents.iter().filter(|extent| !extent.is_unwritten) {
            let end = extent.physical + extent.count;
            let mut start = extent.physical;
            while start < end {
                let count = BATCH_BLOCKS.min(end - start);
                scan(
                    reader,
                    numbers,
                    (start, count),
                    owner,
                    is_renumbered,
                    &mut found,
                )?;
                start += count;
            }
        }
    }
    Ok(found)
}

fn scan<M: ReadAt>(
    reader: &MapReader<'_, M>,
    numbers: &Numbers,
    (start, count): (u64, u64),
    owner: BlockOwner,
    is_renumbered: bool,
    found: &mut Vec<Reference>,
) -> Result<(), Declined> {
    let size = reader.superblock.block_bytes as usize;
    let bad = |what| {
        Declined::inconsistent(format!(
            "directory {}: a block's {what} is wrong",
            owner.number
        ))
    };
    let mut bytes = reader
        .medium
        .read_vec(start * size as u64, count as usize * size)?;
    for (block, bytes) in (start..).zip(bytes.chunks_exact_mut(size)) {
        let mut sealed = bytes.to_vec();
        reader.sealer.directory_block(owner, &mut sealed);
        if sealed != bytes {
            return Err(bad("checksum"));
        }
        let is_changed = numbers.rename_entries(bytes).ok_or_else(|| bad("list"))?;
        if is_changed || is_renumbered {
            if found.len() >= REFERENCES_MAX {
                return Err(Declined::unsupported("too many blocks that would change"));
            }
            found.push(Reference {
                block,
                kind: Referrer::Directory,
                owner,
            });
        }
    }
    Ok(())
}

/// Returns where an inode's record lies, in bytes.
pub(crate) fn record_offset(
    superblock: &cardkeep_ext4::Superblock,
    descriptors: &Descriptors,
    number: u32,
) -> u64 {
    let index = number.saturating_sub(1);
    let table = descriptors.inode_table(u64::from(index / superblock.inodes_per_group));
    let within = u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
    table * u64::from(superblock.block_bytes) + within
}

/// Reads an inode's record.
pub(crate) fn read_record<M: ReadAt>(
    reader: &MapReader<'_, M>,
    descriptors: &Descriptors,
    number: u32,
) -> Result<InodeRecord<Vec<u8>>, Declined> {
    let offset = record_offset(reader.superblock, descriptors, number);
    let bytes = usize::from(reader.superblock.inode_bytes);
    Ok(InodeRecord::new(reader.medium.read_vec(offset, bytes)?)?)
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use crate::shrink::bits::Bits;

    #[test]
    fn the_lowest_free_numbers_are_given_in_order() {
        let mut inodes = Bits::new(1, 41);
        inodes.insert_range(1, 12);
        for number in [14, 25, 30, 40] {
            inodes.insert(number);
        }
        let numbers = Numbers::assign(&inodes, 11, 25).unwrap();
        assert_eq!(numbers.pairs(), [(25, 13), (30, 15), (40, 16)]);
        assert_eq!((numbers.new_of(30), numbers.old_of(15)), (15, 30));
        assert_eq!((numbers.new_of(14), numbers.old_of(14)), (14, 14));
        assert!(Numbers::assign(&inodes, 11, 15).is_none());
    }

    #[test]
    fn entries_are_renamed_and_damage_is_told() {
        let mut inodes = Bits::new(1, 41);
        inodes.insert(30);
        let numbers = Numbers::assign(&inodes, 11, 25).unwrap();
        let mut block = vec![0; 32];
        block[..12].copy_from_slice(&[30, 0, 0, 0, 12, 0, 1, 1, b'a', 0, 0, 0]);
        block[12..20].copy_from_slice(&[12, 0, 0, 0, 20, 0, 1, 1]);
        assert_eq!(numbers.rename_entries(&mut block), Some(true));
        assert_eq!((block[0], block[12]), (11, 12));
        assert_eq!(numbers.rename_entries(&mut block), Some(false));
        block[16] = 21;
        assert_eq!(numbers.rename_entries(&mut block), None);
    }
}
