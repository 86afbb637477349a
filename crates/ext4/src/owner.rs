//! Whose a byte is: from extents of the filesystem to paths.

use std::collections::{HashMap, HashSet};

use cardkeep_block::{Extent, Monitor, ReadAt, Structure};

use crate::block_walk::{Depth, Step};
use crate::effort::Effort;
use crate::error::{CorruptKind, Error};
use crate::file_blocks::walk_blocks;
use crate::filesystem::Ext4;
use crate::inode::Inode;
use crate::number::{InodeNumber, ROOT_INODE};
use crate::record::FileType;

/// Directories walked to find names.
const DIRECTORIES_MAX: usize = 1 << 20;
/// `PATH_MAX`: a longer path is of no use.
const PATH_BYTES_MAX: usize = 4096;
/// What may be spent on paths.
const NAMES_BYTES_MAX: usize = 32 << 20;
/// Parts that are reported: more make no report better.
const PARTS_MAX: usize = 1 << 16;

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
    /// The filesystem's own.
    Metadata(Structure),
}

impl<M: ReadAt> Ext4<M> {
    /// Returns who owns which parts of `extents`, ordered; parts that nobody owns are left out,
    /// and so is what exceeds some ten thousand parts. Reads all inode tables and the directories; what
    /// can't be read of them owns nothing.
    ///
    /// # Errors
    /// As [`Ext4::load`].
    pub fn owners(&self, extents: &[Extent], monitor: &dyn Monitor) -> Result<Vec<Owner>, Error> {
        // Tables that overlap would be read over and over.
        self.metadata()?;
        let mut parts = Parts::new(extents);
        let mut owners = self.metadata_owners(&mut parts);
        let mut effort = self.effort();
        self.for_each_inode(monitor, &mut |inode, _| {
            // A damaged inode owns nothing that can be told, nor does one whose tree is
            // unreadable: what can be read must still have its names.
            match self.collect_parts(inode, &mut effort, &mut parts) {
                Err(_) if effort.is_spent() => Err(CorruptKind::SharedTrees.into()),
                _ => Ok(()),
            }
        })?;
        let by_inode = parts.found;
        let wanted: HashSet<InodeNumber> = by_inode.iter().map(|(inode, _)| *inode).collect();
        let paths = self.paths_of(&wanted, monitor);
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

    /// A sound filesystem's trees and directories take no more blocks than it has.
    fn effort(&self) -> Effort {
        Effort::of_blocks(self.superblock.block_count.saturating_mul(2))
    }

    fn collect_parts(
        &self,
        inode: &Inode,
        effort: &mut Effort,
        parts: &mut Parts,
    ) -> Result<(), Error> {
        if inode.xattr_block != 0 && inode.xattr_block < self.superblock.block_count {
            parts.collect(inode.number, self.extent(inode.xattr_block, 1));
        }
        if !inode.has_blocks {
            return Ok(());
        }
        walk_blocks(
            &self.medium,
            &self.superblock,
            inode,
            Depth::All,
            effort,
            &mut |step| {
                match step {
                    Step::Extent(range) if !range.is_unwritten => {
                        let extent = self.extent(range.physical, range.count);
                        parts.collect(inode.number, extent);
                    }
                    Step::Tree(block) => parts.collect(inode.number, self.extent(block, 1)),
                    Step::Extent(_) | Step::RefersTo(_) => {}
                }
                Ok(())
            },
        )
    }

    fn metadata_owners(&self, parts: &mut Parts) -> Vec<Owner> {
        let superblock = &self.superblock;
        let table = superblock.inode_table_block_count();
        let mut owners = Vec::new();
        for (number, group) in (0u64..).zip(&self.groups) {
            let first = superblock.group_first_block(number);
            let base = superblock.base_block_count(number);
            let base = base.min(superblock.group_block_count(number));
            let pieces = [
                (first, base, Structure::SuperblockAndDescriptors),
                (group.block_bitmap, 1, Structure::BlockBitmap),
                (group.inode_bitmap, 1, Structure::InodeBitmap),
                (group.inode_table, table, Structure::InodeTable),
            ];
            for (block, count, structure) in pieces {
                parts.collect(0, self.extent(block, count));
                let kind = OwnerKind::Metadata(structure);
                owners.extend(parts.found.drain(..).map(|(_, extent)| Owner {
                    extent,
                    kind: kind.clone(),
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
    ) -> HashMap<InodeNumber, String> {
        let mut effort = self.effort();
        let mut names = Names::new(wanted);
        while let Some((number, path)) = names.next() {
            if names.paths.len() == wanted.len() || monitor.is_cancelled() || effort.is_spent() {
                break;
            }
            let Ok(directory) = self.inode(number) else {
                continue;
            };
            // An unreadable directory hides its names, no more.
            drop(
                self.for_each_entry(&directory, &mut effort, &mut |inode, name| {
                    names.add(&path, inode, name, |inode| self.is_directory(inode));
                    Ok(true)
                }),
            );
        }
        names.paths
    }

    /// Tells an inode's type: that in the directory's entry is not always there.
    fn is_directory(&self, number: InodeNumber) -> bool {
        self.inode(number)
            .is_ok_and(|inode| inode.file_type == FileType::Directory)
    }
}

/// The parts of the extents asked for that were found to have an owner.
struct Parts {
    /// Ordered and without overlaps.
    asked: Vec<Extent>,
    found: Vec<(InodeNumber, Extent)>,
}

impl Parts {
    fn new(extents: &[Extent]) -> Self {
        let mut sorted = extents.to_vec();
        sorted.sort_unstable();
        let mut asked: Vec<Extent> = Vec::with_capacity(sorted.len());
        let mut end = 0;
        for extent in sorted {
            let extent = Extent::between(extent.start().max(end), extent.end());
            if !extent.is_empty() {
                end = extent.end();
                asked.push(extent);
            }
        }
        let found = Vec::new();
        Self { asked, found }
    }

    /// Notes which of the extents asked for `owned` touches.
    fn collect(&mut self, inode: InodeNumber, owned: Extent) {
        let first = self.asked.partition_point(|e| e.end() <= owned.start());
        let touched = self.asked[first..]
            .iter()
            .take_while(|extent| extent.start() < owned.end())
            .map(|extent| (inode, extent.intersection(owned)))
            // What is owned may be empty itself: a group without copies of the superblock.
            .filter(|(_, part)| !part.is_empty())
            .take(PARTS_MAX.saturating_sub(self.found.len()));
        self.found.extend(touched);
    }
}

/// The walk through the directories.
struct Names<'a> {
    wanted: &'a HashSet<InodeNumber>,
    paths: HashMap<InodeNumber, String>,
    seen: HashSet<InodeNumber>,
    to_visit: Vec<(InodeNumber, String)>,
    /// Of the paths still to visit and of those found.
    bytes_left: usize,
}

impl<'a> Names<'a> {
    fn new(wanted: &'a HashSet<InodeNumber>) -> Self {
        let root = || (ROOT_INODE, "/".to_owned());
        Self {
            wanted,
            paths: wanted
                .get(&ROOT_INODE)
                .map(|_| root())
                .into_iter()
                .collect(),
            seen: HashSet::from([ROOT_INODE]),
            to_visit: vec![(ROOT_INODE, String::new())],
            bytes_left: NAMES_BYTES_MAX,
        }
    }

    /// Returns the next directory with its path.
    fn next(&mut self) -> Option<(InodeNumber, String)> {
        let next = self.to_visit.pop()?;
        self.bytes_left = self.bytes_left.saturating_add(next.1.len());
        Some(next)
    }

    /// Notes what an entry of the directory at `path` names.
    fn add(
        &mut self,
        path: &str,
        inode: InodeNumber,
        name: &[u8],
        is_directory: impl Fn(InodeNumber) -> bool,
    ) {
        let len = path.len() + 1 + name.len();
        if len > PATH_BYTES_MAX || len > self.bytes_left {
            return;
        }
        let is_wanted = self.wanted.contains(&inode) && !self.paths.contains_key(&inode);
        let is_new =
            self.seen.len() < DIRECTORIES_MAX && !self.seen.contains(&inode) && is_directory(inode);
        let child = || format!("{path}/{}", String::from_utf8_lossy(name));
        if is_wanted {
            self.bytes_left -= len;
            self.paths.insert(inode, child());
        }
        if is_new {
            self.bytes_left = self.bytes_left.saturating_sub(len);
            self.seen.insert(inode);
            self.to_visit.push((inode, child()));
        }
    }
}

/// Reserved inodes (kernel doc, "Special inodes").
const fn special(number: InodeNumber) -> Option<Structure> {
    match number {
        1 => Some(Structure::BadBlockList),
        3 | 4 => Some(Structure::Quota),
        7 => Some(Structure::ReservedDescriptors),
        8 => Some(Structure::Journal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;
    use cardkeep_block::Extent;

    #[test]
    fn parts_are_cut_to_what_was_asked_and_never_empty() {
        let asked = [
            Extent::between(50, 90),
            Extent::between(0, 10),
            Extent::between(5, 20),
        ];
        let mut parts = Parts::new(&asked);
        parts.collect(12, Extent::between(8, 60));
        let extents = [(8, 10), (10, 20), (50, 60)].map(|(a, b)| (12, Extent::between(a, b)));
        assert_eq!(parts.found, extents);
        // A group without copies of the superblock owns no block at its beginning.
        parts.collect(13, Extent::between(70, 70));
        assert_eq!(parts.found, extents);
    }
}
