//! A block of a directory: a list of entries, each as long as it says (kernel doc, "Linear (Classic)
//! Directories").
//!
//! ```text
//!   0x00 inode   0x04 rec_len   0x06 name_len   0x07 file_type   0x08 name ...
//! ```
//!
//! Nodes of hashed trees and sums look like entries that are not in use.

use cardkeep_block::{le_u16, le_u32};

use super::put_u32;
use crate::number::InodeNumber;

/// Bytes of an entry before its name.
const ENTRY_HEAD_BYTES: usize = 8;
/// The longest block, in which `rec_len` can't say its own length.
const LONGEST_BLOCK_BYTES: usize = 65536;

/// A block of a directory, or what of it lies in an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryBlock<B> {
    bytes: B,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// Where it begins in its block, in bytes.
    pub offset: usize,
    /// The inode that it names; 0 for an entry that is not in use.
    pub inode: InodeNumber,
    /// The name; `None` where it would not fit the entry.
    pub name: Option<&'a [u8]>,
}

/// The list of entries is damaged behind the last one that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenList;

impl<B: AsRef<[u8]>> DirectoryBlock<B> {
    /// Returns the block in `bytes`, all of them.
    pub const fn new(bytes: B) -> Self {
        Self { bytes }
    }

    /// Returns its entries in their order; the last one may be damage.
    pub fn entries(&self) -> impl Iterator<Item = Result<DirectoryEntry<'_>, BrokenList>> + '_ {
        let block = self.bytes.as_ref();
        let mut offset = 0;
        std::iter::from_fn(move || {
            let rest = block.get(offset..).filter(|rest| !rest.is_empty())?;
            let Some((entry, len)) = first_entry(rest, block.len(), offset) else {
                offset = block.len();
                return Some(Err(BrokenList));
            };
            offset += len;
            Some(Ok(entry))
        })
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> DirectoryBlock<B> {
    /// Gives each entry in use the inode number that `number_of` returns for its old one, and tells
    /// whether that changed any.
    ///
    /// # Errors
    /// [`BrokenList`], where nothing was changed.
    pub fn renumber(
        &mut self,
        number_of: impl Fn(InodeNumber) -> InodeNumber,
    ) -> Result<bool, BrokenList> {
        let entries: Result<Vec<(usize, InodeNumber)>, BrokenList> = self
            .entries()
            .map(|entry| entry.map(|entry| (entry.offset, entry.inode)))
            .collect();
        let mut is_changed = false;
        for (offset, old) in entries?.into_iter().filter(|&(_, inode)| inode != 0) {
            let new = number_of(old);
            if new != old {
                put_u32(self.bytes.as_mut(), offset, new);
                is_changed = true;
            }
        }
        Ok(is_changed)
    }
}

/// Returns the entry that `rest` begins with and how long it is; `None` where it is damaged.
fn first_entry(
    rest: &[u8],
    block_bytes: usize,
    offset: usize,
) -> Option<(DirectoryEntry<'_>, usize)> {
    let head = rest.get(..ENTRY_HEAD_BYTES)?;
    // In blocks of 64 KiB the length does not fit: 0 and 0xFFFF mean "to the end".
    let len = match le_u16(head, 4) {
        0 | 0xFFFF if block_bytes == LONGEST_BLOCK_BYTES => rest.len(),
        len => usize::from(len),
    };
    let entry = rest.get(..len)?;
    let names = entry.get(ENTRY_HEAD_BYTES..)?;
    let entry = DirectoryEntry {
        offset,
        inode: le_u32(head, 0),
        name: names.get(..usize::from(head[6])),
    };
    Some((entry, len))
}

#[cfg(test)]
mod tests {
    use super::{BrokenList, DirectoryBlock};

    /// Two entries in 32 bytes: inode 30, "a", and inode 12, "b".
    fn block() -> Vec<u8> {
        let mut block = vec![0; 32];
        block[..12].copy_from_slice(&[30, 0, 0, 0, 12, 0, 1, 1, b'a', 0, 0, 0]);
        block[12..24].copy_from_slice(&[12, 0, 0, 0, 20, 0, 1, 1, b'b', 0, 0, 0]);
        block
    }

    #[test]
    fn entries_are_told_up_to_the_damage() {
        let told = |block: &[u8]| {
            let block = DirectoryBlock::new(block);
            let entries = block.entries();
            let entries = entries.map(|entry| entry.map(|own| (own.offset, own.inode)));
            entries.collect::<Vec<_>>()
        };
        let mut own = block();
        assert_eq!(told(&own), [Ok((0, 30)), Ok((12, 12))]);
        for len in [0, 7, 21, 255] {
            own[16] = len;
            assert_eq!(told(&own), [Ok((0, 30)), Err(BrokenList)], "{len}");
        }
        own[16] = 16;
        // Four bytes are left, too few for an entry.
        assert_eq!(told(&own), [Ok((0, 30)), Ok((12, 12)), Err(BrokenList)]);
        own[6] = 5;
        let own = DirectoryBlock::new(own);
        assert_eq!(own.entries().next().unwrap().unwrap().name, None);
    }

    #[test]
    fn a_length_that_a_block_of_64_kib_cannot_say_reaches_to_its_end() {
        for len in [0, 0xFFFF_u16] {
            let mut block = vec![0; 65536];
            block[..4].copy_from_slice(&7_u32.to_le_bytes());
            block[4..6].copy_from_slice(&len.to_le_bytes());
            let block = DirectoryBlock::new(block);
            let told: Vec<_> = block.entries().collect();
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].map(|entry| entry.inode), Ok(7));
        }
    }

    #[test]
    fn a_damaged_block_is_not_renumbered_in_part() {
        let mut own = DirectoryBlock::new(block());
        let number_of = |old| if old == 30 { 11 } else { old };
        assert_eq!(own.renumber(number_of), Ok(true));
        assert_eq!(own.renumber(number_of), Ok(false));
        let mut broken = block();
        broken[16] = 21;
        let mut own = DirectoryBlock::new(broken.clone());
        assert_eq!(own.renumber(number_of), Err(BrokenList));
        assert_eq!(own.bytes, broken);
    }
}
