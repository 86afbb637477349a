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

use crate::checksum::crc32c;
use crate::effort::Effort;
use crate::error::Error;
use crate::extent_tree::{Content, Depth, Mapping, walk_blocks};
use crate::group::Group;
use crate::inode::{Inode, load_inode};
use crate::log::Scan;
use crate::superblock::{Superblock, feature};

pub(crate) const MAGIC: u32 = 0xC03B_3998;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;

/// The commit block holds a CRC-32 of the transaction: long superseded, not known here.
const COMPAT_CHECKSUM: u32 = 0x1;
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
    ranges: Vec<Mapping>,
    block_bytes: u32,
    /// The ring is `first..len`, in blocks of the log.
    pub(crate) first: u32,
    pub(crate) len: u32,
    start: u32,
    sequence: u32,
    /// `s_errno`: what made the kernel give up.
    errno: u32,
    compat: u32,
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
            return Err(Error::unsupported("its journal on another device"));
        }
        let inode = load_inode(medium, superblock, groups, superblock.journal_inode)?;
        let (ranges, block_count) = Self::ranges(medium, superblock, &inode)?;
        let Some(first) = ranges.first() else {
            return Err(Error::corrupt("the journal is empty"));
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
    ) -> Result<(Vec<Mapping>, u64), Error> {
        let mut ranges = Vec::new();
        let mut block_count = 0u64;
        let mut effort = Effort::of_blocks(TREE_BLOCKS_MAX);
        walk_blocks(
            medium,
            superblock,
            inode,
            Depth::All,
            &mut effort,
            &mut |mapping| {
                if mapping.content == Content::Tree {
                    return Ok(());
                }
                if mapping.logical != block_count || mapping.content == Content::Unwritten {
                    return Err(Error::corrupt("the journal has holes"));
                }
                block_count = block_count.saturating_add(mapping.count);
                if block_count > BLOCKS_MAX {
                    return Err(Error::unsupported(
                        "a journal of more than a million blocks",
                    ));
                }
                ranges.push(mapping);
                Ok(())
            },
        )?;
        Ok((ranges, block_count))
    }

    /// Decodes the journal's superblock, one block long.
    pub(crate) fn parse(
        bytes: &[u8],
        ranges: Vec<Mapping>,
        block_count: u64,
    ) -> Result<Self, Error> {
        let kind = be_u32(bytes, 4);
        if be_u32(bytes, 0) != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(Error::corrupt("the journal has no superblock"));
        }
        let block_bytes = be_u32(bytes, 0x0C);
        let (total, first) = (be_u32(bytes, 0x10), be_u32(bytes, 0x14));
        let (compat, incompat) = features(bytes, kind)?;
        let has_checksums = incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0;
        let mut copy = bytes[..1024].to_vec();
        copy[0xFC..0x100].fill(0);
        if has_checksums && be_u32(bytes, 0xFC) != crc32c(!0, &copy) {
            return Err(Error::corrupt("the journal superblock's checksum is wrong"));
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
            return Err(Error::corrupt("the journal's geometry is impossible"));
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
            return Err(Error::corrupt("the kernel noted an error in its journal"));
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
            .ok_or_else(|| Error::corrupt("the journal is shorter than it says"))
    }

    pub(crate) fn read(&self, medium: &impl ReadAt, position: u32) -> Result<Vec<u8>, Error> {
        let offset = self.physical(position)? * u64::from(self.block_bytes);
        Ok(medium.read_vec(offset, self.block_bytes as usize)?)
    }

    /// Finds out what replaying would do. Whatever can't be told for sure is an error: the caller
    /// then trusts none of the filesystem's maps.
    pub(crate) fn replay(&self, medium: &impl ReadAt) -> Result<Replay, Error> {
        let mut replay = Replay::default();
        if self.is_empty() {
            return Ok(replay);
        }
        if self.compat & COMPAT_CHECKSUM != 0 {
            return Err(Error::unsupported("an old kind of checksum in its journal"));
        }
        let mut own = self.ranges.clone();
        own.sort_unstable_by_key(|range| range.physical);
        let mut scan = Scan::new(self, medium, self.start);
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        let mut tagged: Vec<(u64, u32, Replacement)> = Vec::new();
        let mut sequence = self.sequence;
        while let Some(transaction) = scan.transaction(sequence)? {
            revoked.extend(transaction.revoked.iter().map(|&block| (block, sequence)));
            if revoked.len() > REVOKED_MAX {
                return Err(Error::unsupported(
                    "a journal that revokes a million blocks",
                ));
            }
            for (block, replacement) in transaction.tags {
                self.check_home(medium, &own, block)?;
                tagged.push((block, sequence, replacement));
            }
            sequence = sequence.wrapping_add(1);
            replay.transaction_count += 1;
        }
        for (block, own, replacement) in tagged {
            // A revoke counts for its own transaction and all before (jbd2_journal_test_revoke).
            let is_revoked = revoked
                .get(&block)
                .is_some_and(|&by| by.wrapping_sub(own) as i32 >= 0);
            if !is_revoked {
                replay.replacements.insert(block, replacement);
            }
        }
        Ok(replay)
    }

    /// Checks that a block to be replaced is there, and not one of the log's own, which would
    /// change while it is read. `own` are the journal's ranges by place.
    fn check_home(&self, medium: &impl ReadAt, own: &[Mapping], block: u64) -> Result<(), Error> {
        let index = own.partition_point(|range| range.physical <= block);
        let before = own.get(index.wrapping_sub(1));
        let is_own = before.is_some_and(|range| block - range.physical < range.count);
        let bytes = u64::from(self.block_bytes);
        let end = block.checked_add(1).and_then(|end| end.checked_mul(bytes));
        if end.is_none_or(|end| end > medium.len()) || is_own {
            return Err(Error::corrupt("the journal replaces what it can't"));
        }
        Ok(())
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
        return Err(Error::unsupported(format!(
            "an unknown journal feature, {compat:#x} or {incompat:#x}"
        )));
    }
    Ok((compat, incompat))
}
