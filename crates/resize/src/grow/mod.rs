//! ext2, ext3 and ext4 made larger: the bytes that make a filesystem fill a larger partition.
//!
//! ```text
//!   before   | group 0: superblock, descriptors, reserve | group 1 ..... | last, cut short |
//!   after    | group 0: superblock, descriptors, reserve | group 1 ..... | last, whole     | new ... |
//!               ^ counts   ^ new ones   ^ shorter         ^ copies        ^ bitmap          ^ bitmaps
//! ```
//!
//! The last group is filled up, then groups are added as `resize2fs` counts them: descriptors go
//! into the blocks reserved for them, and, where those run out, into meta block groups as the
//! kernel does (`ext4_convert_meta_bg` in fs/ext4/resize.c). A new group keeps its bitmaps and its
//! inode table at its own beginning, which flex_bg allows as well. Where descriptors carry
//! checksums, bitmaps and inode tables of new groups are left to be initialised by the kernel
//! (BLOCK_UNINIT, INODE_UNINIT): whatever lies there is not looked at.
//!
//! Nothing that belongs to a file moves, and the journal is not touched. Copies of the superblock
//! of sparse_super2 stay in their groups, which `s_backup_bgs` names.

mod bitmap;
mod descriptor;
mod edits;
mod new_group;
mod old_group;
mod reserve;
mod superblock;
mod target;

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Patch, ReadAt, Run, State};
use cardkeep_ext4::Ext4;

use crate::declined::Declined;
use edits::Edits;
use target::Target;

/// What makes a filesystem larger. Places are relative to its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The filesystem's length before, in bytes.
    pub old_len: u64,
    /// Its length afterwards, in bytes. At most what was asked for: the last group needs room for
    /// its own metadata. The same as before where no more can be used.
    pub len: u64,
    /// What changes, in address order, each of whole blocks; none overlap.
    pub patches: Vec<Patch>,
    /// What must read as zero, in address order: inode tables of groups that can't tell that theirs
    /// is not initialised.
    pub zeros: Vec<Extent>,
}

impl Grown {
    /// Returns the map of a partition of `partition_len` bytes that holds the grown filesystem;
    /// `old` is the map of the partition that held it before. What is new is free but for
    /// patches and zeros.
    ///
    /// # Panics
    /// Where `partition_len` exceeds [`AllocationMap::LEN_MAX`]: no medium is that long.
    #[must_use]
    pub fn map(&self, old: &AllocationMap, partition_len: u64) -> AllocationMap {
        let mut builder = MapBuilder::new(partition_len);
        for run in old.runs_in(Extent::between(0, self.old_len.min(partition_len))) {
            builder.push_to(run.extent.end(), run.state);
        }
        builder.push_to(partition_len, State::Free);
        let zeros = self.zeros.iter().map(|&zero| Run::new(zero, State::Zero));
        let patched = self
            .patches
            .iter()
            .map(|patch| Run::new(patch.extent(), State::Used));
        let layer: Vec<Run> = zeros.chain(patched).collect();
        builder.finish(State::Free).replaced(&layer)
    }
}

/// Plans how the filesystem on `partition` comes to fill `new_len` bytes. Reads the superblock, the
/// group descriptors, the last group's bitmap, the reserve and the head of the journal; what lies
/// behind the filesystem's end is not looked at. Nor are files, as in `ext4_resize_fs` of
/// fs/ext4/resize.c: a damaged one that points behind the end, which `e2fsck -f` would mend, comes to
/// point at a free block.
///
/// # Errors
/// [`Declined`] where that can't be done safely: it is damaged, its journal waits, or it has
/// something that is not known here.
pub fn plan(partition: &dyn ReadAt, new_len: u64) -> Result<Grown, Declined> {
    let fs = Ext4::load(partition)?;
    fs.check_at_rest()?;
    let target = Target::of(fs.superblock(), new_len)?;
    let mut grown = Grown {
        old_len: target.len_before(),
        len: target.len(),
        patches: Vec::new(),
        zeros: Vec::new(),
    };
    if target.is_same() {
        return Ok(grown);
    }
    let mut edits = Edits::new(partition, &target);
    old_group::extend_last(&target, &mut edits)?;
    reserve::update(&fs, &target, &mut edits)?;
    for number in target.new_groups() {
        grown
            .zeros
            .extend(new_group::add(&target, number, &mut edits)?);
    }
    superblock::update(&target, &mut edits)?;
    grown.patches = edits.into_patches();
    Ok(grown)
}
