//! The structures that the bytes of a medium can belong to, and what it means to lose them.

use std::fmt;

/// What bytes belong to that are no named file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Structure {
    /// Bytes in no partition.
    OutsidePartitions,
    /// Space that no file has.
    FreeSpace,
    /// A cluster that was marked as bad.
    BadCluster,
    /// The sectors in front of the file allocation tables, with the boot sector.
    ReservedSectors,
    /// The file allocation tables.
    FileAllocationTable,
    /// Copies of the superblock and of the group descriptors.
    SuperblockAndDescriptors,
    /// The group descriptors that a larger filesystem would need.
    ReservedDescriptors,
    /// The bitmap of used blocks.
    BlockBitmap,
    /// The bitmap of used inodes.
    InodeBitmap,
    /// The records of files and directories.
    InodeTable,
    /// The journal.
    Journal,
    /// The records of what users may take and have taken.
    Quota,
    /// The list of bad blocks.
    BadBlockList,
    /// A part of a filesystem whose inside is not looked into.
    Filesystem,
    /// The superblock of a filesystem that has no copy of it.
    Superblock,
    /// Contents of files, compressed with one another.
    PackedFiles,
    /// Directories, and the tables that the rest is found by.
    Directories,
    /// A file or directory that no directory names, by its inode's number.
    NamelessInode(u64),
}

impl Structure {
    /// Returns what it means that bytes of it are lost, in words.
    #[must_use]
    pub const fn loss(self) -> &'static str {
        match self {
            Self::FreeSpace | Self::BadCluster => "no loss",
            Self::SuperblockAndDescriptors | Self::ReservedSectors => {
                "the filesystem may not mount before it is repaired; copies of it are kept elsewhere"
            }
            Self::BlockBitmap
            | Self::InodeBitmap
            | Self::Quota
            | Self::ReservedDescriptors
            | Self::BadBlockList => "no file is lost; repair the filesystem",
            Self::InodeTable => "files and folders whose records lay there are gone",
            Self::FileAllocationTable => "no file is lost if the other copy is whole",
            Self::Journal => "no file is lost; pending changes may be",
            Self::Filesystem => "files and folders of that filesystem can't be read",
            Self::Superblock => "nothing of that filesystem can be read; install it again",
            Self::PackedFiles => "files whose contents lay there can't be read",
            Self::Directories => "folders are gone, or all of that filesystem",
            Self::OutsidePartitions => "the partition table or a boot loader may be damaged",
            Self::NamelessInode(_) => "a file without a name has lost a part",
        }
    }
}

impl fmt::Display for Structure {
    /// Writes its name in reports and JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsidePartitions => "outside all partitions",
            Self::FreeSpace => "free space",
            Self::BadCluster => "cluster marked bad",
            Self::ReservedSectors => "reserved sectors",
            Self::FileAllocationTable => "file allocation table",
            Self::SuperblockAndDescriptors => "superblock and group descriptors",
            Self::ReservedDescriptors => "reserved group descriptors",
            Self::BlockBitmap => "block bitmap",
            Self::InodeBitmap => "inode bitmap",
            Self::InodeTable => "inode table",
            Self::Journal => "journal",
            Self::Quota => "quota",
            Self::BadBlockList => "list of bad blocks",
            Self::Filesystem => "filesystem",
            Self::Superblock => "superblock",
            Self::PackedFiles => "packed contents of files",
            Self::Directories => "directories and lookup tables",
            Self::NamelessInode(number) => return write!(f, "inode {number}, which has no name"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Structure;

    #[test]
    fn names_and_losses_stay_as_reports_and_programs_know_them() {
        let shown = |structure: Structure| format!("{structure}: {}", structure.loss());
        assert_eq!(shown(Structure::FreeSpace), "free space: no loss");
        assert_eq!(
            shown(Structure::Journal),
            "journal: no file is lost; pending changes may be"
        );
        assert_eq!(
            shown(Structure::NamelessInode(12)),
            "inode 12, which has no name: a file without a name has lost a part"
        );
    }
}
