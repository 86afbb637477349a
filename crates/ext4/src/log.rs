//! The transactions of jbd2's log, read one after another (kernel doc, "Journal (jbd2)", and
//! `do_one_pass` in fs/jbd2/recovery.c).

use std::collections::HashMap;

use cardkeep_block::{ReadAt, be_u16, be_u32};

use crate::checksum::crc32c;
use crate::error::{CorruptKind, Error, LogBlock, UnsupportedKind};
use crate::journal::{
    COMPAT_CHECKSUM, INCOMPAT_64BIT, INCOMPAT_CSUM_V3, Journal, MAGIC, REVOKED_MAX, Replacement,
    Replay,
};
use crate::record::FileExtent;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

const TAG_ESCAPE: u16 = 1;
const TAG_SAME_UUID: u16 = 2;
const TAG_LAST: u16 = 8;

impl Journal {
    /// Finds out what replaying would do. Whatever can't be told for sure is an error: the caller
    /// then trusts none of the filesystem's maps.
    pub(crate) fn replay(&self, medium: &impl ReadAt) -> Result<Replay, Error> {
        let mut replay = Replay::default();
        if self.is_empty() {
            return Ok(replay);
        }
        if self.compat & COMPAT_CHECKSUM != 0 {
            return Err(UnsupportedKind::JournalChecksum.into());
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
                return Err(UnsupportedKind::JournalRevokes.into());
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
    fn check_home(
        &self,
        medium: &impl ReadAt,
        own: &[FileExtent],
        block: u64,
    ) -> Result<(), Error> {
        let index = own.partition_point(|range| range.physical <= block);
        let before = own.get(index.wrapping_sub(1));
        let is_own = before.is_some_and(|range| block - range.physical < range.count);
        let bytes = u64::from(self.block_bytes);
        let end = block.checked_add(1).and_then(|end| end.checked_mul(bytes));
        if end.is_none_or(|end| end > medium.len()) || is_own {
            return Err(CorruptKind::JournalHome.into());
        }
        Ok(())
    }
}

/// One committed transaction.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) tags: Vec<(u64, Replacement)>,
    pub(crate) revoked: Vec<u64>,
}

/// Reads the log from its start.
pub(crate) struct Scan<'a, M> {
    journal: &'a Journal,
    medium: &'a M,
    position: u32,
    /// Blocks that may still be read before the ring is round.
    left: u32,
}

impl<'a, M: ReadAt> Scan<'a, M> {
    /// Returns a scan of the log from block `start` on.
    pub(crate) const fn new(journal: &'a Journal, medium: &'a M, start: u32) -> Self {
        Self {
            journal,
            medium,
            position: start,
            // The superblock's check says that the ring is not empty.
            left: journal.len - journal.first,
        }
    }

    fn advance(&mut self) -> Result<u32, Error> {
        self.left = self.left.checked_sub(1).ok_or(CorruptKind::LogEndless)?;
        let position = self.position;
        self.position += 1;
        if self.position >= self.journal.len {
            self.position = self.journal.first;
        }
        Ok(position)
    }

    /// Reads the transaction `sequence`; `None` where the log ends before its commit.
    pub(crate) fn transaction(&mut self, sequence: u32) -> Result<Option<Transaction>, Error> {
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
                        doubt = Some(LogBlock::Descriptor);
                    }
                    self.descriptor(sequence, &block, &mut transaction, &mut doubt)?;
                }
                REVOKE => {
                    if !self.journal.is_tail_sound(&block) {
                        doubt = Some(LogBlock::Revoke);
                    }
                    // One that is wrong may say anything.
                    if doubt.is_none() {
                        self.revoke(&block, &mut transaction)?;
                    }
                }
                COMMIT => {
                    // The kernel refuses to mount after this, e2fsck goes on without the
                    // transaction: nothing is certain.
                    if !self.journal.is_commit_sound(&block) {
                        doubt = Some(LogBlock::Commit);
                    }
                    return match doubt {
                        Some(block) => Err(CorruptKind::LogChecksum(block).into()),
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
        doubt: &mut Option<LogBlock>,
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
                *doubt = Some(LogBlock::Data);
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

    fn revoke(&self, block: &[u8], transaction: &mut Transaction) -> Result<(), Error> {
        let journal = self.journal;
        let wide = journal.incompat & INCOMPAT_64BIT != 0;
        let size = if wide { 8 } else { 4 };
        let tail = if journal.has_checksums() { 4 } else { 0 };
        // r_count counts the bytes used, the header of 16 included.
        let end = be_u32(block, 12) as usize;
        if end > block.len() - tail {
            return Err(CorruptKind::LogRevoke.into());
        }
        let entries = block.get(16..end).unwrap_or_default();
        transaction
            .revoked
            .extend(entries.chunks_exact(size).map(|entry| {
                let low = u64::from(be_u32(entry, size - 4));
                if wide {
                    u64::from(be_u32(entry, 0)) << 32 | low
                } else {
                    low
                }
            }));
        if transaction.revoked.len() > REVOKED_MAX {
            return Err(UnsupportedKind::JournalRevokes.into());
        }
        Ok(())
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
