//! Inodes (kernel doc, "Index Nodes").
//!
//! ```text
//!   0x00 i_mode       0x10 i_mtime         0x20 i_flags           0x6C i_size_high
//!   0x02 i_uid        0x14 i_dtime         0x28 i_block, 60 bytes 0x74 l_i_blocks_high
//!   0x04 i_size_lo    0x18 i_gid           0x64 i_generation      0x76 l_i_file_acl_high
//!   0x08 i_atime      0x1A i_links_count   0x68 i_file_acl_lo     0x78, 0x7A uid and gid, high
//!   0x0C i_ctime      0x1C i_blocks_lo     0x7C l_i_checksum_lo
//!   behind the first 128 bytes, as far as i_extra_isize says:
//!   0x80 i_extra_isize   0x82 i_checksum_hi   0x84 ctime, 0x88 mtime, 0x8C atime: _extra
//!   0x90 i_crtime        0x94 i_crtime_extra  0x9C i_projid
//!   behind those: attributes (xattrs) in the inode
//! ```

use cardkeep_block::{le_u16, le_u32};

use super::{check_len, put_u16, put_u32};
use crate::error::Error;

/// What every inode has, in bytes.
const BASE_BYTES: usize = 128;
/// `i_block`: 15 block numbers, an extent tree's root, a short symlink, or inline data.
pub const BLOCK_FIELD_BYTES: usize = 60;
const BLOCK_FIELD: usize = 0x28;

/// `i_flags`: `i_blocks` counts blocks of the filesystem.
const FLAG_HUGE_FILE: u32 = 0x4_0000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// What an inode is, from the high bits of `i_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// None of these: not in use, or damaged.
    Unknown,
}

impl FileType {
    /// Decodes the type in a mode.
    #[must_use]
    pub const fn from_mode(mode: u16) -> Self {
        match mode & 0xF000 {
            0x1000 => Self::Fifo,
            0x2000 => Self::CharDevice,
            0x4000 => Self::Directory,
            0x6000 => Self::BlockDevice,
            0x8000 => Self::Regular,
            0xA000 => Self::Symlink,
            0xC000 => Self::Socket,
            _ => Self::Unknown,
        }
    }
}

/// How a file finds its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// It has none: its content, target or device number lies in the inode.
    Inline,
    /// By an extent tree.
    Extents,
    /// By a block map.
    Indirect,
}

/// A moment: seconds since 1970, negative ones before, and nanoseconds in addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000 in a sound inode.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Decodes a signed 32-bit field and its `_extra` word: two bits of epoch, 30 of nanoseconds
    /// (kernel doc, "Inode Timestamps").
    const fn from_fields(low: u32, extra: u32) -> Self {
        Self {
            seconds: low as i32 as i64 + (((extra & 3) as i64) << 32),
            nanoseconds: extra >> 2,
        }
    }
}

