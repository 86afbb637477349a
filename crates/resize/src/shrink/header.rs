//! The superblock's bytes beyond what the format crate decodes: read where shrinking needs them,
//! and edited in place (kernel doc, "Super Block").

use cardkeep_block::ReadAt;
use cardkeep_ext4::{
    BLOCK_FIELD_BYTES, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock, SuperblockRecord, feature,
};

use crate::declined::Declined;
use crate::inconsistent::InconsistentKind;
use crate::unsupported::UnsupportedKind;

/// compat: orphan_file, stable_inodes.
const COMPAT_ORPHAN_FILE: u32 = 0x1000;
const COMPAT_STABLE_INODES: u32 = 0x800;
/// dir_prealloc, imagic_inodes, has_journal, ext_attr, resize_inode, dir_index, sparse_super2,
/// fast_commit, stable_inodes, orphan_file.
const COMPAT_KNOWN: u32 = 0x3F | 0x200 | 0x400 | COMPAT_STABLE_INODES | COMPAT_ORPHAN_FILE;
const INCOMPAT_EA_INODE: u32 = 0x400;
const INCOMPAT_INLINE_DATA: u32 = 0x8000;
const INCOMPAT_ENCRYPT: u32 = 0x1_0000;
const RO_COMPAT_QUOTA: u32 = 0x100;
const RO_COMPAT_READONLY: u32 = 0x1000;
const RO_COMPAT_SHARED_BLOCKS: u32 = 0x4000;
const RO_COMPAT_ORPHAN_PRESENT: u32 = 0x1_0000;

const ROOT_INODE: u32 = 2;

/// A superblock's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    record: SuperblockRecord<Vec<u8>>,
    has_mmp: bool,
}

