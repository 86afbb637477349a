//! Checksums of edited metadata, set in place (kernel doc, "Checksums").
//!
//! ```text
//!   structure            covered by the sum, after the seed        where the sum lies
//!   superblock           its first 0x3FC bytes                     0x3FC
//!   group descriptor     group number, descriptor without the sum  0x1E, low half
//!   block, inode bitmap  the bytes that hold bits of the group     descriptor 0x18, 0x1A (0x38, 0x3A)
//!   inode                number, generation, record without sum    0x7C, and 0x82 where there is room
//!   extent tree block    number, generation, all entries           behind the last possible entry
//!   directory block      number, generation, all entries           last 4 bytes
//!   htree node           number, generation, entries in use        behind the last possible entry
//!   attribute block      block number, block without the sum       0x10
//!   orphan file block    number, generation, block number, slots   last 4 bytes
//!   MMP block            its first 0x3FC bytes                     0x3FC
//! ```
//!
//! Pure functions over the bytes: the caller reads and writes. Where a filesystem has no checksums,
//! or a block no room for one (made before they were switched on), nothing is changed.

use cardkeep_block::{be_u32, le_u16, le_u32};

use crate::checksum::{crc16, crc32c};
use crate::number::InodeNumber;
use crate::record::{DescriptorRecord, ExtentNode, InodeRecord, SuperblockRecord};
use crate::superblock::{Superblock, feature};

/// Where an MMP block keeps its sum.
const LAST_WORD: usize = 0x3FC;
/// The entry that hides a directory block's sum: `det_reserved_ft` and the entry's length.
const DIRECTORY_TAIL_TYPE: u8 = 0xDE;
const DIRECTORY_TAIL_BYTES: usize = 12;
/// An htree entry, and the tail behind them: reserved, sum.
const HTREE_ENTRY_BYTES: usize = 8;
const XATTR_MAGIC: u32 = 0xEA02_0000;
const ORPHAN_MAGIC: u32 = 0x0B10_CA04;
const MMP_MAGIC: u32 = 0x004D_4D50;
const JOURNAL_MAGIC: u32 = 0xC03B_3998;
/// jbd2's `s_feature_incompat`: csum_v2, csum_v3.
const JOURNAL_CHECKSUMS: u32 = 0x18;

/// Which metadata carries checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumKind {
    /// None: ext2, ext3.
    Absent,
    /// Group descriptors only, CRC-16 (`gdt_csum`, also called `uninit_bg`).
    Descriptors,
    /// All of it, CRC-32C (`metadata_csum`).
    Metadata,
}

/// The inode that a block belongs to: both numbers go into the block's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOwner {
    /// Its number, from 1.
    pub number: InodeNumber,
    /// `i_generation`.
    pub generation: u32,
}

impl BlockOwner {
    /// Returns the owner whose record is `record`.
    #[must_use]
    pub fn new<B: AsRef<[u8]>>(number: InodeNumber, record: &InodeRecord<B>) -> Self {
        Self {
            number,
            generation: record.generation(),
        }
    }
}

/// Sets the checksums of one filesystem's metadata.
#[derive(Clone, Copy, Debug)]
pub struct Sealer {
    kind: ChecksumKind,
    /// CRC-32C of the UUID, or `s_checksum_seed`.
    seed: u32,
    uuid: [u8; 16],
    block_bitmap_bytes: usize,
    inode_bitmap_bytes: usize,
}

impl Sealer {
    /// Returns the sealer of a filesystem.
    #[must_use]
    pub const fn new(superblock: &Superblock) -> Self {
        let kind = if superblock.has_ro_compat(feature::RO_COMPAT_METADATA_CSUM) {
            ChecksumKind::Metadata
        } else if superblock.has_ro_compat(feature::RO_COMPAT_GDT_CSUM) {
            ChecksumKind::Descriptors
        } else {
            ChecksumKind::Absent
        };
        Self {
            kind,
            seed: superblock.checksum_seed,
            uuid: superblock.uuid,
            block_bitmap_bytes: superblock.clusters_per_group as usize / 8,
            inode_bitmap_bytes: superblock.inodes_per_group as usize / 8,
        }
    }

    /// Returns which metadata carries checksums.
    #[must_use]
    pub const fn kind(&self) -> ChecksumKind {
        self.kind
    }

    const fn seals_all(&self) -> bool {
        matches!(self.kind, ChecksumKind::Metadata)
    }

    /// Seals a superblock, the first one or a copy.
    pub fn superblock<B: AsRef<[u8]> + AsMut<[u8]>>(&self, record: &mut SuperblockRecord<B>) {
        if self.seals_all() {
            let sum = crc32c(!0, record.before_checksum());
            record.set_checksum(sum);
        }
    }

