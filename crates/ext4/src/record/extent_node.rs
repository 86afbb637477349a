//! Nodes of extent trees (kernel doc, "Extent Tree").
//!
//! ```text
//!   header    0x0 eh_magic  0x2 eh_entries  0x4 eh_max        0x6 eh_depth     12 bytes
//!   leaf      0x0 ee_block  0x4 ee_len      0x6 ee_start_hi   0x8 ee_start_lo  12 bytes each
//!   index     0x0 ei_block  0x4 ei_leaf_lo  0x8 ei_leaf_hi                     12 bytes each
//! ```

use cardkeep_block::{le_u16, le_u32};

use super::{put_u16, put_u32};

/// The size of the header, and of each entry.
pub const EXTENT_ENTRY_BYTES: usize = 12;
/// `ee_len` above this means an unwritten extent of the rest.
pub const WRITTEN_LEN_MAX: u16 = 32768;
const MAGIC: u16 = 0xF30A;
/// The kernel's `EXT4_MAX_EXTENT_DEPTH`.
const DEPTH_MAX: u16 = 5;

/// A range of a file's blocks that lie next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileExtent {
    /// Where it begins, in blocks of the file.
    pub logical: u64,
    /// Where it begins, in blocks of the filesystem.
    pub physical: u64,
    /// How many blocks it has.
    pub count: u64,
    /// It is allocated, but reads as zero by definition.
    pub is_unwritten: bool,
}

