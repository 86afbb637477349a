//! What `diskutil list -plist` and `diskutil info -plist` say, as devices. No calls here: text in,
//! types out, so that it is tested everywhere.
//!
//! Keys as macOS 12 to 15 print them; diskutil(8) does not document them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use plist::{Dictionary, Value};

use crate::device::{Device, DevicePartition, Mount, Transport, Use};

/// The answer of `diskutil info` for each disk or partition that it was asked about.
pub(crate) type Infos = BTreeMap<String, Dictionary>;

/// One disk of `diskutil list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `disk4`.
    pub(crate) name: String,
    /// Its partitions' names: `disk4s1`.
    pub(crate) partitions: Vec<String>,
    /// What of it is mounted: the name of the volume and the folder.
    mounts: Vec<(String, PathBuf)>,
    /// The partitions that it is made from, where it is an APFS container and no disk of its own.
    stores: Vec<String>,
    size_bytes: u64,
}

impl Listed {
    /// Tells whether it is a disk of its own, not one made from partitions of another.
    pub(crate) fn is_disk(&self) -> bool {
        self.stores.is_empty()
    }
}

/// Returns the disks of `diskutil list -plist`; `None` where that is not what the text is.
pub(crate) fn parse_list(text: &[u8]) -> Option<Vec<Listed>> {
    let list = parse_info(text)?;
    let disks = list.get("AllDisksAndPartitions")?.as_array()?;
    Some(
        disks
            .iter()
            .filter_map(Value::as_dictionary)
            .filter_map(listed)
            .collect(),
    )
}

/// Returns the keys of `diskutil info -plist`; `None` where the text is no property list.
pub(crate) fn parse_info(text: &[u8]) -> Option<Dictionary> {
    // What is wrong with the text does not matter: diskutil is not to be repaired.
    let value = Value::from_reader_xml(text).ok()?;
    value.into_dictionary()
}

fn listed(disk: &Dictionary) -> Option<Listed> {
    let parts = dictionaries(disk, "Partitions");
    let volumes = dictionaries(disk, "APFSVolumes");
    let mount = |part: &&Dictionary| {
        let folder = text(part, "MountPoint").filter(|folder| !folder.is_empty())?;
        Some((text(part, "DeviceIdentifier")?, PathBuf::from(folder)))
    };
    let whole = std::iter::once(&disk);
    let mounts = parts
        .iter()
        .chain(&volumes)
        .chain(whole)
        .filter_map(mount)
        .collect();
    let names = |list: &[&Dictionary]| {
        list.iter()
            .filter_map(|part| text(part, "DeviceIdentifier"))
            .collect()
    };
    Some(Listed {
        name: text(disk, "DeviceIdentifier")?,
        partitions: names(&parts),
        mounts,
        stores: names(&dictionaries(disk, "APFSPhysicalStores")),
        size_bytes: number(disk, "Size").unwrap_or(0),
    })
}

/// Returns all disks of their own, with what the containers made from them have mounted.
pub(crate) fn devices(list: &[Listed], infos: &Infos) -> Vec<Device> {
    let disks = list.iter().filter(|disk| disk.is_disk());
    disks.map(|disk| device(disk, list, infos)).collect()
}

fn device(disk: &Listed, list: &[Listed], infos: &Infos) -> Device {
    let unknown = Dictionary::new();
    let info = infos.get(&disk.name).unwrap_or(&unknown);
    let mut notes = Vec::new();
    let mut uses = Vec::new();
    if infos.get(&disk.name).is_none() {
        notes.push("diskutil does not say what it is".to_owned());
        // Without its properties nobody knows whether it is built in.
        let why = "diskutil does not say what it is".to_owned();
        uses.push(Use::Unknown { why });
    }
    let transport = transport(info);
    let partitions: Vec<_> = disk
        .partitions
        .iter()
        .map(|name| partition(name, disk, list, infos, &mut notes))
        .collect();
    let size_bytes = number(info, "Size").unwrap_or(disk.size_bytes);
    let sector_bytes = number(info, "DeviceBlockSize").and_then(|size| u32::try_from(size).ok());
    let whole = mounts_of(&disk.name, disk, list, infos);
    Device {
        path: Path::new("/dev").join(&disk.name),
        name: disk.name.clone(),
        size_bytes,
        sector_bytes: sector_bytes.unwrap_or(512),
        physical_sector_bytes: sector_bytes.unwrap_or(512),
        model: text(info, "MediaName").or_else(|| text(info, "IORegistryEntryName")),
        transport,
        removable: is_removable(info) || transport == Transport::Loop,
        read_only: info.get("WritableMedia").and_then(Value::as_boolean) == Some(false),
        media_present: size_bytes > 0,
        mounts: whole
            .into_iter()
            .chain(partitions.iter().flat_map(|p| p.mounts.clone()))
            .collect(),
        partitions,
        uses,
        notes,
        ..Device::default()
    }
}

fn partition(
    name: &str,
    disk: &Listed,
    list: &[Listed],
    infos: &Infos,
    notes: &mut Vec<String>,
) -> DevicePartition {
    let info = infos.get(name);
    let place = info.and_then(|info| {
        Extent::new(
            number(info, "PartitionMapPartitionOffset")?,
            number(info, "Size")?,
        )
    });
    if place.is_none() {
        notes.push(format!("{name}: its place is not known"));
    }
    let suffix = name
        .strip_prefix(&*disk.name)
        .and_then(|rest| rest.strip_prefix('s'));
    DevicePartition {
        path: Path::new("/dev").join(name),
        number: suffix.and_then(|number| number.parse().ok()).unwrap_or(0),
        extent: place.unwrap_or_default(),
        mounts: mounts_of(name, disk, list, infos),
    }
}

