//! An ext filesystem as a whole.

use cardkeep_block::{Extent, ReadAt};

use crate::copies::load_superblock;
use crate::error::Error;
use crate::group::{Group, load_groups};
use crate::inode::inode_offset;
use crate::journal::{Journal, Replay};
use crate::number::InodeNumber;
use crate::replay::Replayed;
use crate::superblock::{Superblock, feature};

/// Which of the three a filesystem is, as `blkid` tells them apart: by features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// No journal.
    Ext2,
    /// A journal, and nothing that came later.
    Ext3,
    /// Anything newer.
    Ext4,
}

/// What there is to say about a filesystem. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Which of the three.
    pub flavour: Flavour,
    /// `s_volume_name`, where there is one.
    pub label: Option<String>,
    /// `s_uuid`, as `blkid` prints it.
    pub uuid: String,
    /// The size of a block.
    pub block_bytes: u32,
    /// The size of the filesystem, which may be less than that of its partition.
    pub len: u64,
    /// What the superblock says is free; only a hint where the filesystem is unclean.
    pub free_bytes: u64,
    /// It was unmounted properly: nothing waits in the journal, and no errors are noted.
    pub is_clean: bool,
    /// The kernel noted errors on it.
    pub has_errors: bool,
    /// When it was last written to, in seconds since 1970 (`s_wtime`).
    pub last_write_seconds: u64,
}

/// An ext2, ext3 or ext4 filesystem on a medium.
#[derive(Debug)]
pub struct Ext4<M> {
    pub(crate) medium: M,
    pub(crate) superblock: Superblock,
    pub(crate) groups: Vec<Group>,
    /// The superblock is a copy: the first one can't be read.
    pub(crate) is_from_copy: bool,
}

impl<M: ReadAt> Ext4<M> {
    /// Reads and checks the superblock and the group descriptors; where the first ones can't be
    /// read, their copies.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for features not known here, [`Error::Corrupt`] with the failed
    /// check, [`Error::Io`] where the medium fails.
    pub fn load(medium: M) -> Result<Self, Error> {
        let (superblock, is_from_copy) = load_superblock(&medium)?;
        let groups = load_groups(&medium, &superblock)?;
        let mut fs = Self {
            medium,
            superblock,
            groups,
            is_from_copy,
        };
        if is_from_copy {
            fs.ask_journal();
        }
        Ok(fs)
    }

    /// Learns from the journal whether it waits to be replayed: the copy of a superblock says what
    /// was true when it was written. An empty log has no need to be replayed, any other has.
    fn ask_journal(&mut self) {
        let incompat = self.superblock.incompat & !feature::INCOMPAT_RECOVER;
        self.superblock.incompat = match self.journal() {
            Ok(Some(journal)) if !journal.is_empty() => incompat | feature::INCOMPAT_RECOVER,
            _ => incompat,
        };
    }

    /// Tells whether the superblock is a copy, because the first one can't be read.
    #[must_use]
    pub const fn is_from_copy(&self) -> bool {
        self.is_from_copy
    }

    /// Returns the filesystem as it would be after its journal is replayed; as it is where
    /// nothing waits there.
    ///
    /// # Errors
    /// As [`Ext4::load`], and [`Error::Corrupt`] where the log can't be told for sure.
    pub fn replayed(&self) -> Result<Ext4<Replayed<&M>>, Error> {
        let replay = match self.journal()? {
            Some(journal) if self.superblock.needs_recovery() => journal.replay(&self.medium)?,
            _ => Replay::default(),
        };
        Ext4::load(Replayed::new(
            &self.medium,
            self.superblock.block_bytes,
            replay,
        ))
    }

    /// Returns the medium that it lies on: of a replayed one, the view with the log applied.
    pub const fn medium(&self) -> &M {
        &self.medium
    }

    /// Returns its superblock.
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns where an inode's record lies, in bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where there is no such inode.
    pub fn inode_offset(&self, number: InodeNumber) -> Result<u64, Error> {
        inode_offset(&self.superblock, &self.groups, number)
    }

    /// Returns what there is to say about it.
    #[must_use]
    pub fn info(&self) -> Info {
        let superblock = &self.superblock;
        let has_journal = superblock.has_compat(feature::COMPAT_HAS_JOURNAL);
        let is_marked_clean = if has_journal {
            !superblock.needs_recovery()
        } else {
            superblock.is_marked_valid()
        };
        Info {
            flavour: flavour(superblock),
            label: Some(superblock.label.clone()).filter(|label| !label.is_empty()),
            uuid: uuid_text(&superblock.uuid),
            block_bytes: superblock.block_bytes,
            len: superblock.len(),
            free_bytes: superblock
                .free_block_count
                .saturating_mul(u64::from(superblock.block_bytes))
                .min(superblock.len()),
            is_clean: is_marked_clean && !superblock.has_errors() && !self.is_from_copy,
            has_errors: superblock.has_errors(),
            last_write_seconds: superblock.last_write_seconds,
        }
    }

    pub(crate) fn journal(&self) -> Result<Option<Journal>, Error> {
        Journal::load(&self.medium, &self.superblock, &self.groups)
    }

    pub(crate) fn block_bytes(&self) -> u64 {
        u64::from(self.superblock.block_bytes)
    }

    /// Returns the extent of `count` blocks from `block` on. For blocks that were checked to lie
    /// within the filesystem, whose length in bytes fits `u64`.
    pub(crate) fn extent(&self, block: u64, count: u64) -> Extent {
        let bytes = self.block_bytes();
        Extent::between(
            block.saturating_mul(bytes),
            (block.saturating_add(count)).saturating_mul(bytes),
        )
    }
}

/// Features that ext3 does not have; huge_file and the like alone do not make an ext4.
fn flavour(superblock: &Superblock) -> Flavour {
    let newer_ro = superblock.ro_compat & !0x7 != 0;
    // filetype, recover, journal_dev and meta_bg are ext3's.
    let newer_in = superblock.incompat & !0x1E != 0;
    if newer_ro || newer_in {
        Flavour::Ext4
    } else if superblock.has_compat(feature::COMPAT_HAS_JOURNAL) {
        Flavour::Ext3
    } else {
        Flavour::Ext2
    }
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: Vec<String> = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]]
        .map(|part| part.concat())
        .join("-")
}

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
        })
    }
}
