//! The blocks that change: each is read when it is first looked at, kept in memory, and becomes
//! part of a patch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cardkeep_block::{Patch, ReadAt};

use super::target::Target;
use crate::declined::Declined;
use crate::unsupported::UnsupportedKind;

/// What the changed blocks may take of memory, in bytes. A card of 64 GB in blocks of 4 KiB
/// needs 5 MiB, most of it for the reserve.
const BYTES_MAX: u64 = 64 << 20;
/// Neighbouring blocks make one patch up to this many bytes.
const PATCH_BYTES_MAX: usize = 1 << 20;

/// Changed blocks of a filesystem that grows.
pub(super) struct Edits<'a> {
    medium: &'a dyn ReadAt,
    block_bytes: u64,
    /// From here on, there was nothing.
    old_block_count: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl<'a> Edits<'a> {
    pub(super) fn new(medium: &'a dyn ReadAt, target: &Target) -> Self {
        Self {
            medium,
            block_bytes: u64::from(target.old.block_bytes),
            old_block_count: target.old.block_count,
            blocks: BTreeMap::new(),
        }
    }

    /// Returns the present content of a block: as changed, or as it was.
    pub(super) fn block(&self, number: u64) -> Result<Vec<u8>, Declined> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        read(self.medium, self.block_bytes, self.old_block_count, number)
    }

    /// Returns a block to be changed. What lies behind the old end is zero.
    pub(super) fn block_mut(&mut self, number: u64) -> Result<&mut Vec<u8>, Declined> {
        let count = self.blocks.len() as u64;
        match self.blocks.entry(number) {
            Entry::Occupied(block) => Ok(block.into_mut()),
            Entry::Vacant(place) => {
                check_memory(count, self.block_bytes)?;
                let old = self.old_block_count;
                Ok(place.insert(read(self.medium, self.block_bytes, old, number)?))
            }
        }
    }

    /// Changes all of a block.
    pub(super) fn put(&mut self, number: u64, block: Vec<u8>) -> Result<(), Declined> {
        check_memory(self.blocks.len() as u64, self.block_bytes)?;
        self.blocks.insert(number, block);
        Ok(())
    }

    /// Returns a block of zeros.
    pub(super) fn empty_block(&self) -> Vec<u8> {
        vec![0; self.block_bytes as usize]
    }

    /// Tells whether a block was changed.
    pub(super) fn has(&self, number: u64) -> bool {
        self.blocks.contains_key(&number)
    }

    /// Returns the patches, in address order.
    pub(super) fn into_patches(self) -> Vec<Patch> {
        let mut patches: Vec<Patch> = Vec::new();
        for (number, block) in self.blocks {
            let offset = number.saturating_mul(self.block_bytes);
            match patches.last_mut() {
                Some(last)
                    if last.extent().end() == offset && last.bytes.len() < PATCH_BYTES_MAX =>
                {
                    last.bytes.extend(block);
                }
                _ => patches.push(Patch::new(offset, block)),
            }
        }
        patches
    }
}

fn check_memory(count: u64, block_bytes: u64) -> Result<(), Declined> {
    if count.saturating_mul(block_bytes) >= BYTES_MAX {
        return Err(UnsupportedKind::EditedBytes.into());
    }
    Ok(())
}

fn read(
    medium: &dyn ReadAt,
    block_bytes: u64,
    old_block_count: u64,
    number: u64,
) -> Result<Vec<u8>, Declined> {
    if number >= old_block_count {
        return Ok(vec![0; block_bytes as usize]);
    }
    // No overflow: the old filesystem lies on its medium.
    Ok(medium.read_vec(number.saturating_mul(block_bytes), block_bytes as usize)?)
}