    /// Seals the descriptor of group `number`, as long as `s_desc_size` says. Comes after the
    /// group's bitmaps, whose sums it holds.
    pub fn descriptor<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        number: u32,
        descriptor: &mut DescriptorRecord<B>,
    ) {
        if let Some(sum) = self.descriptor_sum(number, descriptor) {
            descriptor.set_checksum(sum);
        }
    }

    /// Returns what `bg_checksum` should be, or `None` where the filesystem has none.
    pub(crate) fn descriptor_sum<B: AsRef<[u8]>>(
        &self,
        number: u32,
        descriptor: &DescriptorRecord<B>,
    ) -> Option<u16> {
        let number = number.to_le_bytes();
        let (before, after) = descriptor.around_checksum();
        match self.kind {
            ChecksumKind::Absent => None,
            ChecksumKind::Descriptors => {
                let parts = [&self.uuid[..], &number[..], before, after];
                Some(parts.iter().fold(!0, |sum, part| crc16(sum, part)))
            }
            ChecksumKind::Metadata => {
                let parts = [&number[..], before, &[0, 0], after];
                let sum = parts.iter().fold(self.seed, |sum, part| crc32c(sum, part));
                Some(sum as u16)
            }
        }
    }

    /// Puts the sum of a group's block bitmap, one block long, into its descriptor.
    pub fn block_bitmap<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        bitmap: &[u8],
        descriptor: &mut DescriptorRecord<B>,
    ) {
        if self.seals_all() {
            let covered = bitmap.get(..self.block_bitmap_bytes).unwrap_or(bitmap);
            descriptor.set_block_bitmap_checksum(self.bitmap_sum(covered));
        }
    }

    /// Puts the sum of a group's inode bitmap, one block long, into its descriptor.
    pub fn inode_bitmap<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        bitmap: &[u8],
        descriptor: &mut DescriptorRecord<B>,
    ) {
        if self.seals_all() {
            let covered = bitmap.get(..self.inode_bitmap_bytes).unwrap_or(bitmap);
            descriptor.set_inode_bitmap_checksum(self.bitmap_sum(covered));
        }
    }

    /// Returns the sum of bitmap bytes, without regard to how much of it a descriptor holds.
    pub(crate) fn bitmap_sum(&self, bitmap: &[u8]) -> u32 {
        crc32c(self.seed, bitmap)
    }

    /// Seals an inode's record, as long as `s_inode_size` says: `ext4_inode_csum` in
    /// fs/ext4/inode.c. The high half of the sum is there where `i_extra_isize` says so.
    pub fn inode<B: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        number: InodeNumber,
        record: &mut InodeRecord<B>,
    ) {
        if !self.seals_all() {
            return;
        }
        record.set_checksum(0);
        // i_generation is part of the seed, and of the record once more.
        let seed = self.owner_seed(BlockOwner::new(number, record));
        let sum = crc32c(seed, record.bytes());
        record.set_checksum(sum);
    }

    /// Seals a block of an extent tree (the root lies in the inode and has no sum of its own).
    pub fn extent_block(&self, owner: BlockOwner, block: &mut [u8]) {
        if let Some((tail, sum)) = self.extent_sum(owner, block) {
            put_u32(block, tail, sum);
        }
    }

    /// Tells whether a block of an extent tree has the sum that it states (or states none).
    pub(crate) fn is_extent_block_sound(&self, owner: BlockOwner, block: &[u8]) -> bool {
        self.extent_sum(owner, block)
            .is_none_or(|(tail, sum)| sum == le_u32(block, tail))
    }

    /// Returns where a tree block's sum lies, and what it should be.
    fn extent_sum(&self, owner: BlockOwner, block: &[u8]) -> Option<(usize, u32)> {
        if !self.seals_all() {
            return None;
        }
        let tail = ExtentNode::parse(block)?.checksum_offset()?;
        Some((tail, crc32c(self.owner_seed(owner), &block[..tail])))
    }

    /// Seals a block of a directory: a plain one, or a node of its hashed tree, as the block itself
    /// says.
    pub fn directory_block(&self, owner: BlockOwner, block: &mut [u8]) {
        if !self.seals_all() {
            return;
        }
        // A node made from a plain block may still end with what looks like that block's tail: the
        // kernel writes the sum over its last word only.
        if let Some(place) = HtreePlace::find(block) {
            let seed = self.owner_seed(owner);
            let parts = [
                &block[..place.used_end],
                &block[place.tail..place.tail + 4],
                &[0; 4],
            ];
            let sum = parts.iter().fold(seed, |sum, part| crc32c(sum, part));
            put_u32(block, place.tail + 4, sum);
        } else if has_directory_tail(block) {
            let tail = block.len() - DIRECTORY_TAIL_BYTES;
            let sum = crc32c(self.owner_seed(owner), &block[..tail]);
            put_u32(block, tail + 8, sum);
        }
    }

    /// Seals a block of extended attributes that lies at block `place`. Its sum changes when it
    /// moves.
    pub fn xattr_block(&self, place: u64, block: &mut [u8]) {
        if self.seals_all() && le_u32(block, 0) == XATTR_MAGIC {
            put_u32(block, 0x10, 0);
            let sum = crc32c(crc32c(self.seed, &place.to_le_bytes()), block);
            put_u32(block, 0x10, sum);
        }
    }

    /// Seals a block of the orphan file that lies at block `place`.
    pub fn orphan_block(&self, owner: BlockOwner, place: u64, block: &mut [u8]) {
        let Some(tail) = block.len().checked_sub(8) else {
            return;
        };
        if self.seals_all() && le_u32(block, tail) == ORPHAN_MAGIC {
            let seed = crc32c(self.owner_seed(owner), &place.to_le_bytes());
            let sum = crc32c(seed, &block[..tail]);
            put_u32(block, tail + 4, sum);
        }
    }

    /// Seals the block of multiple mount protection.
    pub fn mmp_block(&self, block: &mut [u8]) {
        let is_mmp = le_u32(block, 0) == MMP_MAGIC && block.len() >= LAST_WORD + 4;
        if self.seals_all() && is_mmp {
            let sum = crc32c(self.seed, &block[..LAST_WORD]);
            put_u32(block, LAST_WORD, sum);
        }
    }

    /// What the kernel keeps as `i_csum_seed`.
    fn owner_seed(&self, owner: BlockOwner) -> u32 {
        let sum = crc32c(self.seed, &owner.number.to_le_bytes());
        crc32c(sum, &owner.generation.to_le_bytes())
    }
}

