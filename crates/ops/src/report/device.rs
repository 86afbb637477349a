//! Devices, as the list and all plans show them.

use cardkeep_block::path_text;
use cardkeep_device::{Device, Mount, Verdict};
use serde::Serialize;

use super::contents::Contents;
use crate::list::Listed;

/// A whole disk, card or stick.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceFields {
    path: String,
    size_bytes: u64,
    sector_bytes: u32,
    vendor: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    transport: String,
    removable: bool,
    read_only: bool,
    media_present: bool,
    mounts: Vec<MountFields>,
    uses: Vec<String>,
    notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct MountFields {
    source: String,
    target: String,
    fs: String,
    read_only: bool,
}

impl From<&Device> for DeviceFields {
    fn from(device: &Device) -> Self {
        Self {
            path: path_text(&device.path).to_string(),
            size_bytes: device.size_bytes,
            sector_bytes: device.sector_bytes,
            vendor: device.vendor.clone(),
            model: device.model.clone(),
            serial: device.serial.clone(),
            transport: device.transport.to_string(),
            removable: device.removable,
            read_only: device.read_only,
            media_present: device.media_present,
            mounts: device.mounts.iter().map(MountFields::from).collect(),
            uses: device.uses.iter().map(ToString::to_string).collect(),
            notes: device.notes.clone(),
        }
    }
}

impl From<&Mount> for MountFields {
    fn from(mount: &Mount) -> Self {
        Self {
            source: mount.source.clone(),
            target: path_text(&mount.target).to_string(),
            fs: mount.fs_type.clone(),
            read_only: mount.read_only,
        }
    }
}

/// Returns why a device is not written, in words; nothing where it may be.
pub(super) fn guards(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Free => Vec::new(),
        Verdict::Guarded(guards) => guards.iter().map(ToString::to_string).collect(),
    }
}

/// The result of `list`.
#[derive(Clone, Debug, Serialize)]
pub struct ListedDevices {
    devices: Vec<ListedDevice>,
}

#[derive(Clone, Debug, Serialize)]
struct ListedDevice {
    #[serde(flatten)]
    device: DeviceFields,
    writable: bool,
    guards: Vec<String>,
    system: bool,
    unread: Option<String>,
    contents: Option<Contents>,
}

impl From<&[Listed]> for ListedDevices {
    fn from(listed: &[Listed]) -> Self {
        let devices = listed.iter().map(ListedDevice::from).collect();
        Self { devices }
    }
}

impl From<&Listed> for ListedDevice {
    fn from(listed: &Listed) -> Self {
        Self {
            device: (&listed.device).into(),
            writable: listed.verdict == Verdict::Free,
            guards: guards(&listed.verdict),
            system: listed.is_system(),
            unread: listed.unread.clone(),
            contents: listed.survey.as_ref().map(Contents::from),
        }
    }
}
