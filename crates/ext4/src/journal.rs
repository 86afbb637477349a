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

use cardkeep_block::{Extent, ReadAt, be_u16, be_u32};

use crate::checksum::crc32c;
use crate::error::Error;
use crate::extent_tree::{Content, Depth, Mapping, walk_blocks};
use crate::group::Group;
use crate::inode::load_inode;
use crate::superblock::{Superblock, feature};

const MAGIC: u32 = 0xC03B_3998;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// revoke, 64bit, async_commit, csum_v2, csum_v3, fast_commit.
const INCOMPAT_KNOWN: u32 =
    0x1 | INCOMPAT_64BIT | 0x4 | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3 | INCOMPAT_FAST_COMMIT;

const TAG_ESCAPE: u16 = 1;
const TAG_SAME_UUID: u16 = 2;
const TAG_LAST: u16 = 8;

/// The kernel makes logs of 1 GiB at the most unless told otherwise; this bounds memory.
const BLOCKS_MAX: u64 = 1 << 20;
/// `s_num_fc_blks` of 0 means this (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
const FAST_COMMIT_BLOCKS_DEFAULT: u32 = 256;

/// The journal of a filesystem: where it lies and where its log begins.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Ranges of blocks, by position within the log.
    ranges: Vec<Mapping>,
    block_bytes: u32,
    first: u32,
    len: u32,
    start: u32,
    sequence: u32,
    incompat: u32,
    checksum_seed: u32,
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
        let mut ranges = Vec::new();
        let mut block_count = 0u64;
        walk_blocks(medium, superblock, &inode, Depth::All, &mut |mapping| {
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
        })?;
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

    fn parse(bytes: &[u8], ranges: Vec<Mapping>, block_count: u64) -> Result<Self, Error> {
        let kind = be_u32(bytes, 4);
        if be_u32(bytes, 0) != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(Error::corrupt("the journal has no superblock"));
        }
        let block_bytes = be_u32(bytes, 0x0C);
        let (total, first) = (be_u32(bytes, 0x10), be_u32(bytes, 0x14));
        let incompat = if kind == SUPERBLOCK_V2 {
            be_u32(bytes, 0x28)
        } else {
            0
        };
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(Error::unsupported(format!(
                "an unknown journal feature, {incompat:#x}"
            )));
        }
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
            incompat,
            checksum_seed: crc32c(!0, &bytes[0x30..0x40]),
        })
    }

    /// Tells whether the log holds nothing to replay.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == 0
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
    fn physical(&self, position: u32) -> Result<u64, Error> {
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

    fn read(&self, medium: &impl ReadAt, position: u32) -> Result<Vec<u8>, Error> {
        let offset = self.physical(position)? * u64::from(self.block_bytes);
        Ok(medium.read_vec(offset, self.block_bytes as usize)?)
    }

    /// Finds out what replaying would do. Whatever can't be told for sure is an error: the caller
    /// then trusts none of the filesystem's maps.
    pub(crate) fn replay(&self, medium: &impl ReadAt) -> Result<Replay, Error> {
        let mut scan = Scan {
            journal: self,
            medium,
            position: self.start,
            left: self.len,
        };
        let mut replay = Replay::default();
        if self.is_empty() {
            return Ok(replay);
        }
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        let mut tagged: Vec<(u64, u32, Replacement)> = Vec::new();
        let mut sequence = self.sequence;
        while let Some(transaction) = scan.transaction(sequence)? {
            for block in transaction.revoked {
                revoked.insert(block, sequence);
            }
            tagged.extend(
                transaction
                    .tags
                    .into_iter()
                    .map(|(block, r)| (block, sequence, r)),
            );
            sequence = sequence.wrapping_add(1);
            replay.transaction_count += 1;
        }
        for (block, own, replacement) in tagged {
            // A revoke counts for its own transaction and all before (jbd2_journal_test_revoke).
            let is_revoked = revoked
                .get(&block)
                .is_some_and(|&by| by.wrapping_sub(own) as i32 >= 0);
            if is_revoked {
                // An older replacement is revoked by the same entry.
                replay.replacements.remove(&block);
            } else {
                replay.replacements.insert(block, replacement);
            }
        }
        Ok(replay)
    }

    const fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// Returns the bytes of one tag of a descriptor block.
    const fn tag_bytes(&self) -> usize {
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
    fn is_tail_sound(&self, block: &[u8]) -> bool {
        let tail = block.len().saturating_sub(4);
        let sum = crc32c(self.checksum_seed, &block[..tail]);
        !self.has_checksums() || crc32c(sum, &[0; 4]) == be_u32(block, tail)
    }

    fn is_commit_sound(&self, block: &[u8]) -> bool {
        let sum = crc32c(self.checksum_seed, &block[..0x10]);
        let sum = crc32c(crc32c(sum, &[0; 4]), &block[0x14..]);
        !self.has_checksums() || sum == be_u32(block, 0x10)
    }
}

/// One committed transaction.
#[derive(Default)]
struct Transaction {
    tags: Vec<(u64, Replacement)>,
    revoked: Vec<u64>,
}

/// Reads the log from its start.
struct Scan<'a, M> {
    journal: &'a Journal,
    medium: &'a M,
    position: u32,
    /// Blocks that may still be read before the ring is round.
    left: u32,
}

