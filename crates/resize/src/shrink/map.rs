//! The allocation map of the smaller filesystem: that of the source, moved along, under what the
//! view computes.

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Run, State};

use super::layout::{Area, Layout};

/// Returns the map of `layout`, whose source has the map `source`.
pub(crate) fn allocation_map(layout: &Layout, source: &AllocationMap) -> AllocationMap {
    let size = layout.block_bytes();
    let blocks = &layout.blocks;
    let end = layout.new.block_count;
    let mut builder = MapBuilder::new(end * size);
    // Before the first block of the first group: where boot loaders lie.
    builder.push_to(u64::from(layout.new.first_data_block) * size, State::Used);
    for (start, stop) in blocks.ranges(0, end, true) {
        builder.push_to(start * size, State::Free);
        let mut block = start;
        while block < stop {
            let (old, run) = layout.moves.old_place(block);
            let count = run.min(stop - block);
            let place = Extent::between(old * size, (old + count) * size);
            for part in source.runs_in(place) {
                builder.push(part.extent.len(), part.state);
            }
            block += count;
            builder.push_to(block * size, State::Used);
        }
    }
    builder.push_to(end * size, State::Free);
    builder.finish(State::Used).raised(&computed(layout))
}

/// Returns what the view computes: it has content, whatever the source says of its place.
fn computed(layout: &Layout) -> Vec<Run> {
    let size = layout.block_bytes();
    let new = &layout.new;
    let runs = layout.regions.iter().map(|region| {
        let bytes = match region.area {
            // Unused ends keep the state that they have in the source, to the byte: what was never
            // written there is nobody's business.
            Area::InodeTable(group) => {
                let used = layout.descriptors.used_inodes(group, new.inodes_per_group);
                u64::from(used) * u64::from(new.inode_bytes)
            }
            _ => region.count * size,
        };
        let start = region.start * size;
        Run::new(Extent::between(start, start + bytes), State::Used)
    });
    runs.filter(|run| !run.extent.is_empty()).collect()
}
