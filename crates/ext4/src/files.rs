//! Reading small files by path, as a survey needs: os-release, hostname.

use cardkeep_block::ReadAt;

use crate::block_walk::{Depth, Step};
use crate::effort::Effort;
use crate::error::Error;
use crate::file_blocks::walk_blocks;
use crate::filesystem::Ext4;
use crate::inode::{Inode, load_inode};
use crate::number::{InodeNumber, ROOT_INODE};
use crate::record::{BLOCK_FIELD_BYTES, FileType};

/// Symbolic links followed on one path: the kernel's own limit is 40.
const LINKS_MAX: u32 = 40;
const LINK_BYTES_MAX: usize = 4096;
/// Blocks of directories and trees read to find one file.
const BLOCKS_MAX: u64 = 1 << 16;

impl<M: ReadAt> Ext4<M> {
    /// Returns the content of the regular file at `path` (from the filesystem's root, symbolic
    /// links followed within it), or `None` where there is none, or it is longer than `bytes_max`.
    ///
    /// # Errors
    /// As [`Ext4::load`].
    pub fn read_file(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut effort = Effort::of_blocks(BLOCKS_MAX);
        let Some(inode) = self.lookup(path, &mut effort)? else {
            return Ok(None);
        };
        if inode.file_type != FileType::Regular {
            return Ok(None);
        }
        self.content(&inode, bytes_max, &mut effort)
    }

    /// Reads an inode by number.
    pub(crate) fn inode(&self, number: InodeNumber) -> Result<Inode, Error> {
        load_inode(&self.medium, &self.superblock, &self.groups, number)
    }

    fn lookup(&self, path: &str, effort: &mut Effort) -> Result<Option<Inode>, Error> {
        let mut links_left = LINKS_MAX;
        // The last component is at the end: what is still to walk.
        let mut to_walk: Vec<Vec<u8>> = components(path.as_bytes());
        let mut trail = vec![self.inode(ROOT_INODE)?];
        while let Some(name) = to_walk.pop() {
            if name == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            // The trail always holds the root.
            let Some(directory) = trail.last() else {
                return Ok(None);
            };
            let Some(number) = self.find(directory, &name, effort)? else {
                return Ok(None);
            };
            let inode = self.inode(number)?;
            if inode.file_type != FileType::Symlink {
                trail.push(inode);
                continue;
            }
            let Some(left) = links_left.checked_sub(1) else {
                return Ok(None);
            };
            links_left = left;
            let Some(target) = self.link_target(&inode, effort)? else {
                return Ok(None);
            };
            if target.first() == Some(&b'/') {
                trail.truncate(1);
            }
            to_walk.extend(components(&target));
        }
        Ok(trail.pop())
    }

    fn find(
        &self,
        directory: &Inode,
        wanted: &[u8],
        effort: &mut Effort,
    ) -> Result<Option<InodeNumber>, Error> {
        let mut found = None;
        self.for_each_entry(directory, effort, &mut |inode, name| {
            if name == wanted {
                found = Some(inode);
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    fn link_target(&self, inode: &Inode, effort: &mut Effort) -> Result<Option<Vec<u8>>, Error> {
        if inode.size_bytes < BLOCK_FIELD_BYTES as u64 {
            // Checked to be below 60.
            return Ok(Some(
                inode.block_field[..inode.size_bytes as usize].to_vec(),
            ));
        }
        self.content(inode, LINK_BYTES_MAX, effort)
    }

    /// Returns an inode's content; holes and unwritten blocks read as zeros.
    fn content(
        &self,
        inode: &Inode,
        bytes_max: usize,
        effort: &mut Effort,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(size) = usize::try_from(inode.size_bytes)
            .ok()
            .filter(|&s| s <= bytes_max)
        else {
            return Ok(None);
        };
        if inode.has_inline_data {
            return Ok(inode.block_field.get(..size).map(<[u8]>::to_vec));
        }
        let mut content = vec![0; size];
        let block_bytes = self.block_bytes();
        walk_blocks(
            &self.medium,
            &self.superblock,
            inode,
            Depth::All,
            effort,
            &mut |step| {
                let Step::Extent(extent) = step else {
                    return Ok(());
                };
                let start = extent.logical.saturating_mul(block_bytes);
                if extent.is_unwritten || start >= size as u64 {
                    return Ok(());
                }
                let len = extent.count.saturating_mul(block_bytes);
                let len = len.min(size as u64 - start);
                let target = &mut content[start as usize..(start + len) as usize];
                Ok(self.medium.read_at(extent.physical * block_bytes, target)?)
            },
        )?;
        Ok(Some(content))
    }
}

/// Cuts a path into its components, last one first; `.` and empty ones are left out.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .rev()
        .collect()
}