/// A node of an extent tree: a whole block, or the 60 bytes in an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtentNode<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> ExtentNode<B> {
    /// Returns the node in `bytes`; `None` where that is none: a wrong magic number, more entries
    /// than it says there is room for or than there is, or too deep a tree
    /// (`__ext4_ext_check` in fs/ext4/extents.c).
    pub fn parse(bytes: B) -> Option<Self> {
        let record = bytes.as_ref();
        let fits = (record.len() / EXTENT_ENTRY_BYTES).checked_sub(1)?;
        let node = Self { bytes };
        let is_sound = le_u16(node.bytes.as_ref(), 0) == MAGIC
            && node.count() <= node.room()
            && node.room() <= fits
            && node.depth() <= DEPTH_MAX;
        is_sound.then_some(node)
    }

    /// Returns `eh_depth`: 0 for a leaf.
    #[must_use]
    pub fn depth(&self) -> u16 {
        le_u16(self.bytes.as_ref(), 6)
    }

    /// Returns `eh_entries`.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(le_u16(self.bytes.as_ref(), 2))
    }

    /// Returns `eh_max`: how many entries it has room for.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::from(le_u16(self.bytes.as_ref(), 4))
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let entries = self.bytes.as_ref()[EXTENT_ENTRY_BYTES..].chunks_exact(EXTENT_ENTRY_BYTES);
        entries.take(self.count())
    }

    /// Returns the extents of a leaf.
    pub fn extents(&self) -> impl Iterator<Item = FileExtent> + '_ {
        self.entries().map(|entry| {
            let len = le_u16(entry, 4); // ee_len
            let is_unwritten = len > WRITTEN_LEN_MAX;
            let count = if is_unwritten {
                len - WRITTEN_LEN_MAX
            } else {
                len
            };
            FileExtent {
                logical: u64::from(le_u32(entry, 0)), // ee_block
                physical: u64::from(le_u32(entry, 8)) | u64::from(le_u16(entry, 6)) << 32,
                count: u64::from(count),
                is_unwritten,
            }
        })
    }

    /// Returns the blocks of the nodes that an inner node refers to: `ei_leaf`, 48 bits.
    pub fn children(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries()
            .map(|entry| u64::from(le_u32(entry, 4)) | u64::from(le_u16(entry, 8)) << 32)
    }

    /// Returns the end of the highest range of blocks that the node itself refers to.
    #[must_use]
    pub fn refers_to(&self) -> u64 {
        let end = if self.depth() == 0 {
            self.extents().map(|e| e.physical + e.count).max()
        } else {
            self.children().map(|block| block + 1).max()
        };
        end.unwrap_or(0)
    }

    /// Returns where a node that fills a block keeps its sum (`et_checksum`): behind the last
    /// entry that there is room for. `None` where there is no room for a sum.
    pub(crate) fn checksum_offset(&self) -> Option<usize> {
        let tail = (self.room() + 1) * EXTENT_ENTRY_BYTES;
        (tail + 4 <= self.bytes.as_ref().len()).then_some(tail)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> ExtentNode<B> {
    /// Sets where the extent at `index` of a leaf begins (`ee_start`).
    ///
    /// # Panics
    /// Where there is no such entry.
    pub fn set_extent_start(&mut self, index: usize, block: u64) {
        let entry = self.entry_mut(index);
        put_u32(entry, 8, block as u32);
        put_u16(entry, 6, (block >> 32) as u16);
    }

    /// Sets where the child at `index` of an inner node lies (`ei_leaf`).
    ///
    /// # Panics
    /// Where there is no such entry.
    pub fn set_child(&mut self, index: usize, block: u64) {
        let entry = self.entry_mut(index);
        put_u32(entry, 4, block as u32);
        put_u16(entry, 8, (block >> 32) as u16);
    }

    fn entry_mut(&mut self, index: usize) -> &mut [u8] {
        let start = (index + 1) * EXTENT_ENTRY_BYTES;
        &mut self.bytes.as_mut()[start..start + EXTENT_ENTRY_BYTES]
    }
}

impl ExtentNode<Vec<u8>> {
    /// Returns a leaf of `extents`, with room for `room` of them. Unused entries are left out of
    /// its bytes.
    #[must_use]
    pub fn leaf(extents: &[FileExtent], room: usize) -> Self {
        let mut node = Self::empty(extents.len(), room, 0);
        for (index, extent) in extents.iter().enumerate() {
            let unwritten = if extent.is_unwritten {
                WRITTEN_LEN_MAX
            } else {
                0
            };
            let entry = node.entry_mut(index);
            put_u32(entry, 0, extent.logical as u32);
            put_u16(entry, 4, extent.count as u16 + unwritten);
            node.set_extent_start(index, extent.physical);
        }
        node
    }

    /// Returns an inner node of `children`: the first block of the file that each maps, and where
    /// it lies.
    #[must_use]
    pub fn inner(children: &[(u64, u64)], room: usize, depth: u16) -> Self {
        let mut node = Self::empty(children.len(), room, depth);
        for (index, &(logical, block)) in children.iter().enumerate() {
            put_u32(node.entry_mut(index), 0, logical as u32);
            node.set_child(index, block);
        }
        node
    }

    fn empty(count: usize, room: usize, depth: u16) -> Self {
        let mut bytes = vec![0; (count + 1) * EXTENT_ENTRY_BYTES];
        put_u16(&mut bytes, 0, MAGIC);
        put_u16(&mut bytes, 2, count as u16);
        put_u16(&mut bytes, 4, room as u16);
        put_u16(&mut bytes, 6, depth);
        Self { bytes }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{ExtentNode, FileExtent};

    #[test]
    fn nodes_are_decoded_as_they_were_encoded_and_edited_in_place() {
        let extents = [(0, 1 << 40, 32768, false), (40000, 7, 32767, true)].map(
            |(logical, physical, count, is_unwritten)| FileExtent {
                logical,
                physical,
                count,
                is_unwritten,
            },
        );
        let mut bytes = ExtentNode::leaf(&extents, 4).into_bytes();
        bytes.resize(60, 0);
        let mut node = ExtentNode::parse(bytes.as_mut_slice()).unwrap();
        assert_eq!(node.extents().collect::<Vec<_>>(), extents);
        assert_eq!(node.refers_to(), (1 << 40) + 32768);
        node.set_extent_start(1, 1 << 33);
        assert_eq!(node.extents().nth(1).unwrap().physical, 1 << 33);
        let mut inner = ExtentNode::inner(&[(0, 5), (9, 1 << 40)], 2, 1);
        assert_eq!(inner.children().collect::<Vec<_>>(), [5, 1 << 40]);
        inner.set_child(0, 6);
        assert_eq!((inner.children().next(), inner.depth()), (Some(6), 1));
    }

    #[test]
    fn what_is_no_node_is_not_parsed() {
        let sound = ExtentNode::inner(&[(0, 5)], 1, 5).into_bytes();
        assert!(ExtentNode::parse(&sound).is_some());
        for (offset, value) in [(0, 0), (2, 2), (4, 2), (4, 0), (6, 6)] {
            let mut bytes = sound.clone();
            bytes[offset] = value;
            assert!(ExtentNode::parse(&bytes).is_none(), "{offset}");
        }
        assert!(ExtentNode::parse(&sound[..23]).is_none());
        assert!(ExtentNode::parse(&sound[..5]).is_none());
    }
}
