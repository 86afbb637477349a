//! Where the names of files lie: what changes whenever one of them does.

use cardkeep_block::{Cached, Extent, ReadAt, Slice};
use cardkeep_fat::{FatFs, OwnerKind};

use crate::content::Content;
use crate::medium::{Partition, Survey};

/// Returns where the folders of FAT filesystems lie, in address order. Their drivers leave no mark at the
/// beginning of the filesystem when a file is replaced by one of its size; other filesystems' do. What
/// can't be read is left out.
pub fn fat_folders(medium: &dyn ReadAt, survey: &Survey) -> Vec<Extent> {
    let cached = Cached::new(medium);
    let partitions = survey.partitions.iter();
    partitions
        .filter(|partition| matches!(partition.content, Content::Fat(_)))
        .flat_map(|partition| folders_in(&cached, partition))
        .collect()
}

fn folders_in(medium: &dyn ReadAt, partition: &Partition) -> Vec<Extent> {
    let start = partition.extent.start();
    let slice = Slice::new(medium, partition.extent);
    let whole = Extent::between(0, partition.extent.len());
    let owners = FatFs::load(&slice).and_then(|fs| fs.owners(&[whole]));
    let owners = owners.unwrap_or_default().into_iter();
    owners
        .filter(|owner| matches!(owner.what, OwnerKind::Directory(_)))
        .map(|owner| Extent::between(start + owner.extent.start(), start + owner.extent.end()))
        .collect()
}
