//! Directories: records of 32 bytes, in the order in which they were made.
//!
//! ```text
//!   0x00 name   0x0b attributes   0x14 first cluster, high   0x1a low   0x1c size in bytes
//! ```

use std::ops::ControlFlow;

use cardkeep_block::{Extent, ReadAt, le_u16, le_u32};

use crate::Error;
use crate::chain::{Chain, ChainBounds};
use crate::entry_record::{ENTRY_BYTES, EntryRecord};
use crate::geometry::Geometry;
use crate::kind::FatKind;
use crate::name::{LongName, short_name};

/// No directory may be longer (fatgen103; `FAT_MAX_DIR_SIZE` of Linux): this ends loops.
pub(crate) const DIRECTORY_BYTES_MAX: u32 = 65_536 * ENTRY_BYTES as u32;
/// How much of a directory is read at once.
const PIECE_BYTES: u32 = 64 * 1024;

const ATTR_VOLUME_ID: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_LONG_NAME: u8 = 0x0f;
const ATTR_MASK: u8 = 0x3f;

/// What an entry of a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Label,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// The long name where there is one, else the short one; a label without any case rules.
    pub(crate) name: String,
    pub(crate) short_name: String,
    /// 0 for an empty file.
    pub(crate) first_cluster: u32,
    pub(crate) size: u32,
}

impl Entry {
    fn parse(bytes: &EntryRecord, long: Option<String>, kind: FatKind) -> Self {
        let attributes = bytes[0x0b]; // DIR_Attr
        let high = match kind {
            FatKind::Fat32 => u32::from(le_u16(bytes, 0x14)) << 16, // DIR_FstClusHI
            FatKind::Fat12 | FatKind::Fat16 => 0,
        };
        let entry_kind = match attributes {
            a if a & ATTR_VOLUME_ID != 0 => EntryKind::Label,
            a if a & ATTR_DIRECTORY != 0 => EntryKind::Directory,
            _ => EntryKind::File,
        };
        let short_name = match entry_kind {
            EntryKind::Label => crate::name::decode(&bytes[..11]),
            _ => short_name(bytes),
        };
        Self {
            kind: entry_kind,
            name: long.unwrap_or_else(|| short_name.clone()),
            short_name,
            first_cluster: high | u32::from(le_u16(bytes, 0x1a)), // DIR_FstClusLO
            size: le_u32(bytes, 0x1c),                            // DIR_FileSize
        }
    }
}

/// Where a directory's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The fixed root directory of FAT12 and FAT16.
    Fixed(Extent),
    /// A chain from this cluster.
    Chain(u32),
}

impl Geometry {
    pub(crate) fn root_place(&self) -> Place {
        match self.root_cluster {
            Some(cluster) => Place::Chain(cluster),
            None => Place::Fixed(self.root),
        }
    }

    /// The clusters of the longest directory.
    pub(crate) const fn directory_clusters_max(&self) -> u32 {
        DIRECTORY_BYTES_MAX.div_ceil(self.cluster_bytes)
    }
}

/// Shows `visit` each entry of a directory, `.` and `..` left out, until it breaks.
pub(crate) fn each_entry<M: ReadAt>(
    medium: &M,
    geometry: &Geometry,
    place: Place,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut records = Records {
        kind: geometry.kind,
        long: LongName::default(),
        visit,
    };
    match place {
        Place::Fixed(extent) => {
            let mut start = extent.start();
            while start < extent.end() {
                let end = extent.end().min(start + u64::from(PIECE_BYTES));
                if records
                    .read(medium, Extent::between(start, end))?
                    .is_break()
                {
                    return Ok(());
                }
                start = end;
            }
        }
        Place::Chain(first) => {
            let bounds = ChainBounds {
                clusters_max: geometry.directory_clusters_max(),
                run_bytes_max: PIECE_BYTES,
            };
            for run in Chain::new(medium, geometry, first, bounds) {
                let run = run?;
                let extent = geometry.clusters(run.first, run.count);
                if records.read(medium, extent)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The records of one directory as they are read, piece by piece.
struct Records<'a> {
    kind: FatKind,
    long: LongName,
    visit: &'a mut dyn FnMut(Entry) -> ControlFlow<()>,
}

impl Records<'_> {
    /// Reads a piece of at most `PIECE_BYTES` or one cluster.
    fn read(&mut self, medium: &impl ReadAt, piece: Extent) -> Result<ControlFlow<()>, Error> {
        let bytes = medium
            .read_vec(piece.start(), piece.len() as usize)
            .map_err(Error::Io)?;
        let (records, _) = bytes.as_chunks::<ENTRY_BYTES>();
        Ok(records.iter().try_for_each(|record| self.see(record)))
    }

    fn see(&mut self, record: &EntryRecord) -> ControlFlow<()> {
        match record[0] {
            0x00 => return ControlFlow::Break(()),
            // Deleted.
            0xe5 => {
                self.long = LongName::default();
                return ControlFlow::Continue(());
            }
            _ => {}
        }
        if record[0x0b] & ATTR_MASK == ATTR_LONG_NAME {
            self.long.add(record);
            return ControlFlow::Continue(());
        }
        let long = self.long.take(record);
        if record[0] == b'.' {
            return ControlFlow::Continue(());
        }
        (self.visit)(Entry::parse(record, long, self.kind))
    }
}
