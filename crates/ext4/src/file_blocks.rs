//! Where one file's blocks lie, by its extent tree or its block map.
//!
//! ```text
//!   record -> i_block (60 bytes) -> tree blocks -> extents
//!                                     |            |
//!                                 `tree`       `extents`, in logical order
//! ```

use cardkeep_block::ReadAt;

use crate::block_walk::{Depth, Step, Visit, Walk};
use crate::effort::Effort;
use crate::error::{CorruptKind, Error, FileFault, UnsupportedKind};
use crate::extent_tree;
use crate::indirect;
use crate::inode::Inode;
use crate::number::InodeNumber;
use crate::record::{FileExtent, InodeRecord, Mapping};
use crate::seal::Sealer;
use crate::superblock::Superblock;

/// Extents and tree blocks of one file that are looked at: bounds memory to some 50 MB.
const EXTENTS_MAX: usize = 1 << 20;
const TREE_BLOCKS_MAX: usize = 1 << 17;

/// Calls `visit` for each step of a walk through the blocks of `inode`. Each block of the tree
/// costs `effort`.
pub(crate) fn walk_blocks<M: ReadAt>(
    medium: &M,
    superblock: &Superblock,
    inode: &Inode,
    depth: Depth,
    effort: &mut Effort,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let mut walk = Walk {
        medium,
        superblock,
        depth,
        owner: inode.block_owner(),
        sealer: Sealer::new(superblock),
        logical_end: 0,
        effort,
    };
    match inode.mapping {
        Mapping::Inline => Ok(()),
        Mapping::Extents => extent_tree::walk(&mut walk, &inode.block_field, visit),
        Mapping::Indirect => indirect::walk(&mut walk, &inode.block_field, visit),
    }
}

/// A block of a file's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeBlock {
    /// Where it lies.
    pub block: u64,
    /// The end of the highest range that it refers to itself.
    pub refers_to: u64,
}

/// All blocks of a file but that of its attributes.
#[derive(Clone, Debug)]
pub struct FileMap {
    /// How the file finds them.
    pub mapping: Mapping,
    /// Those of its content, in logical order.
    pub extents: Vec<FileExtent>,
    /// Those of its tree, parents before children.
    pub tree: Vec<TreeBlock>,
}

impl FileMap {
    /// Reads the map of the inode `number`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a tree that fails a check, [`Error::Unsupported`] for more than a
    /// million extents, [`Error::Io`] where the medium fails.
    pub fn load<M: ReadAt, B: AsRef<[u8]>>(
        medium: &M,
        superblock: &Superblock,
        number: InodeNumber,
        record: &InodeRecord<B>,
    ) -> Result<Self, Error> {
        let inode = Inode::parse(superblock, number, record);
        let mut map = Self {
            mapping: inode.mapping,
            extents: Vec::new(),
            tree: Vec::new(),
        };
        // What the steps below refuse ends the walk first.
        let mut effort = Effort::of_blocks(TREE_BLOCKS_MAX as u64 + 1);
        let visit = &mut |step| map.push(number, step);
        walk_blocks(medium, superblock, &inode, Depth::All, &mut effort, visit)?;
        Ok(map)
    }

    fn push(&mut self, number: InodeNumber, step: Step) -> Result<(), Error> {
        match step {
            Step::Extent(extent) => {
                if self.extents.len() >= EXTENTS_MAX {
                    return Err(UnsupportedKind::FileExtents(number).into());
                }
                self.extents.push(extent);
            }
            Step::Tree(block) => {
                if self.tree.len() >= TREE_BLOCKS_MAX {
                    let fault = FileFault::TreeBlocks;
                    return Err(CorruptKind::File { number, fault }.into());
                }
                let refers_to = 0;
                self.tree.push(TreeBlock { block, refers_to });
            }
            Step::RefersTo(end) => {
                if let Some(last) = self.tree.last_mut() {
                    last.refers_to = end;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FileMap, walk_blocks};
    use crate::block_walk::{Depth, Step};
    use crate::effort::Effort;
    use crate::inode::Inode;
    use crate::record::{ExtentNode, FileExtent, InodeRecord};
    use crate::seal::{BlockOwner, Sealer};
    use crate::superblock::{Superblock, feature, tests};
    use cardkeep_block::MemoryMedium;

    /// Block 5 names itself a thousand times: three levels of it would be a milliard reads.
    #[test]
    fn a_tree_that_refers_to_itself_costs_no_more_than_its_effort() {
        let superblock = Superblock::parse(&tests::bytes()).unwrap();
        let mut bytes = vec![0; 6 * 4096];
        bytes[5 * 4096..].copy_from_slice(&5u32.to_le_bytes().repeat(1024));
        let medium = MemoryMedium::from_bytes(&bytes);
        let mut record = [0; 128];
        record[..2].copy_from_slice(&0x8000u16.to_le_bytes());
        record[0x28 + 14 * 4] = 5;
        let inode = Inode::parse(&superblock, 12, &InodeRecord::new(record).unwrap());
        let mut tree_blocks = 0;
        let mut effort = Effort::of_blocks(100);
        let walked = walk_blocks(
            &medium,
            &superblock,
            &inode,
            Depth::All,
            &mut effort,
            &mut |step| {
                tree_blocks += u32::from(matches!(step, Step::Tree(_)));
                Ok(())
            },
        );
        assert!(walked.is_err() && effort.is_spent());
        assert_eq!(tree_blocks, 100);
    }

    /// A tree block that lies at block 5, of a file whose root says so.
    fn tree(superblock: &Superblock) -> (Vec<u8>, InodeRecord<Vec<u8>>) {
        let extent = FileExtent {
            logical: 0,
            physical: 100,
            count: 3,
            is_unwritten: false,
        };
        let mut node = ExtentNode::leaf(&[extent], 340).into_bytes();
        node.resize(4096, 0);
        let mut bytes = vec![0; 128];
        bytes[..2].copy_from_slice(&0x8000u16.to_le_bytes());
        bytes[0x22] = 8; // EXTENTS_FL
        let mut record = InodeRecord::new(bytes).unwrap();
        let root = ExtentNode::inner(&[(0, 5)], 4, 1).into_bytes();
        record.block_field_mut()[..root.len()].copy_from_slice(&root);
        Sealer::new(superblock).extent_block(BlockOwner::new(12, &record), &mut node);
        (node, record)
    }

    #[test]
    fn a_tree_block_with_a_wrong_checksum_maps_nothing() {
        let mut superblock = Superblock::parse(&tests::bytes()).unwrap();
        superblock.ro_compat |= feature::RO_COMPAT_METADATA_CSUM;
        let (node, record) = tree(&superblock);
        let mut bytes = vec![0; 6 * 4096];
        bytes[5 * 4096..].copy_from_slice(&node);
        let load = |bytes: &[u8], superblock: &Superblock| {
            let medium = MemoryMedium::from_bytes(bytes);
            FileMap::load(&medium, superblock, 12, &record)
        };
        let map = load(&bytes, &superblock).unwrap();
        assert_eq!((map.extents[0].physical, map.extents.len()), (100, 1));
        assert_eq!((map.tree[0].block, map.tree[0].refers_to), (5, 103));
        // ee_start_lo.
        bytes[5 * 4096 + 12 + 8] ^= 1;
        let error = load(&bytes, &superblock).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
        // Without checksums nothing tells.
        superblock.ro_compat = 0;
        assert!(load(&bytes, &superblock).is_ok());
        // More entries than eh_max.
        bytes[5 * 4096 + 4] = 0;
        bytes[5 * 4096 + 5] = 0;
        assert!(load(&bytes, &superblock).is_err());
    }
}
