//! What a partition (or a medium without partitions) holds, and its allocation map.

use std::borrow::Cow;

use cardkeep_block::{
    AllocationMap, Behind, Driver, FsSummary, Monitor, ReadAt, Resizer, State, Trouble, with_causes,
};

use crate::identity::{Identity, identity_of, shown};
use crate::{drivers, signature};

/// What a partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A filesystem that is understood.
    Known {
        /// Who understands it.
        driver: &'static dyn Driver,
        /// What there is to say about it.
        summary: FsSummary,
    },
    /// Something that is copied whole, with its name where that is known.
    Opaque(Option<Cow<'static, str>>),
}

/// What was learnt of a partition.
pub(crate) struct Learnt {
    pub(crate) content: Content,
    pub(crate) map: AllocationMap,
    /// Where its content ends, in bytes from its beginning on.
    pub(crate) content_len: u64,
    pub(crate) identity: Identity,
}

impl Content {
    /// Returns what `driver` says of a filesystem. Texts from the medium are cut to what fits a
    /// terminal.
    pub(crate) fn known(driver: &'static dyn Driver, summary: FsSummary) -> Self {
        let summary = FsSummary {
            label: summary.label.as_deref().map(shown),
            ..summary
        };
        Self::Known { driver, summary }
    }

    /// Returns the filesystem, where there is one that is understood.
    #[must_use]
    pub const fn filesystem(&self) -> Option<&FsSummary> {
        match self {
            Self::Known { summary, .. } => Some(summary),
            Self::Opaque(_) => None,
        }
    }

    /// As [`Content::filesystem`], to be changed with the filesystem.
    pub const fn filesystem_mut(&mut self) -> Option<&mut FsSummary> {
        match self {
            Self::Known { summary, .. } => Some(summary),
            Self::Opaque(_) => None,
        }
    }

    /// Returns the filesystem that `resizer` can make smaller and larger, where there is one.
    #[must_use]
    pub fn resizable_by(&self, resizer: Resizer) -> Option<&FsSummary> {
        match self {
            Self::Known { driver, summary } if driver.resizer() == Some(resizer) => Some(summary),
            _ => None,
        }
    }

    /// Returns how much of a partition of `partition_bytes` it needs, in bytes: as much as the
    /// filesystem has, which may be more than the partition; all of the partition where something
    /// else may lie behind it.
    #[must_use]
    pub fn needed_len(&self, partition_bytes: u64) -> u64 {
        match self.filesystem() {
            Some(summary) if summary.behind == Behind::Nothing => summary.len,
            Some(summary) => summary.len.max(partition_bytes),
            None => partition_bytes,
        }
    }

    /// Returns a name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known { summary, .. } => &summary.name,
            Self::Opaque(name) => name.as_deref().unwrap_or("unknown"),
        }
    }
}

/// Learns what `medium`, called `name` in messages, holds.
pub(crate) fn learn(medium: &dyn ReadAt, name: &str, monitor: &dyn Monitor) -> Learnt {
    if let Some(driver) = drivers::at_beginning(medium) {
        return learn_with(driver, medium, name, monitor);
    }
    let other = signature::find(medium);
    if other.is_none()
        && let Some(driver) = drivers::by_remains(medium)
    {
        return learn_with(driver, medium, name, monitor);
    }
    let own_len = other.and_then(|named| (named.content_len)(medium));
    Learnt {
        content_len: own_len.unwrap_or(medium.len()),
        ..Learnt::opaque(medium, other.map(|named| named.name.into()))
    }
}

impl Learnt {
    fn opaque(medium: &dyn ReadAt, name: Option<Cow<'static, str>>) -> Self {
        Self {
            content: Content::Opaque(name),
            map: AllocationMap::all(medium.len(), State::Used),
            content_len: medium.len(),
            identity: Identity::default(),
        }
    }
}

fn learn_with(
    driver: &'static dyn Driver,
    medium: &dyn ReadAt,
    name: &str,
    monitor: &dyn Monitor,
) -> Learnt {
    let fs = match driver.open(medium) {
        Ok(fs) => fs,
        Err(error) => {
            fall_back(&*error, name, monitor);
            let damaged = format!("damaged {}", driver.name());
            return Learnt::opaque(medium, Some(damaged.into()));
        }
    };
    for trouble in fs.troubles() {
        monitor.trouble(Trouble::new(format!("{name}: {trouble}")));
    }
    let map = fs.allocation_map(monitor).unwrap_or_else(|error| {
        fall_back(&*error, name, monitor);
        AllocationMap::all(medium.len(), State::Used)
    });
    Learnt {
        content: Content::known(driver, fs.summary()),
        map,
        content_len: fs.content_len(),
        identity: identity_of(driver, &*fs),
    }
}

/// Tells that nothing of a partition can be proven free.
fn fall_back(error: &dyn std::error::Error, name: &str, monitor: &dyn Monitor) {
    let message = format!("{name}: {}; all of it is copied", with_causes(error));
    monitor.trouble(Trouble::new(message));
}
