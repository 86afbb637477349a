//! The block map of ext2 and ext3 (kernel doc, "Direct/Indirect Block Addressing").

use cardkeep_block::ReadAt;

use crate::block_walk::{Depth, Step, Visit, Walk};
use crate::error::Error;
use crate::record::{BlockMap, FileExtent};

const DIRECT_COUNT: usize = 12;
/// `i_block` 12, 13 and 14: single, double and triple indirect.
const LEVELS: [(usize, u32); 3] = [(12, 1), (13, 2), (14, 3)];

/// Walks the 15 block numbers of an inode in logical order.
pub(crate) fn walk<M: ReadAt>(
    walk: &mut Walk<'_, M>,
    block_field: &[u8],
    visit: Visit<'_>,
) -> Result<(), Error> {
    let map = BlockMap::new(block_field)?;
    let mut runs = Runs::default();
    for number in map.iter().take(DIRECT_COUNT) {
        runs.push(walk, number, visit)?;
    }
    if walk.depth == Depth::All {
        for (index, level) in LEVELS {
            indirect(walk, map.get(index), level, &mut runs, visit)?;
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
    let map = BlockMap::new(bytes.as_slice())?;
    let highest = map.iter().max().unwrap_or(0);
    visit(Step::RefersTo(u64::from(highest) + 1))?;
    for number in map.iter() {
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
    open: Option<FileExtent>,
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
            self.open = Some(FileExtent {
                logical,
                physical,
                count: 1,
                is_unwritten: false,
            });
        }
        Ok(())
    }

    fn finish<M: ReadAt>(&mut self, walk: &mut Walk<'_, M>, visit: Visit<'_>) -> Result<(), Error> {
        match self.open.take() {
            Some(open) => walk.extent(open, visit),
            None => Ok(()),
        }
    }
}
