//! The smaller filesystem as a medium: what was moved is read from where it is, what names places
//! or numbers is computed when it is read.
//!
//! ```text
//!   request -> whole blocks -> runs that lie together on the source -> regions that are computed
//! ```

use std::sync::Arc;

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt};

use cardkeep_ext4::{InodeRecord, SUPERBLOCK_BYTES};

use crate::inconsistent::MediumChanged;

use super::geometry::{Base, base};
use super::inode_record::record_offset;
use super::layout::{Area, Layout, Region};
use super::numbers::renumbered;
use super::resize_inode::reserved_block;
use super::rewrite::Rewriter;

/// Requests that don't begin and end with blocks are served in pieces of this many bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// A filesystem made smaller. Its length is that of the smaller filesystem, in whole blocks.
#[derive(Debug)]
pub struct ShrunkView<M> {
    medium: M,
    layout: Arc<Layout>,
}

impl<M: ReadAt> ShrunkView<M> {
    pub(crate) const fn new(medium: M, layout: Arc<Layout>) -> Self {
        Self { medium, layout }
    }

    /// Fills `buffer` with whole blocks from `start` on.
    fn read_blocks(&self, start: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let size = self.layout.block_bytes();
        let end = start + buffer.len() as u64 / size;
        let mut block = start;
        while block < end {
            let (old, run) = self.layout.moves.old_place(block);
            let count = run.min(end - block);
            let from = ((block - start) * size) as usize;
            let part = &mut buffer[from..from + (count * size) as usize];
            self.medium.read_at(old * size, part)?;
            block += count;
        }
        for region in self.layout.regions_in(start, end) {
            let stop = end.min(region.start + region.count);
            for place in start.max(region.start)..stop {
                let from = ((place - start) * size) as usize;
                let bytes = &mut buffer[from..from + size as usize];
                self.compute(region, place, bytes)?;
            }
        }
        Ok(())
    }

    /// Turns what was read for block `place` into what belongs there.
    fn compute(&self, region: &Region, place: u64, bytes: &mut [u8]) -> Result<(), BlockError> {
        let layout = &self.layout;
        let new = &layout.new;
        match region.area {
            Area::Copies(group) => self.copies(group, place, bytes)?,
            Area::BlockBitmap(group) => {
                let (first, count) = (new.group_first_block(group), new.group_block_count(group));
                let cluster = u64::from(new.cluster_blocks);
                let bitmap = layout.blocks.bitmap(first, count, cluster, bytes.len());
                bytes.copy_from_slice(&bitmap);
            }
            Area::InodeBitmap(group) => {
                let count = u64::from(new.inodes_per_group);
                let bitmap = layout
                    .inodes
                    .bitmap(group * count + 1, count, 1, bytes.len());
                bytes.copy_from_slice(&bitmap);
            }
            Area::InodeTable(group) => self.inodes(group, place - region.start, bytes)?,
            Area::Referrer(kind, owner) => Rewriter { layout }
                .referrer(kind, owner, place, bytes)
                .map_err(|_| self.changed(place))?,
            Area::Node(index) => {
                let node = &layout.nodes[index];
                bytes.fill(0);
                bytes[..node.bytes.len()].copy_from_slice(&node.bytes);
                let owner = renumbered(node.owner, &layout.numbers);
                layout.sealer.extent_block(owner, bytes);
            }
        }
        Ok(())
    }

    fn changed(&self, place: u64) -> BlockError {
        let size = self.layout.block_bytes();
        let extent = Extent::between(place * size, (place + 1) * size);
        BlockError::new(BlockErrorKind::Io, Operation::Read)
            .at(extent)
            .caused_by(MediumChanged)
    }

    /// The beginning of a group: superblock, descriptors, room for more.
    fn copies(&self, group: u64, place: u64, bytes: &mut [u8]) -> Result<(), BlockError> {
        let layout = &self.layout;
        let new = &layout.new;
        match base(new, group, place - new.group_first_block(group)) {
            Base::Superblock => {
                let mut copy = layout.header.copy_for(group);
                layout.sealer.superblock(&mut copy);
                // Byte 1024 is within block 0, but for blocks of 1 KiB, where it begins block 1.
                let at = if group == 0 && bytes.len() > 1024 {
                    1024
                } else {
                    0
                };
                bytes[at..at + SUPERBLOCK_BYTES].copy_from_slice(copy.bytes());
            }
            Base::Descriptors(index) => {
                let from = index as usize * bytes.len();
                let table = layout.descriptors.bytes();
                let part = &table[from.min(table.len())..table.len().min(from + bytes.len())];
                bytes.fill(0);
                bytes[..part.len()].copy_from_slice(part);
            }
            Base::Reserve if group == 0 => {
                let content = reserved_block(new, place).map_err(|_| self.changed(place))?;
                bytes.copy_from_slice(&content);
            }
            Base::Reserve | Base::Boot => {}
        }
        Ok(())
    }

    /// A block of an inode table.
    fn inodes(&self, group: u64, index: u64, bytes: &mut [u8]) -> Result<(), BlockError> {
        let layout = &self.layout;
        let new = &layout.new;
        let size = usize::from(new.inode_bytes);
        let per_block = bytes.len() / size;
        let first = index * per_block as u64;
        let left = u64::from(new.inodes_per_group).saturating_sub(first);
        let before = group * u64::from(new.inodes_per_group) + first + 1;
        let mut source = None;
        for (number, record) in (before..before + left).zip(bytes.chunks_exact_mut(size)) {
            if !layout.inodes.get(number) {
                continue;
            }
            let old = layout.numbers.old_of(number as u32);
            if u64::from(old) != number {
                self.fetch(old, &mut source, record)?;
            }
            let rewritten = match InodeRecord::new(record) {
                Ok(mut record) => Rewriter { layout }.record(old, &mut record),
                Err(_) => Err(MediumChanged),
            };
            rewritten.map_err(|_| self.changed(layout.descriptors.inode_table(group) + index))?;
        }
        Ok(())
    }

    /// Fetches the record of an inode that gets another number. Such inodes mostly lie together:
    /// the block that was read last is kept in `source`.
    fn fetch(
        &self,
        number: u32,
        source: &mut Option<(u64, Vec<u8>)>,
        record: &mut [u8],
    ) -> Result<(), BlockError> {
        let layout = &self.layout;
        let size = layout.block_bytes();
        let offset = record_offset(&layout.old, &layout.old_descriptors, number);
        let block = offset / size;
        let bytes = match source.take() {
            Some((own, bytes)) if own == block => bytes,
            _ => self.medium.read_vec(block * size, size as usize)?,
        };
        let from = (offset % size) as usize;
        record.copy_from_slice(&bytes[from..from + record.len()]);
        *source = Some((block, bytes));
        Ok(())
    }
}

impl<M: ReadAt> ReadAt for ShrunkView<M> {
    fn len(&self) -> u64 {
        self.layout.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let size = self.layout.block_bytes();
        if offset.is_multiple_of(size) && extent.end().is_multiple_of(size) {
            return self.read_blocks(offset / size, buffer);
        }
        let mut position = offset;
        while position < extent.end() {
            let start = position / size;
            let stop = extent.end().min(start * size + PIECE_BYTES);
            let mut blocks = vec![0; ((stop.div_ceil(size) - start) * size) as usize];
            self.read_blocks(start, &mut blocks)?;
            let len = (stop - position) as usize;
            let from = (position - start * size) as usize;
            let to = (position - offset) as usize;
            buffer[to..to + len].copy_from_slice(&blocks[from..from + len]);
            position = stop;
        }
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.medium.alignment()
    }
}
