//! Group descriptors to be changed (kernel doc, "Block Group Descriptors").

use cardkeep_block::{le_u16, le_u32};
use cardkeep_ext4::Superblock;

use super::declined::Declined;
use super::edits::Edits;
use super::field::{put_u16, put_u32};
use super::target::Target;

/// `bg_flags`: the inode table and bitmap are not written, no inode is in use.
pub(super) const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap is not written, it is what the layout implies.
pub(super) const BLOCK_UNINIT: u16 = 2;

/// One descriptor. Its high halves are there where it is 64 bytes long.
#[derive(Clone, Debug)]
pub(super) struct Descriptor {
    pub(super) bytes: Vec<u8>,
}

impl Descriptor {
    /// Returns an empty one.
    pub(super) fn new(superblock: &Superblock) -> Self {
        Self {
            bytes: vec![0; usize::from(superblock.descriptor_bytes)],
        }
    }

    /// Reads that of a group, as changed so far.
    pub(super) fn load(target: &Target, number: u64, edits: &Edits<'_>) -> Result<Self, Declined> {
        let (block, within) = place(&target.new, number);
        let size = usize::from(target.new.descriptor_bytes);
        let block = edits.block(block)?;
        Ok(Self::parse(
            block.get(within..within + size).unwrap_or_default(),
        ))
    }

    /// Returns the one in `record`.
    pub(super) fn parse(record: &[u8]) -> Self {
        Self {
            bytes: record.to_vec(),
        }
    }

    /// Seals it and puts it into its block.
    pub(super) fn store(
        mut self,
        target: &Target,
        number: u64,
        edits: &mut Edits<'_>,
    ) -> Result<(), Declined> {
        // Group numbers were checked to be few.
        target.sealer.descriptor(number as u32, &mut self.bytes);
        let (block, within) = place(&target.new, number);
        let block = edits.block_mut(block)?;
        if let Some(own) = block.get_mut(within..within + self.bytes.len()) {
            own.copy_from_slice(&self.bytes);
        }
        Ok(())
    }

    pub(super) fn block_bitmap(&self) -> u64 {
        let high = self.is_long().then(|| le_u32(&self.bytes, 0x20));
        u64::from(le_u32(&self.bytes, 0)) | u64::from(high.unwrap_or(0)) << 32
    }

    pub(super) fn has_block_bitmap(&self, superblock: &Superblock) -> bool {
        !superblock.has_group_checksums() || le_u16(&self.bytes, 0x12) & BLOCK_UNINIT == 0
    }

    pub(super) fn free_cluster_count(&self) -> u32 {
        self.count(0x0C, 0x2C)
    }

    pub(super) fn free_inode_count(&self) -> u32 {
        self.count(0x0E, 0x2E)
    }

    /// Places block bitmap, inode bitmap and inode table next to each other from `first` on.
    pub(super) fn put_places(&mut self, first: u64) {
        for (step, (low, high)) in (0u64..).zip([(0x00, 0x20), (0x04, 0x24), (0x08, 0x28)]) {
            let place = first.saturating_add(step);
            put_u32(&mut self.bytes, low, place as u32);
            if self.is_long() {
                put_u32(&mut self.bytes, high, (place >> 32) as u32);
            }
        }
    }

    pub(super) fn put_flags(&mut self, flags: u16) {
        put_u16(&mut self.bytes, 0x12, flags);
    }

    pub(super) fn put_free_cluster_count(&mut self, count: u64) -> Result<(), Declined> {
        self.put_count(0x0C, 0x2C, count)
    }

    pub(super) fn put_free_inode_count(&mut self, count: u32) -> Result<(), Declined> {
        self.put_count(0x0E, 0x2E, u64::from(count))
    }

    pub(super) fn put_unused_inode_count(&mut self, count: u32) -> Result<(), Declined> {
        self.put_count(0x1C, 0x32, u64::from(count))
    }

    fn is_long(&self) -> bool {
        self.bytes.len() >= 64
    }

    fn count(&self, low: usize, high: usize) -> u32 {
        let upper = self.is_long().then(|| le_u16(&self.bytes, high));
        u32::from(le_u16(&self.bytes, low)) | u32::from(upper.unwrap_or(0)) << 16
    }

    fn put_count(&mut self, low: usize, high: usize, count: u64) -> Result<(), Declined> {
        let max = if self.is_long() {
            u64::from(u32::MAX)
        } else {
            u64::from(u16::MAX)
        };
        if count > max {
            return Err(Declined::unsupported(
                "groups too large for its descriptors",
            ));
        }
        put_u16(&mut self.bytes, low, count as u16);
        if self.is_long() {
            put_u16(&mut self.bytes, high, (count >> 16) as u16);
        }
        Ok(())
    }
}

/// Returns the block that holds a descriptor, and where within it.
fn place(superblock: &Superblock, number: u64) -> (u64, usize) {
    let per_block = superblock.descriptors_per_block();
    let within = number % per_block * u64::from(superblock.descriptor_bytes);
    // OK to cast: less than a block.
    (
        superblock.descriptor_block(number / per_block),
        within as usize,
    )
}