/// Returns what is mounted from the partition, or disk, of that name, itself and by a container.
fn mounts_of(name: &str, disk: &Listed, list: &[Listed], infos: &Infos) -> Vec<Mount> {
    let own = disk.mounts.iter().filter(|(source, _)| source == name);
    let containers = list
        .iter()
        .filter(|other| other.stores.iter().any(|store| store == name));
    let through = containers.flat_map(|container| &container.mounts);
    let mount = |(source, target): &(String, PathBuf)| {
        let info = infos.get(source);
        Mount {
            source: format!("/dev/{source}"),
            target: target.clone(),
            fs_type: info
                .and_then(|info| text(info, "FilesystemType"))
                .unwrap_or_default(),
            read_only: info.and_then(|info| info.get("Writable")?.as_boolean()) == Some(false),
        }
    };
    own.chain(through).map(mount).collect()
}

/// Tells whether the user can take it out; where nothing says so, it counts as built in.
fn is_removable(info: &Dictionary) -> bool {
    is(info, "RemovableMediaOrExternalDevice")
        || is(info, "RemovableMedia")
        || info.get("Internal").and_then(Value::as_boolean) == Some(false)
}

fn transport(info: &Dictionary) -> Transport {
    match text(info, "BusProtocol").as_deref() {
        Some("USB") => Transport::Usb,
        Some("Secure Digital") => Transport::Mmc,
        Some("SATA" | "ATA") => Transport::Sata,
        Some("PCI-Express" | "PCI" | "Apple Fabric") => Transport::Nvme,
        Some("Disk Image") => Transport::Loop,
        Some("SAS" | "SCSI" | "Fibre Channel Interface") => Transport::Scsi,
        Some("Virtio") => Transport::Virtio,
        _ => Transport::Unknown,
    }
}

fn dictionaries<'a>(of: &'a Dictionary, key: &str) -> Vec<&'a Dictionary> {
    let list = of.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_dictionary)
        .collect()
}

fn text(of: &Dictionary, key: &str) -> Option<String> {
    Some(of.get(key)?.as_string()?.to_owned())
}

fn number(of: &Dictionary, key: &str) -> Option<u64> {
    of.get(key)?.as_unsigned_integer()
}

fn is(of: &Dictionary, key: &str) -> bool {
    of.get(key).and_then(Value::as_boolean) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::{Infos, devices, parse_info, parse_list};
    use crate::device::{Device, Transport};
    use crate::verdict::{Guard, Verdict, verdict};
    use cardkeep_block::Extent;
    use std::path::PathBuf;

    const LIST: &[u8] = include_bytes!("../../tests/macs/laptop/list.plist");
    const CARD: &[u8] = include_bytes!("../../tests/macs/laptop/info-disk4.plist");
    const CARD_BOOT: &[u8] = include_bytes!("../../tests/macs/laptop/info-disk4s1.plist");
    const INTERNAL: &[u8] = include_bytes!("../../tests/macs/laptop/info-disk0.plist");

    fn laptop() -> Vec<Device> {
        let texts = [("disk4", CARD), ("disk4s1", CARD_BOOT), ("disk0", INTERNAL)];
        let parsed = texts.map(|(name, text)| (name.to_owned(), parse_info(text).unwrap()));
        devices(&parse_list(LIST).unwrap(), &Infos::from(parsed))
    }

    #[test]
    fn containers_are_no_disks_but_make_theirs_the_systems() {
        let devices = laptop();
        let names: Vec<_> = devices.iter().map(|device| &*device.name).collect();
        assert_eq!(names, ["disk0", "disk4", "disk5"]);
        let Verdict::Guarded(guards) = verdict(&devices[0]) else {
            panic!("{devices:?}");
        };
        let mounted_at = PathBuf::from("/");
        assert!(
            guards.contains(&Guard::SystemDisk { mounted_at }),
            "{guards:?}"
        );
        let transport = Transport::Nvme;
        assert!(guards.contains(&Guard::Fixed { transport }), "{guards:?}");
    }

    #[test]
    fn a_card_in_a_reader_is_free() {
        let card = &laptop()[1];
        assert_eq!(card.path, PathBuf::from("/dev/disk4"));
        assert_eq!((card.size_bytes, card.sector_bytes), (31_914_983_424, 512));
        assert_eq!((card.transport, card.removable), (Transport::Usb, true));
        assert_eq!(card.model.as_deref(), Some("STORAGE DEVICE"));
        assert_eq!((card.read_only, card.media_present), (false, true));
        let boot = &card.partitions[0];
        assert_eq!((boot.number, &*boot.path), (1, "/dev/disk4s1".as_ref()));
        assert_eq!(boot.extent, Extent::between(4_194_304, 272_629_760));
        assert_eq!(boot.mounts[0].target, PathBuf::from("/Volumes/bootfs"));
        assert_eq!(
            (&*boot.mounts[0].source, &*boot.mounts[0].fs_type),
            ("/dev/disk4s1", "msdos")
        );
        assert_eq!(card.mounts, boot.mounts);
        assert_eq!(card.notes, ["disk4s2: its place is not known"]);
        assert_eq!(verdict(card), Verdict::Free);
    }

    #[test]
    fn a_disk_that_diskutil_is_silent_about_is_listed_and_guarded() {
        let silent = &laptop()[2];
        assert_eq!(silent.size_bytes, 2_000_000);
        assert_eq!(silent.notes, ["diskutil does not say what it is"]);
        assert!(matches!(verdict(silent), Verdict::Guarded(_)));
    }

    #[test]
    fn what_is_no_property_list_is_none() {
        assert_eq!(parse_list(b"Unable to run"), None);
        assert_eq!(parse_list(b""), None);
        assert!(parse_info(b"<plist><array/></plist>").is_none());
    }
}
