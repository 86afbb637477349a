//! Whose a byte is: from extents of the filesystem to paths.

use std::collections::{HashMap, HashSet};

use cardkeep_block::{Extent, Monitor, ReadAt};

use crate::error::Error;
use crate::extent_tree::{Content, Depth, walk_blocks};
use crate::filesystem::Ext4;
use crate::inode::{FileType, Inode, InodeNumber, ROOT_INODE};

/// Directories walked to find names: what bounds the work on a damaged tree.
const DIRECTORIES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 200;

/// What a part of a filesystem belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The part, in bytes of the filesystem.
    pub extent: Extent,
    /// Whose it is.
    pub kind: OwnerKind,
}

/// Whose a part of a filesystem is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnerKind {
    /// A file's, directory's or link's, with one of its paths.
    Path(String),
    /// An inode's that no directory names (deleted but open when the power went, or special).
    Inode(InodeNumber),
    /// The filesystem's own, in words.
    Metadata(&'static str),
}

impl<M: ReadAt> Ext4<M> {
    /// Returns who owns which parts of `extents`, ordered; parts that nobody owns are left out.
    /// Reads all inode tables and the directories.
    ///
    /// # Errors
    /// As [`Ext4::load`].
    pub fn owners(&self, extents: &[Extent], monitor: &dyn Monitor) -> Result<Vec<Owner>, Error> {
        let mut owners = self.metadata_owners(extents);
        let mut by_inode: Vec<(InodeNumber, Extent)> = Vec::new();
        self.for_each_inode(monitor, &mut |inode| {
            // A damaged inode owns nothing that can be told.
            let walked = self.collect_parts(inode, extents, &mut by_inode);
            walked.or_else(|error| {
                if matches!(error, Error::Io(_)) {
                    Err(error)
                } else {
                    Ok(())
                }
            })
        })?;
        let wanted: HashSet<InodeNumber> = by_inode.iter().map(|(inode, _)| *inode).collect();
        let paths = self.paths_of(&wanted, monitor)?;
        owners.extend(by_inode.into_iter().map(|(inode, extent)| {
            let kind = match paths.get(&inode) {
                Some(path) => OwnerKind::Path(path.clone()),
                None => special(inode).map_or(OwnerKind::Inode(inode), OwnerKind::Metadata),
            };
            Owner { extent, kind }
        }));
        owners.sort_by_key(|owner| owner.extent);
        Ok(owners)
    }

    fn collect_parts(
        &self,
        inode: &Inode,
        extents: &[Extent],
        found: &mut Vec<(InodeNumber, Extent)>,
    ) -> Result<(), Error> {
        let mut collect = |owned: Extent| {
            let parts = extents.iter().map(|extent| extent.intersection(owned));
            found.extend(
                parts
                    .filter(|part| !part.is_empty())
                    .map(|part| (inode.number, part)),
            );
        };
        if inode.xattr_block != 0 && inode.xattr_block < self.superblock.block_count {
            collect(self.extent(inode.xattr_block, 1));
        }
        if !inode.has_blocks {
            return Ok(());
        }
        walk_blocks(
            &self.medium,
            &self.superblock,
            inode,
            Depth::All,
            &mut |mapping| {
                if mapping.content != Content::Unwritten {
                    collect(self.extent(mapping.physical, mapping.count));
                }
                Ok(())
            },
        )
    }

    fn metadata_owners(&self, extents: &[Extent]) -> Vec<Owner> {
        let superblock = &self.superblock;
        let mut owners = Vec::new();
        for (number, group) in (0u64..).zip(&self.groups) {
            let first = superblock.group_first_block(number);
            let table = superblock.inode_table_block_count();
            let pieces = [
                (
                    first,
                    superblock.base_block_count(number),
                    "superblock and group descriptors",
                ),
                (group.block_bitmap, 1, "block bitmap"),
                (group.inode_bitmap, 1, "inode bitmap"),
                (group.inode_table, table, "inode table"),
            ];
            for (block, count, name) in pieces {
                let own = self.extent(block, count);
                let parts = extents.iter().map(|extent| extent.intersection(own));
                owners.extend(parts.filter(|part| !part.is_empty()).map(|extent| Owner {
                    extent,
                    kind: OwnerKind::Metadata(name),
                }));
            }
        }
        owners
    }

    /// Walks the directories until each wanted inode has a path.
    fn paths_of(
        &self,
        wanted: &HashSet<InodeNumber>,
        monitor: &dyn Monitor,
    ) -> Result<HashMap<InodeNumber, String>, Error> {
        let mut paths = HashMap::new();
        let mut seen = HashSet::from([ROOT_INODE]);
        let mut to_visit = vec![(ROOT_INODE, String::new(), 0)];
        if wanted.contains(&ROOT_INODE) {
            paths.insert(ROOT_INODE, "/".to_owned());
        }
        while let Some((number, path, depth)) = to_visit.pop() {
            if paths.len() == wanted.len() || monitor.is_cancelled() {
                break;
            }
            let Ok(directory) = self.inode(number) else {
                continue;
            };
            if directory.file_type != FileType::Directory {
                continue;
            }
            let listed = self.for_each_entry(&directory, &mut |inode, name| {
                let child = format!("{path}/{}", String::from_utf8_lossy(name));
                if wanted.contains(&inode) {
                    paths.entry(inode).or_insert_with(|| child.clone());
                }
                let is_new = seen.len() < DIRECTORIES_MAX && depth < DEPTH_MAX;
                // Only directories are worth a second look, but their type is not always in the
                // entry: the inode decides when its turn comes.
                if is_new && self.may_be_directory(inode) && seen.insert(inode) {
                    to_visit.push((inode, child, depth + 1));
                }
                Ok(true)
            });
            // An unreadable directory hides its names, no more.
            if let Err(Error::Io(error)) = listed
                && paths.is_empty()
                && number == ROOT_INODE
            {
                return Err(Error::Io(error));
            }
        }
        Ok(paths)
    }

    fn may_be_directory(&self, number: InodeNumber) -> bool {
        self.inode(number)
            .is_ok_and(|inode| inode.file_type == FileType::Directory)
    }
}

/// Reserved inodes (kernel doc, "Special inodes").
const fn special(number: InodeNumber) -> Option<&'static str> {
    match number {
        1 => Some("list of bad blocks"),
        3 | 4 => Some("quota"),
        7 => Some("reserved group descriptors"),
        8 => Some("journal"),
        _ => None,
    }
}
