//! What a disk is, from its folder in sysfs: size, maker, connection.

use std::collections::BTreeMap;
use std::path::Path;

use cardkeep_block::Extent;

use crate::device::{Device, DevicePartition, Transport};
use crate::source::SECTOR_BYTES_DEFAULT;

use super::loop_devices::Backing;
use super::paths::device_path;
use super::sysfs::{number, text};
use super::tree::Node;

/// The unit of `size` and `start` in sysfs, whatever the sector size: Documentation/ABI/stable/sysfs-block.
const SYSFS_UNIT_BYTES: u64 = 512;

/// Returns what `node` says about itself; mounts, uses and partitions are not its to know.
/// `udev` helps where the disk is silent.
pub(super) fn describe(node: &Node, udev: &BTreeMap<String, String>) -> Device {
    let folder = &node.folder;
    let mut notes = node.notes.clone();
    let units: Option<u64> = number(folder, "size", &mut notes);
    if units.is_none() {
        notes.push("its size is not known".to_owned());
    }
    let size_bytes = bytes(units.unwrap_or(0), "size", &mut notes);
    let transport = transport_of(node, udev);
    let usb = ancestor_with(folder, "idVendor");
    let is_removable = number::<u32>(folder, "removable", &mut notes) == Some(1);
    let card_kind = text(folder, "device/type");
    let known = |key: &str| udev.get(key).cloned();
    let sector_bytes = sector(folder, "queue/logical_block_size", &mut notes);
    let physical = sector(folder, "queue/physical_block_size", &mut notes);
    let sector_bytes = sector_bytes.unwrap_or(SECTOR_BYTES_DEFAULT);
    let physical_sector_bytes = physical.unwrap_or(sector_bytes);
    Device {
        path: device_path(&node.name),
        name: node.name.clone(),
        size_bytes,
        sector_bytes,
        physical_sector_bytes,
        vendor: vendor_of(node, usb).or_else(|| known("ID_VENDOR")),
        model: model_of(node, usb).or_else(|| known("ID_MODEL")),
        backing: node.backing.and_then(Backing::id),
        serial: serial_of(node, usb).or_else(|| known("ID_SERIAL_SHORT")),
        transport,
        // An SD slot says 0, and so do disks in a USB case: both come out all the same.
        removable: is_removable
            || transport == Transport::Usb
            || (transport == Transport::Mmc && card_kind.as_deref() == Some("SD")),
        read_only: number::<u32>(folder, "ro", &mut notes) == Some(1),
        media_present: size_bytes > 0,
        usb_speed_mbps: usb.and_then(usb_speed),
        card_id: text(folder, "device/cid").filter(|_| transport == Transport::Mmc),
        diskseq: number(folder, "diskseq", &mut notes),
        notes,
        ..Device::default()
    }
}

/// Tells whether a disk is a slot of the system without anything behind it, as loop and nbd have
/// in advance: no size, and nothing to put into it.
pub(super) fn is_vacant(node: &Node) -> bool {
    let is = |name, value| text(&node.folder, name).as_deref() == Some(value);
    is("size", "0") && is("removable", "0")
}

/// Returns the partition that `node` is, with notes on what it does not say.
pub(super) fn describe_partition(node: &Node, notes: &mut Vec<String>) -> DevicePartition {
    let mut own = node.notes.clone();
    let index = number(&node.folder, "partition", &mut own).unwrap_or(0);
    let start: Option<u64> = number(&node.folder, "start", &mut own);
    let units: Option<u64> = number(&node.folder, "size", &mut own);
    if start.is_none() || units.is_none() {
        own.push("its place is not known".to_owned());
    }
    let start = bytes(start.unwrap_or(0), "start", &mut own);
    let len = bytes(units.unwrap_or(0), "size", &mut own);
    notes.extend(own.into_iter().map(|note| format!("{}: {note}", node.name)));
    DevicePartition {
        path: device_path(&node.name),
        number: index,
        extent: Extent::new(start, len).unwrap_or(Extent::between(start, u64::MAX)),
        mounts: Vec::new(),
    }
}

/// Returns a sector size in bytes, where it is one.
fn sector(folder: &Path, name: &str, notes: &mut Vec<String>) -> Option<u32> {
    let bytes: u32 = number(folder, name, notes)?;
    let is_size = bytes.is_power_of_two() && bytes >= SECTOR_BYTES_DEFAULT;
    if !is_size {
        notes.push(format!("its {name} can't be true: {bytes}"));
    }
    is_size.then_some(bytes)
}

