//! Platforms that cardkeep does not know the disks of yet: it works on image files there, and
//! says so about devices.

pub(crate) mod opening;
pub(crate) mod writing;

use std::path::Path;

use cardkeep_block::{BlockError, Operation};

use crate::device::Device;
use crate::machine::{Machine, UnmountError};
use crate::transfer::system_error;

/// A machine whose disks are not known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnknownMachine;

const WHY: &str = "cards and disks are not supported on this platform yet; image files are";

impl Machine for UnknownMachine {
    fn devices(&self) -> Result<Vec<Device>, BlockError> {
        let unsupported = std::io::Error::new(std::io::ErrorKind::Unsupported, WHY);
        Err(system_error(Operation::Open, unsupported))
    }

    fn device_of_path(&self, _: &Path) -> Result<Option<Device>, BlockError> {
        Ok(None)
    }

    fn device_holding(&self, _: &Path) -> Result<Option<String>, BlockError> {
        Ok(None)
    }

    fn unmount(&self, device: &Device) -> Result<(), UnmountError> {
        Err(UnmountError::new(
            &device.path,
            WHY,
            "write to an image file",
        ))
    }
}