impl<M: ReadAt> Scan<'_, M> {
    fn advance(&mut self) -> Result<u32, Error> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| Error::corrupt("the journal's log has no end"))?;
        let position = self.position;
        self.position += 1;
        if self.position >= self.journal.len {
            self.position = self.journal.first;
        }
        Ok(position)
    }

    /// Reads the transaction `sequence`; `None` where the log ends before its commit.
    fn transaction(&mut self, sequence: u32) -> Result<Option<Transaction>, Error> {
        let mut transaction = Transaction::default();
        let mut doubt = None;
        while self.left > 0 {
            let position = self.advance()?;
            let block = self.journal.read(self.medium, position)?;
            if be_u32(&block, 0) != MAGIC || be_u32(&block, 8) != sequence {
                return Ok(None);
            }
            match be_u32(&block, 4) {
                DESCRIPTOR => {
                    if !self.journal.is_tail_sound(&block) {
                        doubt = Some("a descriptor block's checksum is wrong");
                    }
                    self.descriptor(sequence, &block, &mut transaction, &mut doubt)?;
                }
                REVOKE => {
                    if !self.journal.is_tail_sound(&block) {
                        doubt = Some("a revoke block's checksum is wrong");
                    }
                    self.revoke(&block, &mut transaction);
                }
                COMMIT => {
                    // A torn last commit: the transaction does not count, as for the kernel.
                    if !self.journal.is_commit_sound(&block) {
                        return Ok(None);
                    }
                    return match doubt {
                        Some(what) => Err(Error::corrupt(format!("in the journal, {what}"))),
                        None => Ok(Some(transaction)),
                    };
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn descriptor(
        &mut self,
        sequence: u32,
        block: &[u8],
        transaction: &mut Transaction,
        doubt: &mut Option<&'static str>,
    ) -> Result<(), Error> {
        let journal = self.journal;
        let size = journal.tag_bytes();
        let end = block.len() - if journal.has_checksums() { 4 } else { 0 };
        let mut offset = 12;
        while offset + size <= end {
            let tag = Tag::parse(journal, &block[offset..offset + size]);
            offset += size
                + if tag.flags & TAG_SAME_UUID == 0 {
                    16
                } else {
                    0
                };
            if self.left == 0 {
                break;
            }
            let position = self.advance()?;
            let log_block = journal.physical(position)?;
            if journal.has_checksums() && !self.is_data_sound(sequence, position, &tag)? {
                *doubt = Some("a data block's checksum is wrong");
            }
            let is_escaped = tag.flags & TAG_ESCAPE != 0;
            transaction.tags.push((
                tag.block,
                Replacement {
                    log_block,
                    is_escaped,
                },
            ));
            if tag.flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(())
    }

    fn is_data_sound(&self, sequence: u32, position: u32, tag: &Tag) -> Result<bool, Error> {
        let data = self.journal.read(self.medium, position)?;
        let sum = crc32c(self.journal.checksum_seed, &sequence.to_be_bytes());
        Ok(crc32c(sum, &data) & tag.checksum_mask == tag.checksum)
    }

    fn revoke(&self, block: &[u8], transaction: &mut Transaction) {
        let journal = self.journal;
        let wide = journal.incompat & INCOMPAT_64BIT != 0;
        let size = if wide { 8 } else { 4 };
        let tail = if journal.has_checksums() { 4 } else { 0 };
        // r_count counts the bytes used, the header of 16 included.
        let end = (be_u32(block, 12) as usize).min(block.len() - tail).max(16);
        transaction
            .revoked
            .extend(block[16..end].chunks_exact(size).map(|entry| {
                let low = u64::from(be_u32(entry, size - 4));
                if wide {
                    u64::from(be_u32(entry, 0)) << 32 | low
                } else {
                    low
                }
            }));
    }
}

/// One tag of a descriptor block.
struct Tag {
    block: u64,
    flags: u16,
    checksum: u32,
    checksum_mask: u32,
}

impl Tag {
    fn parse(journal: &Journal, bytes: &[u8]) -> Self {
        let wide = journal.incompat & INCOMPAT_64BIT != 0;
        let high = if wide {
            u64::from(be_u32(bytes, 8)) << 32
        } else {
            0
        };
        let block = u64::from(be_u32(bytes, 0)) | high;
        if journal.incompat & INCOMPAT_CSUM_V3 != 0 {
            let (flags, checksum) = (be_u32(bytes, 4) as u16, be_u32(bytes, 12));
            Self {
                block,
                flags,
                checksum,
                checksum_mask: !0,
            }
        } else {
            let checksum = u32::from(be_u16(bytes, 4));
            Self {
                block,
                flags: be_u16(bytes, 6),
                checksum,
                checksum_mask: 0xFFFF,
            }
        }
    }
}
