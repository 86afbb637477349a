//! A squashfs on its medium.

use cardkeep_block::{Behind, Extent, Filesystem, FsSummary, Monitor, Owner, ReadAt, Structure};

use crate::error::{CorruptKind, Error};
use crate::superblock::{SUPERBLOCK_BYTES, Superblock};

/// mksquashfs fills its output up to a multiple of this with zeros, for loop devices (`-nopad`
/// leaves that out).
const PADDING_BYTES: u64 = 4096;

/// A squashfs on a medium that begins with its superblock.
#[derive(Debug)]
pub struct Squashfs<M> {
    medium: M,
    superblock: Superblock,
}

impl<M: ReadAt> Squashfs<M> {
    /// Reads and checks the superblock.
    ///
    /// # Errors
    /// As [`Superblock::load`], and [`Error::Corrupt`] where the filesystem is longer than its
    /// medium.
    pub fn load(medium: M) -> Result<Self, Error> {
        let superblock = Superblock::load(&medium)?;
        let (fs_bytes, medium_bytes) = (superblock.bytes_used, medium.len());
        if fs_bytes > medium_bytes {
            return Err(CorruptKind::PastEnd {
                fs_bytes,
                medium_bytes,
            }
            .into());
        }
        Ok(Self { medium, superblock })
    }

    /// Returns its superblock.
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns how much of the medium it claims, in bytes: with its padding, where there is room.
    pub fn claimed_len(&self) -> u64 {
        let padded = self
            .superblock
            .bytes_used
            .checked_next_multiple_of(PADDING_BYTES);
        padded.unwrap_or(u64::MAX).min(self.medium.len())
    }
}

impl<M: ReadAt> Filesystem for Squashfs<M> {
    fn medium(&self) -> &dyn ReadAt {
        &self.medium
    }

    fn summary(&self) -> FsSummary {
        let superblock = &self.superblock;
        FsSummary {
            name: "squashfs".to_owned(),
            // Nothing ever writes to it.
            is_clean: true,
            block_bytes: superblock.block_bytes.into(),
            len: self.claimed_len(),
            behind: Behind::Unknown,
            compression: Some(superblock.compression.to_string()),
            created_seconds: Some(superblock.created_seconds.into()),
            ..FsSummary::default()
        }
    }

    fn owners(&self, extents: &[Extent], _: &dyn Monitor) -> Vec<Owner> {
        let Superblock {
            bytes_used,
            inode_table,
            directory_table,
            ..
        } = self.superblock;
        let contents = SUPERBLOCK_BYTES as u64;
        let parts = [
            (0, contents, Structure::Superblock),
            (contents, inode_table, Structure::PackedFiles),
            (inode_table, directory_table, Structure::InodeTable),
            (directory_table, bytes_used, Structure::Directories),
        ];
        let owners = parts.into_iter().flat_map(|(start, end, structure)| {
            Owner::of_parts(extents, Extent::between(start, end), structure)
        });
        owners.collect()
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Driver, Extent, MemoryMedium, Silent, State, Structure, WriteAt};

    use crate::SquashfsDriver;
    use crate::superblock::test_superblock::superblock;

    /// A squashfs of 5000 bytes at the beginning of a medium.
    fn medium(len: u64) -> MemoryMedium {
        let medium = MemoryMedium::new(len);
        medium.write_at(0, &superblock(5000)).unwrap();
        medium
    }

    #[test]
    fn the_padded_length_is_used_and_zeros_behind_it_stay_zeros() {
        let medium = medium(1 << 20);
        let fs = SquashfsDriver.open(&medium).unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map.bytes(State::Used), 8192);
        assert_eq!(map.bytes(State::Zero), (1 << 20) - 8192);
        assert_eq!(map.bytes(State::Free), 0);
        // What an overlay holds is missed as well.
        assert_eq!(fs.content_len(), 1 << 20);
        medium.write_at(65536, b"overlay").unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map.bytes(State::Zero), 65536 - 8192);
        assert_eq!(map.bytes(State::Free), 0);
    }

    #[test]
    fn a_medium_without_room_for_padding_does_and_a_shorter_one_does_not() {
        let exact = medium(5000);
        let fs = SquashfsDriver.open(&exact).unwrap();
        assert_eq!(fs.summary().len, 5000);
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map.bytes(State::Used), 5000);
        let short = medium(4999);
        assert!(SquashfsDriver.probe(&short));
        assert_eq!(SquashfsDriver.stated_len(&short), Some(5000));
        assert!(SquashfsDriver.open(&short).is_err());
    }

    #[test]
    fn each_part_has_its_owner() {
        let medium = medium(1 << 20);
        let fs = SquashfsDriver.open(&medium).unwrap();
        let owners = fs.owners(&[Extent::between(0, 1 << 20)], &Silent);
        let found: Vec<_> = owners
            .iter()
            .map(|owner| (owner.extent.end(), owner.structure.unwrap()))
            .collect();
        let expected = [
            (96, Structure::Superblock),
            (1000, Structure::PackedFiles),
            (1100, Structure::InodeTable),
            (5000, Structure::Directories),
        ];
        assert_eq!(found, expected);
    }
}
