//! The filesystems that are understood, in one table. A new one is a crate and a line here.

use cardkeep_block::{Driver, ReadAt};

use crate::swap::SwapDriver;

/// In the order in which they are asked: the first whose probe holds is the one.
static DRIVERS: [&dyn Driver; 5] = [
    &cardkeep_ext4::ExtDriver,
    &cardkeep_fat::FatDriver,
    &SwapDriver,
    &cardkeep_squashfs::SquashfsDriver,
    &cardkeep_erofs::ErofsDriver,
];

/// Returns the driver of the filesystem that `medium` begins with.
pub(crate) fn at_beginning(medium: &dyn ReadAt) -> Option<&'static dyn Driver> {
    let mut drivers = DRIVERS.iter().copied();
    drivers.find(|driver| driver.probe(medium))
}

/// Returns the driver of the filesystem on `medium` whose beginning can't be read.
pub(crate) fn by_remains(medium: &dyn ReadAt) -> Option<&'static dyn Driver> {
    let mut drivers = DRIVERS.iter().copied();
    drivers.find(|driver| driver.probe_remains(medium))
}
