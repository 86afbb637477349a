//! An erofs on its medium.

use cardkeep_block::{Behind, Extent, Filesystem, FsSummary, Monitor, Owner, ReadAt, Structure};

use crate::error::{CorruptKind, Error};
use crate::superblock::{SUPERBLOCK_OFFSET, Superblock};

/// An erofs on a medium.
#[derive(Debug)]
pub struct Erofs<M> {
    medium: M,
    superblock: Superblock,
}

impl<M: ReadAt> Erofs<M> {
    /// Reads and checks the superblock.
    ///
    /// # Errors
    /// As [`Superblock::load`], and [`Error::Corrupt`] where the filesystem is longer than its
    /// medium.
    pub fn load(medium: M) -> Result<Self, Error> {
        let superblock = Superblock::load(&medium)?;
        let (fs_bytes, medium_bytes) = (superblock.len(), medium.len());
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
}

impl<M: ReadAt> Filesystem for Erofs<M> {
    fn medium(&self) -> &dyn ReadAt {
        &self.medium
    }

    fn summary(&self) -> FsSummary {
        let superblock = &self.superblock;
        let name = &superblock.volume_name;
        let compression = superblock.compression.join(", ");
        FsSummary {
            name: "erofs".to_owned(),
            label: Some(name.clone()).filter(|name| !name.is_empty()),
            uuid: Some(uuid_text(&superblock.uuid)),
            // Nothing ever writes to it.
            is_clean: true,
            block_bytes: superblock.block_bytes.into(),
            len: superblock.len(),
            behind: Behind::Unknown,
            compression: Some(compression).filter(|names| !names.is_empty()),
            created_seconds: Some(superblock.created_seconds),
            more_devices: superblock.extra_devices.into(),
            ..FsSummary::default()
        }
    }

    fn owners(&self, extents: &[Extent], _: &dyn Monitor) -> Vec<Owner> {
        let (start, end) = (SUPERBLOCK_OFFSET, self.superblock.len());
        let own_end = start + self.superblock.superblock_bytes;
        let parts = [
            (0, start, Structure::Filesystem),
            (start, own_end, Structure::Superblock),
            (own_end, end, Structure::Filesystem),
        ];
        let owners = parts.into_iter().flat_map(|(start, end, structure)| {
            Owner::of_parts(extents, Extent::between(start, end), structure)
        });
        owners.collect()
    }
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: Vec<String> = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]]
        .map(|part| part.concat())
        .join("-")
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Driver, Extent, MemoryMedium, Silent, State, Structure, WriteAt};

    use crate::ErofsDriver;
    use crate::superblock::test_superblock::superblock;

    /// An erofs of 100 blocks at the beginning of a medium.
    fn medium(len: u64) -> MemoryMedium {
        let medium = MemoryMedium::new(len);
        medium.write_at(1024, &superblock(100)).unwrap();
        medium
    }

    #[test]
    fn its_blocks_are_used_and_zeros_behind_them_stay_zeros() {
        let medium = medium(1 << 20);
        let fs = ErofsDriver.open(&medium).unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        assert_eq!(map.bytes(State::Used), 409_600);
        assert_eq!(map.bytes(State::Free), 0);
        assert_eq!(fs.content_len(), 1 << 20);
        medium.write_at(1_000_000, b"hashes").unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        let behind = map.run_at((1 << 20) - 1).unwrap();
        assert_eq!(
            (behind.state, behind.extent.start()),
            (State::Used, 999_424)
        );
    }

    #[test]
    fn one_that_is_longer_than_its_medium_is_damaged() {
        assert!(ErofsDriver.open(&medium(409_600)).is_ok());
        let short = medium(409_599);
        assert!(ErofsDriver.probe(&short));
        assert_eq!(ErofsDriver.stated_len(&short), Some(409_600));
        assert!(ErofsDriver.open(&short).is_err());
    }

    #[test]
    fn each_part_has_its_owner() {
        let medium = medium(1 << 20);
        let fs = ErofsDriver.open(&medium).unwrap();
        let owners = fs.owners(&[Extent::between(512, 1 << 20)], &Silent);
        let found: Vec<_> = owners
            .iter()
            .map(|owner| (owner.extent.end(), owner.structure.unwrap()))
            .collect();
        let expected = [
            (1024, Structure::Filesystem),
            (1152, Structure::Superblock),
            (409_600, Structure::Filesystem),
        ];
        assert_eq!(found, expected);
    }
}