/// An inode's record: 128 bytes or more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InodeRecord<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> InodeRecord<B> {
    /// Returns the record in `bytes`: the first 128 of it, or as many as `s_inode_size` says.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for fewer than 128 bytes.
    pub fn new(bytes: B) -> Result<Self, Error> {
        check_len("inode", bytes.as_ref(), BASE_BYTES)?;
        Ok(Self { bytes })
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Returns `i_mode`.
    #[must_use]
    pub fn mode(&self) -> u16 {
        le_u16(self.bytes(), 0x00)
    }

    /// Returns the type in `i_mode`.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode())
    }

    /// Returns `i_uid`, both halves.
    #[must_use]
    pub fn uid(&self) -> u32 {
        u32::from(le_u16(self.bytes(), 0x02)) | u32::from(le_u16(self.bytes(), 0x78)) << 16
    }

    /// Returns `i_gid`, both halves.
    #[must_use]
    pub fn gid(&self) -> u32 {
        u32::from(le_u16(self.bytes(), 0x18)) | u32::from(le_u16(self.bytes(), 0x7A)) << 16
    }

    /// Returns `i_size`, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        u64::from(le_u32(self.bytes(), 0x04)) | u64::from(le_u32(self.bytes(), 0x6C)) << 32
    }

    /// Returns `i_dtime`: when it was deleted, or the next inode in a chain of orphans.
    #[must_use]
    pub fn dtime(&self) -> u32 {
        le_u32(self.bytes(), 0x14)
    }

    /// Returns `i_links_count`.
    #[must_use]
    pub fn link_count(&self) -> u16 {
        le_u16(self.bytes(), 0x1A)
    }

    /// Tells whether it is a file that a directory names.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.mode() != 0 && self.link_count() != 0
    }

    /// Returns `i_blocks`; its high half counts where there is huge_file. Of 512 bytes each, or of
    /// blocks: see [`InodeRecord::counts_blocks`].
    #[must_use]
    pub fn blocks(&self, has_huge_file: bool) -> u64 {
        let high = if has_huge_file {
            u64::from(le_u16(self.bytes(), 0x74)) << 32
        } else {
            0
        };
        u64::from(le_u32(self.bytes(), 0x1C)) | high
    }

    /// Tells whether `i_blocks` counts blocks of the filesystem, where there is huge_file.
    #[must_use]
    pub fn counts_blocks(&self) -> bool {
        self.flags() & FLAG_HUGE_FILE != 0
    }

    /// Returns `i_flags`.
    #[must_use]
    pub fn flags(&self) -> u32 {
        le_u32(self.bytes(), 0x20)
    }

    /// Tells whether `i_block` roots an extent tree.
    #[must_use]
    pub fn has_extents(&self) -> bool {
        self.flags() & FLAG_EXTENTS != 0
    }

    /// Tells whether the content lies in the inode itself.
    #[must_use]
    pub fn has_inline_data(&self) -> bool {
        self.flags() & FLAG_INLINE_DATA != 0
    }

    /// Returns how it finds its blocks: `i_block` holds none for inline data, for short symlinks,
    /// and for devices.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        let maps_blocks = match self.file_type() {
            FileType::Regular | FileType::Directory => true,
            FileType::Symlink => self.size_bytes() >= BLOCK_FIELD_BYTES as u64,
            _ => false,
        };
        if !maps_blocks || self.has_inline_data() {
            Mapping::Inline
        } else if self.has_extents() {
            Mapping::Extents
        } else {
            Mapping::Indirect
        }
    }

    /// Returns `i_block`.
    #[must_use]
    pub fn block_field(&self) -> [u8; BLOCK_FIELD_BYTES] {
        std::array::from_fn(|index| self.bytes()[BLOCK_FIELD + index])
    }

    /// Returns `i_generation`.
    #[must_use]
    pub fn generation(&self) -> u32 {
        le_u32(self.bytes(), 0x64)
    }

    /// Returns `i_file_acl`: the block of attributes, or 0.
    #[must_use]
    pub fn xattr_block(&self) -> u64 {
        u64::from(le_u32(self.bytes(), 0x68)) | u64::from(le_u16(self.bytes(), 0x76)) << 32
    }

    /// Returns `i_extra_isize`: how much of what lies behind the first 128 bytes holds fields. 0
    /// where it is not there, or says more than there is.
    #[must_use]
    pub fn extra_bytes(&self) -> u16 {
        let room = self.bytes().len() - BASE_BYTES;
        // Without a large inode there is no such field, and the bytes are another's.
        let stated = if room >= 4 {
            le_u16(self.bytes(), 0x80)
        } else {
            0
        };
        if usize::from(stated) <= room {
            stated
        } else {
            0
        }
    }

    /// Returns the `u32` at `offset` behind the first 128 bytes, where it is there.
    fn extra(&self, offset: usize) -> Option<u32> {
        let end = BASE_BYTES + usize::from(self.extra_bytes());
        (offset + 4 <= end).then(|| le_u32(self.bytes(), offset))
    }

    fn time(&self, offset: usize, extra: usize) -> Timestamp {
        let extra = self.extra(extra).unwrap_or(0);
        Timestamp::from_fields(le_u32(self.bytes(), offset), extra)
    }

    /// Returns when it was last read: `i_atime`.
    #[must_use]
    pub fn atime(&self) -> Timestamp {
        self.time(0x08, 0x8C)
    }

    /// Returns when it was last changed: `i_ctime`.
    #[must_use]
    pub fn ctime(&self) -> Timestamp {
        self.time(0x0C, 0x84)
    }

    /// Returns when its content was last changed: `i_mtime`.
    #[must_use]
    pub fn mtime(&self) -> Timestamp {
        self.time(0x10, 0x88)
    }

    /// Returns when it was made, where the inode has room for that: `i_crtime`.
    #[must_use]
    pub fn crtime(&self) -> Option<Timestamp> {
        let extra = self.extra(0x94).unwrap_or(0);
        self.extra(0x90)
            .map(|low| Timestamp::from_fields(low, extra))
    }

    /// Returns the number of a device, as major and minor (`i_block` 0 in the old form, 1 in the
    /// new one: `old_decode_dev`, `new_decode_dev` in include/linux/kdev_t.h).
    #[must_use]
    pub fn device_number(&self) -> Option<(u32, u32)> {
        if !matches!(
            self.file_type(),
            FileType::CharDevice | FileType::BlockDevice
        ) {
            return None;
        }
        let (old, new) = (
            le_u32(self.bytes(), BLOCK_FIELD),
            le_u32(self.bytes(), BLOCK_FIELD + 4),
        );
        Some(if old != 0 {
            (old >> 8 & 0xFF, old & 0xFF)
        } else {
            (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xF_FF00)
        })
    }

    /// Returns what lies behind the fixed fields: attributes, where there are some.
    #[must_use]
    pub fn xattr_area(&self) -> &[u8] {
        let start = BASE_BYTES + usize::from(self.extra_bytes());
        if self.extra_bytes() < 4 {
            return &[];
        }
        self.bytes().get(start..).unwrap_or_default()
    }

    /// Tells whether there is room for the high half of the sum.
    pub(crate) fn has_checksum_high(&self) -> bool {
        self.bytes().len() > BASE_BYTES && le_u16(self.bytes(), 0x80) >= 4
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> InodeRecord<B> {
    /// Sets `i_dtime`.
    pub fn set_dtime(&mut self, value: u32) {
        put_u32(self.bytes.as_mut(), 0x14, value);
    }

    /// Sets `i_blocks`: its high half where there is huge_file.
    pub fn set_blocks(&mut self, count: u64, has_huge_file: bool) {
        put_u32(self.bytes.as_mut(), 0x1C, count as u32);
        if has_huge_file {
            put_u16(self.bytes.as_mut(), 0x74, (count >> 32) as u16);
        }
    }

    /// Returns `i_block`, to be changed.
    pub fn block_field_mut(&mut self) -> &mut [u8] {
        &mut self.bytes.as_mut()[BLOCK_FIELD..BLOCK_FIELD + BLOCK_FIELD_BYTES]
    }

    /// Sets `i_file_acl`.
    pub fn set_xattr_block(&mut self, block: u64) {
        put_u32(self.bytes.as_mut(), 0x68, block as u32);
        put_u16(self.bytes.as_mut(), 0x76, (block >> 32) as u16);
    }

    /// Makes all of it zero.
    pub fn clear(&mut self) {
        self.bytes.as_mut().fill(0);
    }

    /// Sets the sum; its high half where there is room for one.
    pub(crate) fn set_checksum(&mut self, sum: u32) {
        let has_high = self.has_checksum_high();
        put_u16(self.bytes.as_mut(), 0x7C, sum as u16);
        if has_high {
            put_u16(self.bytes.as_mut(), 0x82, (sum >> 16) as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InodeRecord, Timestamp};
    use crate::error::Error;

    /// The table of the kernel doc's "Inode Timestamps".
    #[test]
    fn epoch_bits_reach_from_1901_to_2446() {
        let cases = [
            (0x8000_0000, 0, -0x8000_0000),
            (0xFFFF_FFFF, 0, -1),
            (0, 0, 0),
            (0x8000_0000, 1, 0x8000_0000),
            (0, 1, 0x1_0000_0000),
            (0x7FFF_FFFF, 3, 0x3_7FFF_FFFF),
        ];
        for (low, epoch, seconds) in cases {
            let nanoseconds = 999_999_999;
            let time = Timestamp::from_fields(low, epoch | nanoseconds << 2);
            let expected = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(time, expected);
        }
    }

    #[test]
    fn fields_behind_the_extra_size_are_not_there() {
        let mut bytes = vec![0; 256];
        bytes[0x84..0x98].fill(0xFF);
        let crtime = |bytes: &[u8]| InodeRecord::new(bytes).unwrap().crtime();
        for (extra, there) in [
            (0, false),
            (16, false),
            (20, true),
            (24, true),
            (200, false),
        ] {
            bytes[0x80] = extra;
            assert_eq!(crtime(&bytes).is_some(), there, "{extra}");
        }
        assert_eq!(crtime(&bytes[..128]), None);
        assert!(matches!(
            InodeRecord::new(&bytes[..127]),
            Err(Error::Corrupt(_))
        ));
    }
}
