//! One whole disk as the system sees it: what it is, what is on it, and who uses it.
//!
//! Main type: [`Device`]. It is plain data; whether it may be written is [`crate::verdict()`]'s say.

use std::fmt;
use std::path::PathBuf;

use cardkeep_block::Extent;

use crate::file_id::FileId;

/// One whole disk, card or stick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The path it is opened by: `/dev/mmcblk0`.
    pub path: PathBuf,
    /// The system's name for it: `mmcblk0`.
    pub name: String,
    /// The size in bytes; 0 for a reader without a card.
    pub size_bytes: u64,
    /// The logical sector size in bytes: the smallest unit it transfers.
    pub sector_bytes: u32,
    /// The physical sector size in bytes: the smallest unit it writes without reading first.
    pub physical_sector_bytes: u32,
    /// Who made it, as it says itself.
    pub vendor: Option<String>,
    /// What it is, as it says itself; the backing file of a loop device.
    pub model: Option<String>,
    /// The identity of the file or device that a loop device is made of, where it can be told.
    pub backing: Option<FileId>,
    /// Its serial number, as it says itself.
    pub serial: Option<String>,
    /// What it is connected by.
    pub transport: Transport,
    /// Whether it, or the card in it, is made to be taken out by the user.
    pub removable: bool,
    /// Whether it is write-protected.
    pub read_only: bool,
    /// Whether there is a medium in it.
    pub media_present: bool,
    /// The speed of its USB connection in megabits per second (rounded down; 1.5 is 1).
    pub usb_speed_mbps: Option<u32>,
    /// The card identification register of an SD card, 32 hex digits.
    pub card_id: Option<String>,
    /// The system's number for this very insertion of the medium.
    pub diskseq: Option<u64>,
    /// The partitions that the system knows, by number.
    pub partitions: Vec<DevicePartition>,
    /// What is mounted from it, in the order of mounting: the whole disk, its partitions, and what
    /// was built on them (encryption, volumes, arrays, loop devices).
    pub mounts: Vec<Mount>,
    /// What else holds it.
    pub uses: Vec<Use>,
    /// Whether this user can open it for reading.
    pub access: Access,
    /// What could not be read about it, in words.
    pub notes: Vec<String>,
}

/// A partition of a device, as the system knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevicePartition {
    /// The path it is opened by: `/dev/mmcblk0p1`.
    pub path: PathBuf,
    /// Its number, from 1; 0 where the system told none.
    pub number: u32,
    /// Its place on the device.
    pub extent: Extent,
    /// What is mounted from it, also through what was built on it.
    pub mounts: Vec<Mount>,
}

/// A filesystem of a device that is mounted somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// What was mounted, as the mount table says: `/dev/mmcblk0p1`, `/dev/mapper/root`.
    pub source: String,
    /// The folder it is mounted at.
    pub target: PathBuf,
    /// The filesystem's type as the mount table says: `vfat`.
    pub fs_type: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// What a device is connected by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// USB: readers, sticks, disks in a case.
    Usb,
    /// An SD or MMC slot, or eMMC on the board.
    Mmc,
    /// SATA or PATA.
    Sata,
    /// NVMe.
    Nvme,
    /// The disk of a virtual machine.
    Virtio,
    /// A file made to look like a disk.
    Loop,
    /// SCSI or SAS.
    Scsi,
    /// Anything else.
    #[default]
    Unknown,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Usb => "USB",
            Self::Mmc => "SD/MMC",
            Self::Sata => "SATA",
            Self::Nvme => "NVMe",
            Self::Virtio => "virtual",
            Self::Loop => "loop",
            Self::Scsi => "SCSI",
            Self::Unknown => "unknown",
        })
    }
}

/// Something other than a mount that holds a device or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// Swap space in use: a partition, a file, or the store of compressed memory.
    Swap {
        /// The partition or file as the system names it.
        path: PathBuf,
    },
    /// A volume of LVM.
    Lvm {
        /// The volume's name.
        name: String,
    },
    /// A disk array (md).
    Raid {
        /// The array's name.
        name: String,
    },
    /// An opened encrypted container.
    DmCrypt {
        /// The container's name.
        name: String,
    },
    /// A pool of ZFS.
    Zfs {
        /// The pool's name, where it is known.
        name: Option<String>,
    },
    /// A file on it serves as a loop device.
    LoopFile {
        /// The loop device's name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// Something else in the kernel.
    Other {
        /// The holder's name.
        name: String,
    },
    /// It could not be told whether anything uses it.
    Unknown {
        /// What could not be read.
        why: String,
    },
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swap { path } => write!(f, "swap space {}", path.display()),
            Self::Lvm { name } => write!(f, "LVM volume {name}"),
            Self::Raid { name } => write!(f, "disk array {name}"),
            Self::DmCrypt { name } => write!(f, "encrypted container {name}"),
            Self::Zfs { name: Some(name) } => write!(f, "ZFS pool {name}"),
            Self::Zfs { name: None } => write!(f, "a ZFS pool"),
            Self::LoopFile { name, file } => {
                write!(f, "loop device {name} on {}", file.display())
            }
            Self::Other { name } => write!(f, "{name}"),
            Self::Unknown { why } => write!(f, "something unknown: {why}"),
        }
    }
}

/// Whether this user can open a device for reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// It can be opened.
    #[default]
    Ok,
    /// It can't.
    Denied {
        /// What the user can do about it, in words.
        hint: String,
    },
}
