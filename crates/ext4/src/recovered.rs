//! The view of a filesystem that was not unmounted, as the next mount would leave it: its journal
//! replayed, empty, and no longer asked for. Whatever wants a filesystem at rest can work on it.

use cardkeep_block::{BlockError, Patch, Patches, ReadAt};

use crate::error::{Error, UnsupportedKind};
use crate::filesystem::Ext4;
use crate::journal::Journal;
use crate::record::{SUPERBLOCK_BYTES, SuperblockRecord};
use crate::replay::Replayed;
use crate::seal::{Sealer, journal_superblock};
use crate::superblock::{SUPERBLOCK_OFFSET, feature};

/// A filesystem's medium, recovered in memory.
#[derive(Debug)]
pub struct Recovered<M> {
    inner: Replayed<M>,
    patches: Patches,
}

impl<M: ReadAt> Ext4<M> {
    /// Returns the medium with the filesystem recovered; as it is where nothing waits.
    ///
    /// # Errors
    /// As [`Ext4::replayed`], and [`Error::Unsupported`] where fast commits may hold changes that
    /// the log does not name.
    pub fn recovered(&self) -> Result<Recovered<&M>, Error> {
        let replayed = self.replayed()?;
        let journal = self.sound_journal()?;
        let patches = match journal {
            Some(journal) if self.superblock.needs_recovery() => replayed.rest(&journal)?,
            _ => Vec::new(),
        };
        Ok(Recovered {
            inner: replayed.medium,
            patches: Patches::new(patches),
        })
    }
}

impl<M> Recovered<M> {
    /// Returns the same view of `medium`, which must have the same content: for those who want to
    /// own what they look at.
    pub fn onto<N>(self, medium: N) -> Recovered<N> {
        Recovered {
            inner: self.inner.onto(medium),
            patches: self.patches,
        }
    }
}

impl<M: ReadAt> Ext4<Replayed<M>> {
    /// Returns what declares the journal empty.
    fn rest(&self, journal: &Journal) -> Result<Vec<Patch>, Error> {
        if journal.has_fast_commits() || self.superblock.has_compat(feature::COMPAT_FAST_COMMIT) {
            return Err(UnsupportedKind::FastCommits.into());
        }
        self.check_state()?;
        let bytes = self.medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)?;
        let mut record = SuperblockRecord::new(bytes)?;
        record.set_feature_incompat(record.feature_incompat() & !feature::INCOMPAT_RECOVER);
        Sealer::new(&self.superblock).superblock(&mut record);

        let mut head = journal.read(&self.medium, 0)?;
        let next = journal.sequence_after(self.medium.transaction_count());
        head[0x18..0x1C].copy_from_slice(&next.to_be_bytes());
        head[0x1C..0x20].fill(0);
        journal_superblock(&mut head);
        let place = journal.physical(0)?.saturating_mul(self.block_bytes());
        Ok(vec![
            Patch::new(SUPERBLOCK_OFFSET, record.bytes().to_vec()),
            Patch::new(place, head),
        ])
    }
}

impl<M: ReadAt> ReadAt for Recovered<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.inner.read_at(offset, buffer)?;
        self.patches.apply(offset, buffer);
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}
