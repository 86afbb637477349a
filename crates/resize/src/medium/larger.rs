//! A medium whose last filesystem is made larger, to fill the medium or a part of it.

use std::sync::Arc;

use cardkeep_block::{
    AllocationMap, Cached, Extent, MapBuilder, Monitor, Patch, Patches, ReadAt, State,
};
use cardkeep_ext4::Ext4;
use cardkeep_ptable::Resize;

use super::declined::Declined;
use super::last::Last;
use super::view::ResizedMedium;
use crate::grow::{self, Grown};

/// What makes the last filesystem of a medium larger. The partition table is left to
/// [`cardkeep_ptable::fitted`], with [`Larger::resize`].
#[derive(Clone, Debug)]
pub struct Larger {
    /// The number of the partition; 0 where there is no partition table.
    pub number: u32,
    /// Where the partition lies once it has grown.
    pub extent: Extent,
    /// How many bytes its filesystem had and will have.
    pub fs_bytes: (u64, u64),
    /// What changes in the filesystem, by places on the medium.
    pub patches: Vec<Patch>,
    /// The medium to read in place of the old one, and the map of the partition on it, where the
    /// filesystem had to be recovered first.
    pub recovered: Option<(Arc<ResizedMedium>, AllocationMap)>,
    /// How long the partition was.
    old_len: u64,
    grown: Grown,
}

impl Larger {
    /// Returns what the partition table has to change; `None` where there is none.
    #[must_use]
    pub fn resize(&self) -> Option<Resize> {
        (self.number > 0).then_some(Resize {
            number: self.number,
            len: self.extent.len(),
        })
    }

    /// Returns the map of the medium, which ends with the partition; `old` is the map from before.
    #[must_use]
    pub fn map(&self, old: &AllocationMap) -> AllocationMap {
        let start = self.extent.start();
        let mut builder = MapBuilder::new(self.extent.end());
        for run in old.runs_in(Extent::between(0, start.min(old.len()))) {
            builder.push_to(run.extent.end(), run.state);
        }
        let partition = match &self.recovered {
            Some((_, map)) => map.clone(),
            None => self.of_partition(old),
        };
        let grown = self.grown.map(&partition, self.extent.len());
        builder.finish(State::Free).with_inner(start, &grown)
    }

    /// Returns the part of `old` that is the partition's.
    fn of_partition(&self, old: &AllocationMap) -> AllocationMap {
        let start = self.extent.start();
        let mut builder = MapBuilder::new(self.old_len);
        let end = start.saturating_add(self.old_len).min(old.len());
        for run in old.runs_in(Extent::between(start.min(end), end)) {
            builder.push_to(run.extent.end() - start, run.state);
        }
        builder.finish(State::Free)
    }
}

/// Plans how the last filesystem of `medium` comes to fill a medium of `len` bytes; `None` where it
/// does already. A filesystem that was not unmounted is recovered on the way. Reads the partition
/// table, and of the filesystem what [`grow::plan`] does.
///
/// # Errors
/// [`Declined`] where that can't be done safely; the medium can be copied as it is then.
pub fn larger(
    medium: &Arc<dyn ReadAt>,
    sector_bytes: u32,
    len: u64,
    monitor: &dyn Monitor,
) -> Result<Option<Larger>, Declined> {
    let last = Last::of(medium, sector_bytes)?;
    // A partition that ends behind what its table can say stays as it is.
    let room = last.room(len).max(last.extent.len());
    let at_rest = last.at_rest(medium).map_err(grow::Declined::from)?;
    let fs = Ext4::load(Cached::new(&at_rest)).map_err(grow::Declined::from)?;
    let grown = grow::plan(&Cached::new(&at_rest), room)?;
    if grown.len == grown.old_len && room == last.extent.len() {
        return Ok(None);
    }
    let start = last.extent.start();
    let patches = grown.patches.iter();
    let patches = patches.map(|patch| Patch::new(start + patch.offset, patch.bytes.clone()));
    let own = Larger {
        number: last.number,
        extent: Extent::between(start, start.saturating_add(room)),
        fs_bytes: (grown.old_len, grown.len),
        patches: patches.collect(),
        recovered: None,
        old_len: last.extent.len(),
        grown,
    };
    let is_clean = last.is_clean(medium)?;
    let map = match is_clean {
        true => return Ok(Some(own)),
        false => fs.allocation_map(monitor).map_err(grow::Declined::from)?,
    };
    drop(fs);
    let view = ResizedMedium::new(
        Arc::clone(medium),
        (start, Box::new(at_rest)),
        Patches::default(),
        medium.len(),
    );
    let recovered = Some((Arc::new(view), map));
    Ok(Some(Larger { recovered, ..own }))
}

impl Last {
    /// Tells whether nothing waits in the filesystem's journal.
    fn is_clean(&self, medium: &Arc<dyn ReadAt>) -> Result<bool, Declined> {
        let fs = Ext4::load(self.slice(medium)).map_err(grow::Declined::from)?;
        Ok(!fs.superblock().needs_recovery())
    }
}