impl Header {
    /// Reads the first superblock.
    pub(crate) fn load(medium: &impl ReadAt, superblock: &Superblock) -> Result<Self, Declined> {
        let bytes = medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)?;
        Ok(Self {
            record: SuperblockRecord::new(bytes)?,
            has_mmp: superblock.has_incompat(feature::INCOMPAT_MMP),
        })
    }

    /// Returns the record, to be sealed.
    pub(crate) const fn record_mut(&mut self) -> &mut SuperblockRecord<Vec<u8>> {
        &mut self.record
    }

    /// Returns `s_first_ino`: inodes below are reserved.
    pub(crate) fn first_inode(&self) -> u32 {
        self.record.first_inode()
    }

    /// Returns `s_mmp_block`, or 0.
    pub(crate) fn mmp_block(&self) -> u64 {
        if self.has_mmp {
            self.record.mmp_block()
        } else {
            0
        }
    }

    /// Returns `s_orphan_file_inum`, where there is an orphan file.
    pub(crate) fn orphan_inode(&self) -> Option<u32> {
        let compat = self.record.feature_compat();
        (compat & COMPAT_ORPHAN_FILE != 0).then(|| self.record.orphan_file_inum())
    }

    /// Returns `s_last_orphan`: the first of the inodes that wait to be cleaned up, or 0.
    pub(crate) fn last_orphan(&self) -> u32 {
        self.record.last_orphan()
    }

    /// Tells whether the orphan file names inodes.
    pub(crate) fn has_filed_orphans(&self) -> bool {
        self.record.feature_ro_compat() & RO_COMPAT_ORPHAN_PRESENT != 0
    }

    /// Returns `s_overhead_clusters`.
    pub(crate) fn overhead(&self) -> u32 {
        self.record.overhead_clusters()
    }

    /// Tells whether files must keep their inode numbers: where that is promised (stable_inodes), where
    /// keys are derived from them (encryption), and where they stand in more places than directories
    /// (inline data, attributes in inodes of their own).
    pub(crate) fn must_keep_numbers(&self, superblock: &Superblock) -> bool {
        superblock.has_compat(COMPAT_STABLE_INODES)
            || superblock.has_incompat(INCOMPAT_ENCRYPT)
            || superblock.has_incompat(INCOMPAT_INLINE_DATA)
            || superblock.has_incompat(INCOMPAT_EA_INODE)
    }

    /// Tells whether what the inode `number` takes is counted for its owner: it must not change
    /// then. What the journal takes is nobody's (`check_blocks` in e2fsck's pass 1).
    pub(crate) fn has_quota(&self, number: u32) -> bool {
        let is_counted = number == ROOT_INODE || number >= self.first_inode();
        is_counted && self.record.feature_ro_compat() & RO_COMPAT_QUOTA != 0
    }

    /// Checks that the filesystem is at rest, and has no feature that is not handled here.
    pub(crate) fn check(&self, superblock: &Superblock) -> Result<(), Declined> {
        if let Some(what) = self.unsupported(superblock) {
            return Err(what.into());
        }
        let unknown = superblock.compat & !COMPAT_KNOWN;
        if unknown != 0 {
            return Err(UnsupportedKind::Compat(unknown).into());
        }
        match self.unclean(superblock) {
            Some(what) => Err(what.into()),
            None => Ok(()),
        }
    }

    fn unsupported(&self, superblock: &Superblock) -> Option<UnsupportedKind> {
        let has_meta_bg = superblock.has_incompat(feature::INCOMPAT_META_BG);
        let has_resize_inode = superblock.has_compat(feature::COMPAT_RESIZE_INODE);
        let cases = [
            (
                !superblock
                    .block_count
                    .is_multiple_of(superblock.cluster_blocks.into()),
                UnsupportedKind::CutCluster,
            ),
            (
                has_resize_inode && has_meta_bg,
                UnsupportedKind::ResizeInodeAndMetaBg,
            ),
            (
                has_meta_bg
                    && u64::from(superblock.first_meta_bg) > superblock.descriptor_block_count(),
                UnsupportedKind::MetaBgBehindEnd,
            ),
            (
                superblock.has_ro_compat(RO_COMPAT_SHARED_BLOCKS),
                UnsupportedKind::SharedBlocks,
            ),
            (
                superblock.has_ro_compat(RO_COMPAT_READONLY),
                UnsupportedKind::ReadOnly,
            ),
            (
                superblock.has_compat(feature::COMPAT_HAS_JOURNAL)
                    && superblock.journal_device != 0,
                UnsupportedKind::JournalElsewhere,
            ),
            (
                !has_resize_inode && superblock.reserved_gdt_blocks != 0,
                UnsupportedKind::ReserveWithoutInode,
            ),
            (self.record.revision() > 1, UnsupportedKind::Revision),
        ];
        first_that_applies(cases)
    }

    fn unclean(&self, superblock: &Superblock) -> Option<InconsistentKind> {
        let inodes = superblock.group_count() * u64::from(superblock.inodes_per_group);
        let cases = [
            (
                u64::from(superblock.inode_count) != inodes,
                InconsistentKind::InodeTotal,
            ),
            (superblock.needs_recovery(), InconsistentKind::JournalWaits),
            (
                superblock.has_errors() || !superblock.is_marked_valid(),
                InconsistentKind::NotClean,
            ),
        ];
        first_that_applies(cases)
    }

    /// Says how large the filesystem is: `new` is its geometry, `old` what it was.
    pub(crate) fn put_size(
        &mut self,
        old: &Superblock,
        new: &Superblock,
        overhead: u32,
    ) -> Result<(), Declined> {
        let record = &mut self.record;
        let share = u128::from(record.reserved_blocks_count()) * u128::from(new.block_count);
        // No more than before, which fit.
        let reserved = (share / u128::from(old.block_count)) as u64;
        record.set_inodes_count(new.inode_count);
        record.set_blocks_count(new.block_count)?;
        record.set_reserved_blocks_count(reserved)?;
        record.set_reserved_gdt_blocks(new.reserved_gdt_blocks);
        record.set_first_meta_bg(new.first_meta_bg);
        record.set_overhead_clusters(overhead);
        record.set_backup_groups(new.backup_groups);
        Ok(())
    }

    /// Says how much is free.
    pub(crate) fn put_free(&mut self, blocks: u64, inodes: u32) -> Result<(), Declined> {
        self.record.set_free_blocks_count(blocks)?;
        self.record.set_free_inodes_count(inodes);
        Ok(())
    }

    /// Keeps the copy of the journal's map (`s_jnl_blocks`), where there is one, up to date.
    pub(crate) fn put_journal_map(&mut self, block_field: &[u8; BLOCK_FIELD_BYTES]) {
        if self.record.has_journal_copy() {
            self.record.set_journal_copy(block_field);
        }
    }

    /// Returns the record as it stands at the beginning of group `group`, not yet sealed.
    pub(crate) fn copy_for(&self, group: u64) -> SuperblockRecord<Vec<u8>> {
        let mut copy = self.record.clone();
        copy.set_block_group_nr(group as u16);
        copy
    }
}

/// Returns what is said of the first case that applies.
fn first_that_applies<T>(cases: impl IntoIterator<Item = (bool, T)>) -> Option<T> {
    let mut cases = cases.into_iter();
    cases.find(|(applies, _)| *applies).map(|(_, what)| what)
}
