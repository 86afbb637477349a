//! The block map of ext2 and ext3 (kernel doc, "Direct/Indirect Block Addressing").

use cardkeep_block::{ReadAt, le_u32};

use crate::error::Error;
use crate::extent_tree::{Content, Depth, Mapping, Walk};

const DIRECT_COUNT: usize = 12;
/// `i_block` 12, 13 and 14: single, double and triple indirect.
const LEVELS: [(usize, u32); 3] = [(12, 1), (13, 2), (14, 3)];

type Visit<'a> = &'a mut dyn FnMut(Mapping) -> Result<(), Error>;

/// Walks the 15 block numbers of an inode in logical order.
pub(crate) fn walk<M: ReadAt>(
    walk: &mut Walk<'_, M>,
    block_field: &[u8],
    visit: Visit<'_>,
) -> Result<(), Error> {
    let mut runs = Runs::default();
    for index in 0..DIRECT_COUNT {
        runs.push(walk, le_u32(block_field, index * 4), visit)?;
    }
    if walk.depth == Depth::All {
        for (index, level) in LEVELS {
            indirect(
                walk,
                le_u32(block_field, index * 4),
                level,
                &mut runs,
                visit,
            )?;
        }
    }
    runs.finish(walk, visit)
}

fn indirect<M: ReadAt>(
    walk: &mut Walk<'_, M>,
    block: u32,
    level: u32,
    runs: &mut Runs,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let per_block = u64::from(walk.superblock.block_bytes / 4);
    if block == 0 {
        runs.finish(walk, visit)?;
        runs.logical += per_block.pow(level);
        return Ok(());
    }
    let bytes = walk.tree_block(u64::from(block), visit)?;
    for entry in bytes.chunks_exact(4) {
        let number = le_u32(entry, 0);
        if level == 1 {
            runs.push(walk, number, visit)?;
        } else {
            indirect(walk, number, level - 1, runs, visit)?;
        }
    }
    Ok(())
}

/// Joins neighbouring blocks into ranges.
#[derive(Default)]
struct Runs {
    logical: u64,
    open: Option<Mapping>,
}

impl Runs {
    fn push<M: ReadAt>(
        &mut self,
        walk: &mut Walk<'_, M>,
        block: u32,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let (logical, physical) = (self.logical, u64::from(block));
        self.logical += 1;
        if let Some(open) = &mut self.open {
            if block != 0 && open.physical + open.count == physical {
                open.count += 1;
                return Ok(());
            }
            self.finish(walk, visit)?;
        }
        if block != 0 {
            self.open = Some(Mapping {
                logical,
                physical,
                count: 1,
                content: Content::Data,
            });
        }
        Ok(())
    }

    fn finish<M: ReadAt>(&mut self, walk: &mut Walk<'_, M>, visit: Visit<'_>) -> Result<(), Error> {
        match self.open.take() {
            Some(open) => visit(walk.check_content(open)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::effort::Effort;
    use crate::extent_tree::{Content, Depth, walk_blocks};
    use crate::inode::Inode;
    use crate::superblock::{Superblock, tests};
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
        let inode = Inode::parse(&superblock, 12, &record);
        let mut tree_blocks = 0;
        let mut effort = Effort::of_blocks(100);
        let walked = walk_blocks(
            &medium,
            &superblock,
            &inode,
            Depth::All,
            &mut effort,
            &mut |mapping| {
                tree_blocks += u32::from(mapping.content == Content::Tree);
                Ok(())
            },
        );
        assert!(walked.is_err() && effort.is_spent());
        assert_eq!(tree_blocks, 100);
    }
}
