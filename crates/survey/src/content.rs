//! What a partition (or a medium without partitions) holds, and its allocation map.

use cardkeep_block::{AllocationMap, Monitor, ReadAt, State, Trouble};
use cardkeep_ext4::Ext4;
use cardkeep_fat::FatFs;

use crate::identity::{Identity, shown};
use crate::signature;
use crate::swap::Swap;

/// What a partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// An ext2, ext3 or ext4 filesystem.
    Ext(FsSummary),
    /// A FAT filesystem.
    Fat(FsSummary),
    /// A swap area.
    Swap(FsSummary),
    /// Something that is copied whole, with its name where that is known.
    Opaque(Option<&'static str>),
}

/// What there is to say about any filesystem. Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsSummary {
    /// Its name in lower case: `ext4`, `fat32`.
    pub name: String,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID or volume id, as `blkid` prints it.
    pub uuid: Option<String>,
    /// Whether it was unmounted properly.
    pub is_clean: bool,
    /// The size of a block or cluster.
    pub block_bytes: u64,
    /// The size of the filesystem.
    pub len: u64,
    /// What it says is free for files.
    pub free_bytes: u64,
}

/// What was learnt of a partition.
pub(crate) struct Learnt {
    pub(crate) content: Content,
    pub(crate) map: AllocationMap,
    pub(crate) identity: Identity,
}

impl Content {
    /// Returns the filesystem, where there is one that is understood.
    #[must_use]
    pub const fn filesystem(&self) -> Option<&FsSummary> {
        match self {
            Self::Ext(summary) | Self::Fat(summary) | Self::Swap(summary) => Some(summary),
            Self::Opaque(_) => None,
        }
    }

    /// Returns a name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Opaque(name) => name.unwrap_or("unknown"),
            Self::Ext(summary) | Self::Fat(summary) | Self::Swap(summary) => &summary.name,
        }
    }
}

/// Learns what `medium`, called `name` in messages, holds.
pub(crate) fn learn(medium: &dyn ReadAt, name: &str, monitor: &dyn Monitor) -> Learnt {
    if cardkeep_ext4::probe(&medium) {
        return learn_ext(medium, name, monitor);
    }
    if cardkeep_fat::probe(&medium).is_some() {
        return learn_fat(medium, name, monitor);
    }
    if let Some(swap) = Swap::probe(medium) {
        return learn_swap(medium, &swap);
    }
    let name_of_other = signature::name_of(medium);
    if name_of_other.is_none() && cardkeep_ext4::probe_copies(&medium) {
        return learn_ext(medium, name, monitor);
    }
    opaque(medium, name_of_other)
}

fn opaque(medium: &dyn ReadAt, name: Option<&'static str>) -> Learnt {
    Learnt {
        content: Content::Opaque(name),
        map: AllocationMap::all(medium.len(), State::Used),
        identity: Identity::default(),
    }
}

/// Tells that nothing of a partition can be proven free.
fn fall_back(error: &dyn std::error::Error, name: &str, monitor: &dyn Monitor) {
    let mut message = format!("{name}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    monitor.trouble(Trouble::new(format!("{message}; all of it is copied")));
}

fn learn_ext(medium: &dyn ReadAt, name: &str, monitor: &dyn Monitor) -> Learnt {
    let fs = match Ext4::load(medium) {
        Ok(fs) => fs,
        Err(error) => {
            fall_back(&error, name, monitor);
            return opaque(medium, Some("damaged ext"));
        }
    };
    if fs.is_from_copy() {
        let message = format!("{name}: its superblock can't be read; a copy of it serves");
        monitor.trouble(Trouble::new(message));
    }
    let map = fs.allocation_map(monitor).unwrap_or_else(|error| {
        fall_back(&error, name, monitor);
        AllocationMap::all(medium.len(), State::Used)
    });
    let info = fs.info();
    // The names inside are a courtesy: where they can't be read, the map still stands.
    let identity = fs
        .replayed()
        .map(|root| Identity::of_root(&root))
        .unwrap_or_default();
    Learnt {
        content: Content::Ext(ext_summary(info)),
        map,
        identity,
    }
}

/// Returns what is shown of an ext filesystem.
pub(crate) fn ext_summary(info: cardkeep_ext4::Info) -> FsSummary {
    FsSummary {
        name: info.flavour.to_string(),
        label: info.label.as_deref().map(shown),
        uuid: Some(info.uuid),
        is_clean: info.is_clean,
        block_bytes: u64::from(info.block_bytes),
        len: info.len,
        free_bytes: info.free_bytes,
    }
}

fn learn_fat(medium: &dyn ReadAt, name: &str, monitor: &dyn Monitor) -> Learnt {
    let loaded = FatFs::load(medium).and_then(|fs| {
        let map = fs.allocation_map(monitor)?;
        Ok((fs, map))
    });
    let (fs, map) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            fall_back(&error, name, monitor);
            return opaque(medium, Some("damaged FAT"));
        }
    };
    let info = fs.info();
    let cluster_bytes = u64::from(info.cluster_bytes);
    let summary = FsSummary {
        name: info.kind.to_string().to_lowercase(),
        label: info.label.as_deref().map(shown),
        uuid: info.volume_id.clone(),
        is_clean: !info.dirty,
        block_bytes: cluster_bytes,
        len: medium.len(),
        free_bytes: u64::from(info.free_clusters).saturating_mul(cluster_bytes),
    };
    Learnt {
        content: Content::Fat(summary),
        map,
        identity: Identity::default(),
    }
}

fn learn_swap(medium: &dyn ReadAt, swap: &Swap) -> Learnt {
    let map = swap.map(medium.len());
    let summary = FsSummary {
        name: "swap".to_owned(),
        label: swap.label.as_deref().map(shown),
        uuid: Some(swap.uuid.clone()),
        is_clean: !swap.is_hibernated(),
        block_bytes: 4096,
        len: medium.len(),
        free_bytes: map.bytes(State::Free),
    };
    Learnt {
        content: Content::Swap(summary),
        map,
        identity: Identity::default(),
    }
}
