//! The driver of ext2, ext3 and ext4.

use cardkeep_block::{
    AllocationMap, Behind, Driver, DriverError, Extent, Files, Filesystem, FsSummary, Monitor,
    Owner, ReadAt, Resizer, Run, Step, Streaming, StreamingMap, Structure,
};

use crate::SUPERBLOCK_BYTES;
use crate::copies::probe_copies;
use crate::filesystem::{Ext4, Info};
use crate::owner::OwnerKind;
use crate::passing::PassingGroups;
use crate::replay::Replayed;
use crate::superblock::{SUPERBLOCK_OFFSET, Superblock, probe};

/// What may be kept of what lies between the descriptors and the journal's inode.
const JOURNAL_NEAR_BYTES_MAX: u64 = 1 << 20;
/// Steps with lower numbers are bitmaps, by their group.
const JOURNAL_INODE_STEP: u64 = u64::MAX - 1;
const JOURNAL_STEP: u64 = u64::MAX;

/// The driver of ext2, ext3 and ext4.
#[derive(Clone, Copy, Debug)]
pub struct ExtDriver;

impl Driver for ExtDriver {
    fn name(&self) -> &'static str {
        "ext"
    }

    fn probe(&self, medium: &dyn ReadAt) -> bool {
        probe(&medium)
    }

    fn probe_remains(&self, medium: &dyn ReadAt) -> bool {
        probe_copies(&medium)
    }

    fn stated_len(&self, medium: &dyn ReadAt) -> Option<u64> {
        let bytes = medium.read_vec(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES).ok()?;
        let superblock = Superblock::parse(&bytes).ok()?;
        superblock
            .block_count
            .checked_mul(superblock.block_bytes.into())
    }

    fn whole_len(&self, open: &dyn ReadAt) -> Option<u64> {
        // What can't be opened is copied as it is.
        Ext4::load(open).ok().map(|fs| fs.info().len)
    }

    fn open<'m>(&self, medium: &'m dyn ReadAt) -> Result<Box<dyn Filesystem + 'm>, DriverError> {
        Ok(Box::new(Ext4::load(medium)?))
    }

    fn streaming(&self, head: &dyn ReadAt) -> Streaming {
        // What can't be read in passing is copied whole, whatever the reason.
        PassingGroups::head_bytes(&head).map_or(Streaming::Never, Streaming::Steps)
    }

    fn streaming_map(&self, head: &dyn ReadAt) -> Result<Box<dyn StreamingMap>, DriverError> {
        Ok(Box::new(PassingGroups::load(&head)?))
    }

    fn holds_systems(&self) -> bool {
        true
    }

    fn resizer(&self) -> Option<Resizer> {
        Some(Resizer::Ext)
    }
}

impl Filesystem for Ext4<&dyn ReadAt> {
    fn medium(&self) -> &dyn ReadAt {
        self.medium
    }

    fn summary(&self) -> FsSummary {
        summary(self.info())
    }

    fn troubles(&self) -> Vec<String> {
        let copy = "its superblock can't be read; using a copy";
        let is_from_copy = self.is_from_copy();
        is_from_copy.then(|| copy.to_owned()).into_iter().collect()
    }

    fn allocation_map(&self, monitor: &dyn Monitor) -> Result<AllocationMap, DriverError> {
        Ok(Self::allocation_map(self, monitor)?)
    }

    fn owners(&self, extents: &[Extent], monitor: &dyn Monitor) -> Vec<Owner> {
        // Names are looked up as they will be once the journal is replayed.
        let owners = self
            .replayed()
            .and_then(|fs| fs.owners(extents, monitor))
            .unwrap_or_default();
        owners.into_iter().map(owner).collect()
    }

    fn files(&self) -> Option<Box<dyn Files + '_>> {
        // Of what can't be replayed nobody knows which names are true.
        let replayed = self.replayed().ok()?;
        Some(Box::new(replayed))
    }
}

impl<M: ReadAt> Files for Ext4<Replayed<M>> {
    fn read_file(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DriverError> {
        Ok(Self::read_file(self, path, bytes_max)?)
    }
}

impl StreamingMap for PassingGroups {
    fn summary(&self) -> FsSummary {
        summary(self.info())
    }

    fn first_steps(&self, passed: u64) -> Vec<Step> {
        let inode = self.journal_inode().map(|place| {
            // With clusters, the journal may begin in what is left of those that hold the bitmaps.
            let near = Extent::between(passed.min(place.start()), place.end());
            let is_near = near.len() <= JOURNAL_NEAR_BYTES_MAX;
            let extent = if is_near { near } else { place };
            let number = JOURNAL_INODE_STEP;
            Step { extent, number }
        });
        let bitmaps = self.bitmaps().map(|(group, extent)| {
            let number = group as u64;
            Step { extent, number }
        });
        inode.into_iter().chain(bitmaps).collect()
    }

    fn learn(&mut self, number: u64, medium: &dyn ReadAt) -> Result<Vec<Step>, DriverError> {
        let next = match number {
            JOURNAL_STEP => {
                self.learn_journal(&medium)?;
                None
            }
            JOURNAL_INODE_STEP => self.learn_journal_inode(&medium),
            group => {
                self.learn_bitmap(group as usize, &medium);
                None
            }
        };
        let step = next.map(|extent| {
            let number = JOURNAL_STEP;
            Step { extent, number }
        });
        Ok(step.into_iter().collect())
    }

    fn miss(&mut self, number: u64) {
        if number == JOURNAL_STEP {
            // It has passed already: what it said can't be known.
            self.distrust_journal();
        }
    }

    fn runs(&self, medium: &dyn ReadAt, window: Extent) -> Vec<Run> {
        Self::runs(self, &medium, window)
    }
}

fn summary(info: Info) -> FsSummary {
    FsSummary {
        name: info.flavour.to_string(),
        label: info.label,
        uuid: Some(info.uuid),
        is_clean: info.is_clean,
        block_bytes: u64::from(info.block_bytes),
        len: info.len,
        free_bytes: info.free_bytes,
        behind: Behind::Nothing,
        ..FsSummary::default()
    }
}

fn owner(own: crate::Owner) -> Owner {
    match own.kind {
        OwnerKind::Path(path) => Owner {
            extent: own.extent,
            path: Some(path),
            structure: None,
        },
        OwnerKind::Metadata(structure) => Owner::of_structure(own.extent, structure),
        OwnerKind::Inode(number) => {
            Owner::of_structure(own.extent, Structure::NamelessInode(number.into()))
        }
    }
}
