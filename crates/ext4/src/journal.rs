//! The journal, jbd2's log (kernel doc, "Journal (jbd2)"). Its numbers are big-endian.
//!
//! ```text
//!   block 0      superblock: where the oldest transaction that is not checkpointed begins
//!   s_first ..   the log, a ring of transactions:
//!                  descriptor  names the home of each block that follows
//!                  data blocks
//!                  revoke      blocks not to be replayed from transactions up to this one
//!                  commit      only now does the transaction count
//!   the tail     fast commits, where there are any
//! ```

use std::collections::HashMap;

use cardkeep_block::{Extent, ReadAt, be_u32};

use crate::block_walk::{Depth, Step};
use crate::checksum::crc32c;
use crate::effort::Effort;
use crate::error::{CorruptKind, Error, UnsupportedKind};
use crate::file_blocks::walk_blocks;
use crate::group::Group;
use crate::inode::{Inode, load_inode};
use crate::record::FileExtent;
use crate::superblock::{Superblock, feature};

pub(crate) const MAGIC: u32 = 0xC03B_3998;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;

/// The commit block holds a CRC-32 of the transaction: long superseded, not known here.
pub(crate) const COMPAT_CHECKSUM: u32 = 0x1;
/// `s_checksum_type` of CRC-32C.
const CHECKSUM_CRC32C: u8 = 4;

pub(crate) const INCOMPAT_64BIT: u32 = 0x2;
pub(crate) const INCOMPAT_CSUM_V2: u32 = 0x8;
pub(crate) const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// revoke, 64bit, async_commit, csum_v2, csum_v3, fast_commit.
const INCOMPAT_KNOWN: u32 =
    0x1 | INCOMPAT_64BIT | 0x4 | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3 | INCOMPAT_FAST_COMMIT;

/// The kernel makes logs of 1 GiB at the most unless told otherwise; this bounds memory.
const BLOCKS_MAX: u64 = 1 << 20;
/// Blocks of the journal's own tree: enough for the longest log in single blocks.
const TREE_BLOCKS_MAX: u64 = 1 << 16;
/// Blocks revoked by one log: bounds memory.
pub(crate) const REVOKED_MAX: usize = 1 << 20;
/// `s_num_fc_blks` of 0 means this (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
const FAST_COMMIT_BLOCKS_DEFAULT: u32 = 256;

/// The journal of a filesystem: where it lies and where its log begins.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Ranges of blocks, by position within the log.
    pub(crate) ranges: Vec<FileExtent>,
    pub(crate) block_bytes: u32,
    /// The ring is `first..len`, in blocks of the log.
    pub(crate) first: u32,
    pub(crate) len: u32,
    pub(crate) start: u32,
    pub(crate) sequence: u32,
    /// `s_errno`: what made the kernel give up.
    errno: u32,
    pub(crate) compat: u32,
    pub(crate) incompat: u32,
    pub(crate) checksum_seed: u32,
}

/// A block of the log that replaces a block of the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// Where in the filesystem its content lies now: within the log.
    pub(crate) log_block: u64,
    /// Its first four bytes were zeroed because they were the journal's magic number.
    pub(crate) is_escaped: bool,
}

/// What replaying the journal would do.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// By block of the filesystem.
    pub(crate) replacements: HashMap<u64, Replacement>,
    /// Number of transactions that would be replayed.
    pub(crate) transaction_count: u32,
}

impl Journal {
    /// Reads the journal's superblock; `None` where the filesystem has no journal of its own.
    pub(crate) fn load(
        medium: &impl ReadAt,
        superblock: &Superblock,
        groups: &[Group],
    ) -> Result<Option<Self>, Error> {
        if !superblock.has_compat(feature::COMPAT_HAS_JOURNAL) {
            return Ok(None);
        }
        if superblock.journal_device != 0 || superblock.journal_inode == 0 {
            return Err(UnsupportedKind::ExternalJournal.into());
        }
        let inode = load_inode(medium, superblock, groups, superblock.journal_inode)?;
        let (ranges, block_count) = Self::ranges(medium, superblock, &inode)?;
        let Some(first) = ranges.first() else {
            return Err(CorruptKind::JournalEmpty.into());
        };
        let block_bytes = superblock.block_bytes;
        let bytes = medium.read_vec(
            first.physical * u64::from(block_bytes),
            block_bytes as usize,
        )?;
        Self::parse(&bytes, ranges, block_count).map(Some)
    }

    /// Returns where the blocks of the journal's inode lie, in their order, and how many they are.
    pub(crate) fn ranges(
        medium: &impl ReadAt,
        superblock: &Superblock,
        inode: &Inode,
    ) -> Result<(Vec<FileExtent>, u64), Error> {
        let mut ranges = Vec::new();
        let mut block_count = 0u64;
        let mut effort = Effort::of_blocks(TREE_BLOCKS_MAX);
        walk_blocks(
            medium,
            superblock,
            inode,
            Depth::All,
            &mut effort,
            &mut |step| {
                let Step::Extent(range) = step else {
                    return Ok(());
                };
                if range.logical != block_count || range.is_unwritten {
                    return Err(CorruptKind::JournalHoles.into());
                }
                block_count = block_count.saturating_add(range.count);
                if block_count > BLOCKS_MAX {
                    return Err(UnsupportedKind::JournalBlocks.into());
                }
                ranges.push(range);
                Ok(())
            },
        )?;
        Ok((ranges, block_count))
    }

