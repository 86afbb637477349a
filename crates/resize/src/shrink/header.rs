//! The superblock's bytes beyond what the format crate decodes: read where shrinking needs them,
//! and edited in place (kernel doc, "Super Block").

use cardkeep_block::{ReadAt, le_u32, le_u64};
use cardkeep_ext4::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock, feature};

use super::declined::Declined;
use super::field::{put_u16, put_u32};
use super::geometry::descriptor_blocks;

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

const LAST_ORPHAN: usize = 0xE8;
/// Fields that hold inode numbers: `s_journal_inum`, `s_last_orphan`, `s_usr_quota_inum`,
/// `s_grp_quota_inum`, `s_lpf_ino`, `s_prj_quota_inum`, `s_orphan_file_inum`.
const INODE_FIELDS: [usize; 7] = [0xE0, LAST_ORPHAN, 0x240, 0x244, 0x268, 0x26C, 0x280];

/// A superblock's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    bytes: Vec<u8>,
    has_mmp: bool,
}

impl Header {
    /// Reads the first superblock.
    pub(crate) fn load(medium: &impl ReadAt, superblock: &Superblock) -> Result<Self, Declined> {
        Ok(Self {
            bytes: medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)?,
            has_mmp: superblock.has_incompat(feature::INCOMPAT_MMP),
        })
    }

    /// Returns the bytes, to be sealed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Returns `s_first_ino`: inodes below are reserved.
    pub(crate) fn first_inode(&self) -> u32 {
        match le_u32(&self.bytes, 0x4C) {
            0 => 11,
            _ => le_u32(&self.bytes, 0x54),
        }
    }

    /// Returns `s_mmp_block`, or 0.
    pub(crate) fn mmp_block(&self) -> u64 {
        if self.has_mmp {
            le_u64(&self.bytes, 0x168)
        } else {
            0
        }
    }

    /// Returns `s_orphan_file_inum`, where there is an orphan file.
    pub(crate) fn orphan_inode(&self) -> Option<u32> {
        let compat = le_u32(&self.bytes, 0x5C);
        (compat & COMPAT_ORPHAN_FILE != 0).then(|| le_u32(&self.bytes, 0x280))
    }

    /// Returns `s_last_orphan`: the first of the inodes that wait to be cleaned up, or 0.
    pub(crate) fn last_orphan(&self) -> u32 {
        le_u32(&self.bytes, LAST_ORPHAN)
    }

    /// Tells whether the orphan file names inodes.
    pub(crate) fn has_filed_orphans(&self) -> bool {
        le_u32(&self.bytes, 0x64) & RO_COMPAT_ORPHAN_PRESENT != 0
    }

    /// Returns `s_overhead_clusters`.
    pub(crate) fn overhead(&self) -> u32 {
        le_u32(&self.bytes, 0x248)
    }

    /// Tells why files must keep their inode numbers, where they must.
    pub(crate) fn must_keep_numbers(&self, superblock: &Superblock) -> Option<&'static str> {
        let cases = [
            (
                superblock.has_compat(COMPAT_STABLE_INODES),
                "inodes that must keep their numbers (stable_inodes)",
            ),
            (
                superblock.has_incompat(INCOMPAT_ENCRYPT),
                "encrypted files whose inodes would change their numbers",
            ),
            (
                superblock.has_incompat(INCOMPAT_INLINE_DATA),
                "inline data in inodes that would change their numbers",
            ),
            (
                superblock.has_incompat(INCOMPAT_EA_INODE),
                "attributes in inodes that would change their numbers (ea_inode)",
            ),
        ];
        first_that_applies(&cases)
    }

    /// Tells whether what the inode `number` takes is counted for its owner: it must not change
    /// then. What the journal takes is nobody's (`check_blocks` in e2fsck's pass 1).
    pub(crate) fn has_quota(&self, number: u32) -> bool {
        let is_counted = number == ROOT_INODE || number >= self.first_inode();
        is_counted && le_u32(&self.bytes, 0x64) & RO_COMPAT_QUOTA != 0
    }

    /// Checks that the filesystem is at rest, and has no feature that is not handled here.
    pub(crate) fn check(&self, superblock: &Superblock) -> Result<(), Declined> {
        if let Some(what) = self.unsupported(superblock) {
            return Err(Declined::unsupported(what));
        }
        let unknown = superblock.compat & !COMPAT_KNOWN;
        if unknown != 0 {
            return Err(Declined::unsupported(format!(
                "an unknown compat feature, {unknown:#x}"
            )));
        }
        match self.unclean(superblock) {
            Some(what) => Err(Declined::inconsistent(what)),
            None => Ok(()),
        }
    }

    fn unsupported(&self, superblock: &Superblock) -> Option<&'static str> {
        let has_meta_bg = superblock.has_incompat(feature::INCOMPAT_META_BG);
        let has_resize_inode = superblock.has_compat(feature::COMPAT_RESIZE_INODE);
        let cases = [
            (
                !superblock
                    .block_count
                    .is_multiple_of(superblock.cluster_blocks.into()),
                "a last cluster that is cut short (bigalloc)",
            ),
            (
                has_resize_inode && has_meta_bg,
                "both a resize inode and meta block groups",
            ),
            (
                has_meta_bg && u64::from(superblock.first_meta_bg) > descriptor_blocks(superblock),
                "its first meta block group behind its end",
            ),
            (
                superblock.has_ro_compat(RO_COMPAT_SHARED_BLOCKS),
                "blocks that files share (shared_blocks)",
            ),
            (
                superblock.has_ro_compat(RO_COMPAT_READONLY),
                "the mark that it must not be changed (readonly)",
            ),
            (
                superblock.has_compat(feature::COMPAT_HAS_JOURNAL)
                    && superblock.journal_device != 0,
                "its journal on another device",
            ),
            (
                !has_resize_inode && superblock.reserved_gdt_blocks != 0,
                "reserved descriptors but no resize inode",
            ),
            (le_u32(&self.bytes, 0x4C) > 1, "an unknown revision"),
        ];
        first_that_applies(&cases)
    }

    fn unclean(&self, superblock: &Superblock) -> Option<&'static str> {
        let inodes = superblock.group_count() * u64::from(superblock.inodes_per_group);
        let cases = [
            (
                u64::from(superblock.inode_count) != inodes,
                "its groups have not as many inodes as it says",
            ),
            (superblock.needs_recovery(), "its journal is not replayed"),
            (
                superblock.has_errors() || !superblock.is_marked_valid(),
                "it is not marked as clean",
            ),
        ];
        first_that_applies(&cases)
    }

    /// Says how large the filesystem is: `new` is its geometry, `old` what it was.
    pub(crate) fn put_size(&mut self, old: &Superblock, new: &Superblock, overhead: u32) {
        let wide = new.has_incompat(feature::INCOMPAT_64BIT);
        let bytes = &mut self.bytes;
        let reserved = u64::from(le_u32(bytes, 0x08))
            | if wide {
                u64::from(le_u32(bytes, 0x154)) << 32
            } else {
                0
            };
        let share = u128::from(reserved) * u128::from(new.block_count);
        // No more than before, which fit.
        let reserved = (share / u128::from(old.block_count)) as u64;
        put_u32(bytes, 0x00, new.inode_count);
        put_u32(bytes, 0x04, new.block_count as u32);
        put_u32(bytes, 0x08, reserved as u32);
        if wide {
            put_u32(bytes, 0x150, (new.block_count >> 32) as u32);
            put_u32(bytes, 0x154, (reserved >> 32) as u32);
        }
        put_u16(bytes, 0xCE, new.reserved_gdt_blocks);
        put_u32(bytes, 0x104, new.first_meta_bg);
        put_u32(bytes, 0x248, overhead);
        put_u32(bytes, 0x24C, new.backup_groups[0]);
        put_u32(bytes, 0x250, new.backup_groups[1]);
    }

    /// Says how much is free.
    pub(crate) fn put_free(&mut self, blocks: u64, inodes: u32, superblock: &Superblock) {
        put_u32(&mut self.bytes, 0x0C, blocks as u32);
        if superblock.has_incompat(feature::INCOMPAT_64BIT) {
            put_u32(&mut self.bytes, 0x158, (blocks >> 32) as u32);
        }
        put_u32(&mut self.bytes, 0x10, inodes);
    }

    /// Renames the inodes that it names.
    pub(crate) fn renumber(&mut self, number_of: impl Fn(u32) -> u32) {
        for field in INODE_FIELDS {
            let old = le_u32(&self.bytes, field);
            if old != 0 {
                put_u32(&mut self.bytes, field, number_of(old));
            }
        }
    }

    /// Says where the MMP block lies.
    pub(crate) fn put_mmp_block(&mut self, block: u64) {
        put_u32(&mut self.bytes, 0x168, block as u32);
        put_u32(&mut self.bytes, 0x16C, (block >> 32) as u32);
    }

    /// Keeps the copy of the journal's map (`s_jnl_blocks`), where there is one, up to date.
    pub(crate) fn put_journal_map(&mut self, root: &[u8]) {
        // s_jnl_backup_type: EXT3_JNL_BACKUP_BLOCKS.
        let has_copy = self.bytes.get(0xFD) == Some(&1);
        if has_copy
            && root.len() == 60
            && let Some(copy) = self.bytes.get_mut(0x10C..0x148)
        {
            copy.copy_from_slice(root);
        }
    }

    /// Returns the bytes as they stand at the beginning of group `group`, not yet sealed.
    pub(crate) fn copy_for(&self, group: u64) -> Vec<u8> {
        let mut copy = self.bytes.clone();
        put_u16(&mut copy, 0x5A, group as u16);
        copy
    }
}

/// Returns what is said of the first case that applies.
fn first_that_applies(cases: &[(bool, &'static str)]) -> Option<&'static str> {
    let mut cases = cases.iter().copied();
    cases.find(|(applies, _)| *applies).map(|(_, what)| what)
}
