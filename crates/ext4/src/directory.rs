//! Directories (kernel doc, "Directory Entries"). Hashed trees are read as the plain lists that
//! they are at the same time: their inner nodes look like unused entries.

use cardkeep_block::ReadAt;

use crate::block_walk::{Depth, Step};
use crate::effort::Effort;
use crate::error::Error;
use crate::file_blocks::walk_blocks;
use crate::filesystem::Ext4;
use crate::inode::Inode;
use crate::number::InodeNumber;
use crate::record::{DirectoryBlock, DirectoryEntry, FileType};

/// A directory's data beyond this is not looked at: four million entries.
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;

/// Takes an entry's inode number and name; answers whether to go on.
pub(crate) type VisitEntry<'a> = &'a mut dyn FnMut(InodeNumber, &[u8]) -> Result<bool, Error>;

impl<M: ReadAt> Ext4<M> {
    /// Calls `visit` with the inode number and the name of each entry but `.` and `..`, until it
    /// answers `false`. Each block costs `effort`.
    pub(crate) fn for_each_entry(
        &self,
        directory: &Inode,
        effort: &mut Effort,
        visit: VisitEntry<'_>,
    ) -> Result<(), Error> {
        if directory.file_type != FileType::Directory {
            return Ok(());
        }
        if directory.has_inline_data {
            // The parent's number comes first; what does not fit here lies in an attribute.
            entries(&directory.block_field[4..], visit)?;
            return Ok(());
        }
        let mut ranges = Vec::new();
        let mut bytes_left = DIRECTORY_BYTES_MAX;
        walk_blocks(
            &self.medium,
            &self.superblock,
            directory,
            Depth::All,
            effort,
            &mut |step| {
                if let Step::Extent(extent) = step
                    && !extent.is_unwritten
                {
                    ranges.push(extent);
                }
                Ok(())
            },
        )?;
        let block_bytes = self.block_bytes();
        for range in ranges {
            for block in range.physical..range.physical + range.count {
                let Some(left) = bytes_left.checked_sub(block_bytes) else {
                    return Ok(());
                };
                bytes_left = left;
                effort.spend()?;
                let bytes = self
                    .medium
                    .read_vec(block * block_bytes, block_bytes as usize)?;
                if !entries(&bytes, visit)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Walks the entries of one block; a damaged one ends the block. Answers whether to go on.
fn entries(block: &[u8], visit: VisitEntry<'_>) -> Result<bool, Error> {
    for entry in DirectoryBlock::new(block).entries() {
        let (inode, name) = match entry {
            Ok(DirectoryEntry {
                inode,
                name: Some(name),
                ..
            }) => (inode, name),
            _ => return Ok(true),
        };
        if inode != 0 && !name.is_empty() && name != b"." && name != b".." && !visit(inode, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::entries;

    fn names(block: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        entries(block, &mut |inode, name| {
            found.push((inode, name.to_vec()));
            Ok(true)
        })
        .unwrap();
        found
    }

    #[test]
    fn entries_are_listed_and_damage_ends_the_block() {
        let mut block = vec![0; 64];
        block[..16].copy_from_slice(&[11, 0, 0, 0, 16, 0, 3, 1, b'a', b'b', b'c', 0, 0, 0, 0, 0]);
        block[16..28].copy_from_slice(&[12, 0, 0, 0, 12, 0, 1, 1, b'.', 0, 0, 0]);
        block[28..40].copy_from_slice(&[13, 0, 0, 0, 36, 0, 2, 1, b'x', b'y', 0, 0]);
        assert_eq!(names(&block), [(11, b"abc".to_vec()), (13, b"xy".to_vec())]);
        block[4] = 4;
        assert_eq!(names(&block), []);
        block[4] = 255;
        assert_eq!(names(&block), []);
    }
}
