//! A filesystem that was opened: what it says of itself, its map, whose its bytes are, its files.

use super::behind;
use super::error::DriverError;
use super::summary::{Behind, FsSummary};
use crate::extent::Extent;
use crate::map::AllocationMap;
use crate::medium::ReadAt;
use crate::monitor::Monitor;
use crate::structure::Structure;

/// A filesystem that was opened.
pub trait Filesystem {
    /// Returns the medium that it lies on, from its first byte on.
    fn medium(&self) -> &dyn ReadAt;

    /// Returns what there is to say about it.
    fn summary(&self) -> FsSummary;

    /// Returns what the user should know of it, in words.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the map of the medium's whole length. Unless a driver knows better, all that the
    /// filesystem claims is used, and so is what lies behind it, but for zeros (see
    /// [`Behind::Unknown`]).
    ///
    /// # Errors
    /// Of the driver's crate; all of the medium is used then.
    fn allocation_map(&self, monitor: &dyn Monitor) -> Result<AllocationMap, DriverError> {
        Ok(behind::map(self.medium(), self.summary().len, monitor))
    }

    /// Returns where the content of the medium ends that anybody may miss, in bytes: where the
    /// filesystem does, unless something else may lie behind it.
    fn content_len(&self) -> u64 {
        let FsSummary { len, behind, .. } = self.summary();
        match behind {
            Behind::Nothing => len.min(self.medium().len()),
            Behind::Unknown => self.medium().len(),
        }
    }

    /// Returns who owns which parts of `extents`, as far as that can be told.
    fn owners(&self, extents: &[Extent], monitor: &dyn Monitor) -> Vec<Owner> {
        let _ = monitor;
        let summary = self.summary();
        let whole = Extent::between(0, summary.len);
        Owner::of_parts(extents, whole, Structure::Filesystem).collect()
    }

    /// Returns a view of its files; `None` where they can't be read.
    fn files(&self) -> Option<Box<dyn Files + '_>> {
        None
    }
}

/// The files of a filesystem, as the next mount would show them.
pub trait Files {
    /// Returns the content of the file at `path`, at most `bytes_max` of it; `None` where there is
    /// no such file.
    ///
    /// # Errors
    /// Of the driver's crate.
    fn read_file(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DriverError>;
}

/// A part of a filesystem, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The part, in bytes of the filesystem.
    pub extent: Extent,
    /// The path of the file, directory or link that it belongs to.
    pub path: Option<String>,
    /// What it is, where it is no file.
    pub structure: Option<Structure>,
}

impl Owner {
    /// Returns the owner of what is no named file's.
    #[must_use]
    pub const fn of_structure(extent: Extent, structure: Structure) -> Self {
        Self {
            extent,
            path: None,
            structure: Some(structure),
        }
    }

    /// Returns the parts of `extents` that lie in `place`, which belongs to `structure`.
    pub fn of_parts(
        extents: &[Extent],
        place: Extent,
        structure: Structure,
    ) -> impl Iterator<Item = Self> {
        let parts = extents.iter().map(move |extent| extent.intersection(place));
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(move |part| Self::of_structure(part, structure))
    }
}

#[cfg(test)]
mod tests {
    use super::Filesystem;
    use crate::filesystem::driver::Driver;
    use crate::filesystem::error::DriverError;
    use crate::filesystem::streaming::Streaming;
    use crate::filesystem::summary::FsSummary;
    use crate::{Extent, MemoryMedium, ReadAt, Silent, State, Structure, WriteAt};

    /// A driver that knows no more than a length: its first byte, in units of 4 KiB.
    #[derive(Debug)]
    struct Least;

    struct LeastFs<'m>(&'m dyn ReadAt);

    impl Driver for Least {
        fn name(&self) -> &'static str {
            "least"
        }

        fn probe(&self, medium: &dyn ReadAt) -> bool {
            medium.read_vec(0, 1).is_ok_and(|bytes| bytes[0] > 0)
        }

        fn open<'m>(
            &self,
            medium: &'m dyn ReadAt,
        ) -> Result<Box<dyn Filesystem + 'm>, DriverError> {
            Ok(Box::new(LeastFs(medium)))
        }
    }

    impl Filesystem for LeastFs<'_> {
        fn medium(&self) -> &dyn ReadAt {
            self.0
        }

        fn summary(&self) -> FsSummary {
            let first = self.0.read_vec(0, 1).unwrap_or_default();
            FsSummary {
                len: first.first().map_or(0, |&count| u64::from(count) * 4096),
                ..FsSummary::default()
            }
        }
    }

    #[test]
    fn a_driver_that_knows_a_length_alone_calls_nothing_free() {
        let medium = MemoryMedium::new(16 * 4096);
        medium.write_at(0, &[3]).unwrap();
        medium.write_at(15 * 4096, b"more").unwrap();
        assert!(Least.probe(&medium));
        assert_eq!(Least.streaming(&medium), Streaming::Head);
        assert_eq!(Least.stated_len(&medium), None);
        assert!(Least.streaming_map(&medium).is_err());
        let fs = Least.open(&medium).unwrap();
        let map = fs.allocation_map(&Silent).unwrap();
        let bytes = [State::Used, State::Zero, State::Free].map(|state| map.bytes(state));
        assert_eq!(bytes, [4 * 4096, 12 * 4096, 0]);
        assert_eq!(fs.content_len(), 16 * 4096);
        let whole = [Extent::between(0, 16 * 4096)];
        let owners = fs.owners(&whole, &Silent);
        assert_eq!(owners.len(), 1);
        assert_eq!(owners[0].extent, Extent::between(0, 3 * 4096));
        assert_eq!(owners[0].structure, Some(Structure::Filesystem));
        assert!(fs.files().is_none() && fs.troubles().is_empty());
    }
}