    /// Decodes the journal's superblock, one block long.
    pub(crate) fn parse(
        bytes: &[u8],
        ranges: Vec<FileExtent>,
        block_count: u64,
    ) -> Result<Self, Error> {
        let kind = be_u32(bytes, 4);
        if be_u32(bytes, 0) != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(CorruptKind::JournalNoSuperblock.into());
        }
        let block_bytes = be_u32(bytes, 0x0C);
        let (total, first) = (be_u32(bytes, 0x10), be_u32(bytes, 0x14));
        let (compat, incompat) = features(bytes, kind)?;
        let has_checksums = incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0;
        let mut copy = bytes[..1024].to_vec();
        copy[0xFC..0x100].fill(0);
        if has_checksums && be_u32(bytes, 0xFC) != crc32c(!0, &copy) {
            return Err(CorruptKind::JournalSuperblockChecksum.into());
        }
        let mut len = total;
        if incompat & INCOMPAT_FAST_COMMIT != 0 {
            let stated = be_u32(bytes, 0x54);
            let fast = if stated == 0 {
                FAST_COMMIT_BLOCKS_DEFAULT
            } else {
                stated
            };
            len = total.saturating_sub(fast);
        }
        let start = be_u32(bytes, 0x1C);
        if block_bytes as usize != bytes.len()
            || u64::from(total) > block_count
            || first == 0
            || first >= len
            || start != 0 && !(first..len).contains(&start)
            || has_checksums && bytes[0x50] != CHECKSUM_CRC32C
        {
            return Err(CorruptKind::JournalGeometry.into());
        }
        Ok(Self {
            ranges,
            block_bytes,
            first,
            len,
            start,
            sequence: be_u32(bytes, 0x18),
            errno: be_u32(bytes, 0x20),
            compat,
            incompat,
            checksum_seed: crc32c(!0, &bytes[0x30..0x40]),
        })
    }

    /// Tells whether the log holds nothing to replay.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == 0
    }

    /// Returns the number that the next transaction gets after `count` ones were replayed. One is
    /// left out, so that nothing left in the log continues it (`jbd2_journal_recover`).
    pub(crate) const fn sequence_after(&self, count: u32) -> u32 {
        self.sequence.wrapping_add(count).wrapping_add(1)
    }

    /// Tells whether the kernel gave up on it.
    pub(crate) fn check_state(&self) -> Result<(), Error> {
        if self.errno != 0 {
            return Err(CorruptKind::JournalErrno.into());
        }
        Ok(())
    }

    /// Tells whether fast commits may hold changes that the log does not name.
    pub(crate) const fn has_fast_commits(&self) -> bool {
        self.incompat & INCOMPAT_FAST_COMMIT != 0
    }

    /// Returns the extents of all of the journal's blocks, in bytes of the filesystem.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let bytes = u64::from(self.block_bytes);
        self.ranges.iter().map(move |range| {
            // No overflow: ranges were checked to lie within the filesystem.
            Extent::between(
                range.physical * bytes,
                (range.physical + range.count) * bytes,
            )
        })
    }

    /// Returns the filesystem's block that holds block `position` of the log.
    pub(crate) fn physical(&self, position: u32) -> Result<u64, Error> {
        let position = u64::from(position);
        let index = self
            .ranges
            .partition_point(|range| range.logical <= position);
        self.ranges
            .get(index.wrapping_sub(1))
            .filter(|range| position - range.logical < range.count)
            .map(|range| range.physical + (position - range.logical))
            .ok_or_else(|| CorruptKind::JournalShort.into())
    }

    pub(crate) fn read(&self, medium: &impl ReadAt, position: u32) -> Result<Vec<u8>, Error> {
        let offset = self.physical(position)? * u64::from(self.block_bytes);
        Ok(medium.read_vec(offset, self.block_bytes as usize)?)
    }

    pub(crate) const fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// Returns the bytes of one tag of a descriptor block.
    pub(crate) const fn tag_bytes(&self) -> usize {
        if self.incompat & INCOMPAT_CSUM_V3 != 0 {
            return 16;
        }
        let checksum = if self.incompat & INCOMPAT_CSUM_V2 != 0 {
            2
        } else {
            0
        };
        let high = if self.incompat & INCOMPAT_64BIT != 0 {
            4
        } else {
            0
        };
        8 + checksum + high
    }

    /// Tells whether the checksum in the last four bytes of a descriptor or revoke block is right.
    pub(crate) fn is_tail_sound(&self, block: &[u8]) -> bool {
        let tail = block.len().saturating_sub(4);
        let sum = crc32c(self.checksum_seed, &block[..tail]);
        !self.has_checksums() || crc32c(sum, &[0; 4]) == be_u32(block, tail)
    }

    pub(crate) fn is_commit_sound(&self, block: &[u8]) -> bool {
        let sum = crc32c(self.checksum_seed, &block[..0x10]);
        let sum = crc32c(crc32c(sum, &[0; 4]), &block[0x14..]);
        !self.has_checksums() || sum == be_u32(block, 0x10)
    }
}

/// Decodes and checks the feature words; the first version of the superblock has none.
fn features(bytes: &[u8], kind: u32) -> Result<(u32, u32), Error> {
    if kind != SUPERBLOCK_V2 {
        return Ok((0, 0));
    }
    let (compat, incompat) = (be_u32(bytes, 0x24), be_u32(bytes, 0x28));
    let both = INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
    if incompat & !INCOMPAT_KNOWN != 0
        || incompat & both == both
        || compat & !COMPAT_CHECKSUM != 0
        || be_u32(bytes, 0x2C) != 0
    {
        return Err(UnsupportedKind::JournalFeature { compat, incompat }.into());
    }
    Ok((compat, incompat))
}
