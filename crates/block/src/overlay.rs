//! A medium with some blocks served from memory: a replayed journal, patched metadata.

use std::collections::BTreeMap;

use crate::{BlockError, ReadAt};

/// The view of a medium in which some blocks of one size are replaced.
#[derive(Debug)]
pub struct Overlay<M> {
    inner: M,
    block_bytes: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl<M: ReadAt> Overlay<M> {
    /// Returns the medium as it is, to be patched in blocks of `block_bytes` (not zero).
    #[must_use]
    pub fn new(inner: M, block_bytes: u32) -> Self {
        Self {
            inner,
            block_bytes: u64::from(block_bytes.max(1)),
            blocks: BTreeMap::new(),
        }
    }

    /// Replaces block number `index`; `data` is cut or filled with zeros to the block size.
    pub fn patch(&mut self, index: u64, data: &[u8]) {
        let mut block = vec![0; self.block_bytes as usize].into_boxed_slice();
        let len = data.len().min(block.len());
        block[..len].copy_from_slice(&data[..len]);
        self.blocks.insert(index, block);
    }

    /// Returns the number of replaced blocks.
    #[must_use]
    pub fn patched_count(&self) -> usize {
        self.blocks.len()
    }
}

impl<M: ReadAt> ReadAt for Overlay<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        self.inner.read_at(offset, buffer)?;
        let first = offset / self.block_bytes;
        let last = extent.end().div_ceil(self.block_bytes);
        for (index, block) in self.blocks.range(first..last) {
            let Some(start) = index.checked_mul(self.block_bytes) else {
                continue;
            };
            let from = start.max(offset);
            let to = start.saturating_add(self.block_bytes).min(extent.end());
            let source = &block[(from - start) as usize..(to - start) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

#[cfg(test)]
mod tests {
    use super::Overlay;
    use crate::{MemoryMedium, ReadAt};

    #[test]
    fn patched_blocks_are_served_from_memory_at_any_cut() {
        let medium = MemoryMedium::from_bytes(&[1; 16]);
        let mut overlay = Overlay::new(&medium, 4);
        overlay.patch(1, &[7, 8, 9, 10]);
        assert_eq!(overlay.read_vec(0, 16).unwrap()[3..9], [1, 7, 8, 9, 10, 1]);
        assert_eq!(overlay.read_vec(5, 2).unwrap(), [8, 9]);
        assert_eq!(overlay.read_vec(8, 8).unwrap(), [1; 8]);
    }
}
