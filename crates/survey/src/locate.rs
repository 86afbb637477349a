//! From bytes of a medium to names that mean something: partition, file, or what else lies there.

use cardkeep_block::{Cached, Extent, Monitor, ReadAt, Slice, Structure};

use crate::content::Content;
use crate::medium::{Partition, Survey};

/// What a range of bytes belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes, on the medium.
    pub extent: Extent,
    /// The partition's number; `None` outside all partitions, 0 on a medium without them.
    pub partition: Option<u32>,
    /// A path within the partition.
    pub path: Option<String>,
    /// What it is, where it is no file.
    pub what: Option<Structure>,
}

impl Place {
    /// Returns the name of what the bytes belong to: the path, or else the structure; `None` where
    /// neither is known.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let what = || self.what.map(|what| what.to_string());
        self.path.clone().or_else(what)
    }

    /// Returns what it means that the bytes are lost, in words.
    #[must_use]
    pub fn loss(&self) -> &'static str {
        match (self.what, &self.path, self.partition) {
            (Some(what), ..) => what.loss(),
            (None, Some(_), _) => "a part of it is zeros; if it is a folder, names in it are gone",
            (None, None, Some(_)) => "its content is unknown",
            (None, None, None) => "the boot loader of some boards lies there",
        }
    }
}

/// Finds out what `extents` belong to, in address order. Each byte of them is in some place;
/// where a filesystem can't tell, the place is the partition alone.
pub fn locate(
    medium: &dyn ReadAt,
    survey: &Survey,
    extents: &[Extent],
    monitor: &dyn Monitor,
) -> Vec<Place> {
    let cached = Cached::new(medium);
    let mut places = Vec::new();
    for partition in &survey.partitions {
        let inside: Vec<Extent> = extents
            .iter()
            .map(|extent| extent.intersection(partition.extent))
            .filter(|extent| !extent.is_empty())
            .collect();
        if !inside.is_empty() {
            let own = owners(&cached, partition, &inside, monitor);
            places.extend(filled(partition.number, &inside, own));
        }
    }
    for gap in &survey.gaps {
        let inside = extents.iter().map(|extent| extent.intersection(gap.extent));
        places.extend(
            inside
                .filter(|extent| !extent.is_empty())
                .map(|extent| Place {
                    extent,
                    partition: None,
                    path: None,
                    what: Some(Structure::OutsidePartitions),
                }),
        );
    }
    places.sort_by_key(|place| place.extent);
    places
}

/// Asks a partition's filesystem; one that fails has nothing to say.
fn owners(
    medium: &dyn ReadAt,
    partition: &Partition,
    inside: &[Extent],
    monitor: &dyn Monitor,
) -> Vec<Place> {
    let start = partition.extent.start();
    let slice = Slice::new(medium, partition.extent);
    let wanted: Vec<Extent> = inside
        .iter()
        .map(|extent| Extent::between(extent.start() - start, extent.end() - start))
        .collect();
    let Content::Known { driver, .. } = partition.content else {
        return Vec::new();
    };
    let Ok(fs) = driver.open(&slice) else {
        return Vec::new();
    };
    let owners = fs.owners(&wanted, monitor).into_iter();
    owners
        .map(|owner| Place {
            extent: Extent::between(owner.extent.start() + start, owner.extent.end() + start),
            partition: Some(partition.number),
            path: owner.path,
            what: owner.structure,
        })
        .collect()
}

/// Adds places for the bytes that no owner claims.
fn filled(number: u32, inside: &[Extent], mut owned: Vec<Place>) -> Vec<Place> {
    owned.sort_by_key(|place| place.extent);
    // Places may overlap one another: how far those up to each one reach tells where to begin to look.
    let reach: Vec<u64> = owned
        .iter()
        .scan(0, |reach, place| {
            *reach = place.extent.end().max(*reach);
            Some(*reach)
        })
        .collect();
    let mut rest = Vec::new();
    for extent in inside {
        let mut end = extent.start();
        let first = reach.partition_point(|&reach| reach <= extent.start());
        let near = owned[first..].iter();
        let near = near.take_while(|place| place.extent.start() < extent.end());
        for place in near.filter(|place| place.extent.overlaps(*extent)) {
            if place.extent.start() > end {
                rest.push(Extent::between(end, place.extent.start()));
            }
            end = end.max(place.extent.end());
        }
        if end < extent.end() {
            rest.push(Extent::between(end, extent.end()));
        }
    }
    owned.extend(rest.into_iter().map(|extent| Place {
        extent,
        partition: Some(number),
        path: None,
        what: None,
    }));
    owned
}
