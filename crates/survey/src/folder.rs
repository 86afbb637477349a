//! Where the names of files lie: what changes whenever one of them does.

use cardkeep_block::{Cached, Extent, ReadAt, Slice};

use crate::content::Content;
use crate::medium::{Partition, Survey};

/// Returns where the folders of those filesystems lie, in address order, whose kernel drivers leave no
/// mark at the beginning when a file is replaced by one of its size: those of FAT. What can't be read
/// is left out.
pub fn silent_places(medium: &dyn ReadAt, survey: &Survey) -> Vec<Extent> {
    let cached = Cached::new(medium);
    let partitions = survey.partitions.iter();
    partitions
        .flat_map(|partition| places_in(&cached, partition))
        .collect()
}

fn places_in(medium: &dyn ReadAt, partition: &Partition) -> Vec<Extent> {
    let Content::Known { driver, .. } = partition.content else {
        return Vec::new();
    };
    let start = partition.extent.start();
    let places = driver.silent_places(&Slice::new(medium, partition.extent));
    let places = places.into_iter();
    places
        .map(|place| Extent::between(start + place.start(), start + place.end()))
        .collect()
}