/// Seals the superblock of a journal (its first 1024 bytes), where its own features ask for it.
/// jbd2's numbers are big-endian (kernel doc, "Journal (jbd2)", "Super Block").
pub fn journal_superblock(bytes: &mut [u8]) {
    let has_sum = bytes.len() >= 1024
        && be_u32(bytes, 0) == JOURNAL_MAGIC
        && be_u32(bytes, 0x28) & JOURNAL_CHECKSUMS != 0;
    if has_sum {
        bytes[0xFC..0x100].fill(0);
        let sum = crc32c(!0, &bytes[..1024]);
        bytes[0xFC..0x100].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Tells whether a plain directory block ends with the entry that holds its sum.
fn has_directory_tail(block: &[u8]) -> bool {
    let Some(tail) = block.len().checked_sub(DIRECTORY_TAIL_BYTES) else {
        return false;
    };
    le_u32(block, tail) == 0
        && usize::from(le_u16(block, tail + 4)) == DIRECTORY_TAIL_BYTES
        && block[tail + 6] == 0
        && block[tail + 7] == DIRECTORY_TAIL_TYPE
}

/// Where a node of a hashed tree keeps its entries and its tail (`get_dx_countlimit` in
/// fs/ext4/namei.c tells root and node apart in the same way).
struct HtreePlace {
    used_end: usize,
    tail: usize,
}

impl HtreePlace {
    fn find(block: &[u8]) -> Option<Self> {
        // In blocks of 64 KiB a length of 0 or 0xFFFF means the whole block.
        let spans = |len: u16, bytes: usize| {
            usize::from(len) == bytes || bytes >= 0xFFFC && matches!(len, 0 | 0xFFFF)
        };
        let first_len = le_u16(block, 4);
        let entries = if spans(first_len, block.len()) {
            8
        } else if first_len == 12
            && spans(le_u16(block, 16), block.len().checked_sub(12)?)
            && le_u32(block, 24) == 0
            && block.get(29) == Some(&8)
        {
            32
        } else {
            return None;
        };
        let limit = usize::from(le_u16(block, entries));
        let count = usize::from(le_u16(block, entries + 2));
        let tail = entries + limit * HTREE_ENTRY_BYTES;
        let is_sound = count <= limit && tail + 8 <= block.len();
        is_sound.then_some(Self {
            used_end: entries + count * HTREE_ENTRY_BYTES,
            tail,
        })
    }
}

/// Writes little-endian, at a place that was checked to be there.
fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::{BlockOwner, Sealer, put_u32};
    use crate::superblock::{Superblock, feature, tests};

    /// The kernel makes the root of a hashed tree from a directory's first block, and leaves the
    /// tail of the plain block in the root's reserved word.
    #[test]
    fn a_root_that_was_a_plain_block_is_sealed_as_a_root() {
        let mut superblock = Superblock::parse(&tests::bytes()).unwrap();
        superblock.ro_compat = feature::RO_COMPAT_METADATA_CSUM;
        let sealer = Sealer::new(&superblock);
        let owner = BlockOwner {
            number: 12,
            generation: 34,
        };
        let mut root = vec![0; 4096];
        put_u32(&mut root, 4, 12);
        put_u32(&mut root, 16, 4084);
        root[29] = 8;
        put_u32(&mut root, 32, 507 | 3 << 16);
        put_u32(&mut root, 4088, 0xDE00_000C);
        let mut other = root.clone();
        other[2000] = 1;
        sealer.directory_block(owner, &mut root);
        sealer.directory_block(owner, &mut other);
        // Unused entries are not covered; those of a plain block would be.
        assert_eq!(root[4088..], other[4088..]);
        assert_ne!(root[4092..], [0; 4]);
    }
}