fn bytes(units: u64, name: &str, notes: &mut Vec<String>) -> u64 {
    units.checked_mul(SYSFS_UNIT_BYTES).unwrap_or_else(|| {
        notes.push(format!("its {name} can't be true: {units} sectors"));
        0
    })
}

/// Names of disks that tell the connection: Documentation/admin-guide/devices.txt.
const BY_NAME: [(&str, Transport); 4] = [
    ("mmcblk", Transport::Mmc),
    ("nvme", Transport::Nvme),
    ("loop", Transport::Loop),
    ("vd", Transport::Virtio),
];

/// Folders on the way to a disk that tell the connection, each followed by a number. USB comes
/// first: a disk behind a bridge looks like SATA or SCSI from there on.
const BY_FOLDER: [(&str, Transport); 5] = [
    ("usb", Transport::Usb),
    ("ata", Transport::Sata),
    ("virtio", Transport::Virtio),
    ("mmc", Transport::Mmc),
    ("end_device-", Transport::Scsi),
];

/// Tells the connection by the kernel's name, the folders that lead to the disk, or udev.
fn transport_of(node: &Node, udev: &BTreeMap<String, String>) -> Transport {
    let is_numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let leads_through = |prefix: &str| {
        let parts = node.folder.iter().filter_map(|part| part.to_str());
        parts
            .filter_map(|part| part.strip_prefix(prefix))
            .any(is_numbered)
    };
    let by_name = BY_NAME
        .iter()
        .find(|(prefix, _)| node.name.starts_with(prefix));
    let by_folder = || BY_FOLDER.iter().find(|(prefix, _)| leads_through(prefix));
    let found = by_name.or_else(by_folder).map(|(_, transport)| *transport);
    found.or_else(|| transport_by_udev(udev)).unwrap_or({
        match node.name.starts_with("sd") {
            true => Transport::Scsi,
            false => Transport::Unknown,
        }
    })
}

fn transport_by_udev(udev: &BTreeMap<String, String>) -> Option<Transport> {
    match udev.get("ID_BUS")?.as_str() {
        "usb" => Some(Transport::Usb),
        "ata" => Some(Transport::Sata),
        "nvme" => Some(Transport::Nvme),
        "scsi" => Some(Transport::Scsi),
        _ => None,
    }
}

/// Returns the nearest folder above that has an attribute: a USB device is known by `idVendor`.
fn ancestor_with<'a>(folder: &'a Path, name: &str) -> Option<&'a Path> {
    let real = folder
        .ancestors()
        .take_while(|above| !above.ends_with("sys"));
    let mut found = real.filter(|above| above.join(name).exists());
    found.next()
}

fn usb_speed(usb: &Path) -> Option<u32> {
    // Low speed reads "1.5".
    let speed = text(usb, "speed")?;
    speed.split('.').next()?.parse().ok()
}

fn vendor_of(node: &Node, usb: Option<&Path>) -> Option<String> {
    let own = text(&node.folder, "device/vendor");
    // virtio has a number there, and the bridges of disks in a case often say "ATA".
    let own = own.filter(|vendor| !vendor.starts_with("0x") && vendor != "ATA");
    own.or_else(|| text(usb?, "manufacturer"))
}

fn model_of(node: &Node, usb: Option<&Path>) -> Option<String> {
    if let Some(file) = &node.backing_file {
        return super::sysfs::clean(file.as_os_str().as_encoded_bytes());
    }
    let own = text(&node.folder, "device/model").or_else(|| text(&node.folder, "device/name"));
    own.or_else(|| text(usb?, "product"))
}

fn serial_of(node: &Node, usb: Option<&Path>) -> Option<String> {
    let own = text(&node.folder, "device/serial").or_else(|| text(&node.folder, "serial"));
    let from_usb = || text(usb?, "serial");
    // SCSI's page 0x80 is a header of four bytes and the serial number: SPC-4, 7.8.
    let from_page = || {
        // Not every device has it; the serial number is for people.
        let page = std::fs::read(node.folder.join("device/vpd_pg80")).ok()?;
        super::sysfs::clean(page.get(4..)?)
    };
    own.or_else(from_usb).or_else(from_page)
}
