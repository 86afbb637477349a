//! Whether a device may be written at all, and why not: the first half of promise 1.
//!
//! Main function: [`verdict`]. It errs on the side of refusing: whatever is not known to be free
//! of use is guarded.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::device::{Device, Transport, Use};

/// Whether a device may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be written once the user has confirmed it by name, and once what is mounted from it
    /// is unmounted.
    Free,
    /// It must not be written, for at least one reason.
    Guarded(Vec<Guard>),
}

/// A reason why a device must not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// The running system lives on it.
    SystemDisk {
        /// The folder of the system that it carries.
        mounted_at: PathBuf,
    },
    /// It is mounted where no card is mounted by itself: somebody wants it there.
    MountedElsewhere {
        /// Where.
        mounted_at: PathBuf,
    },
    /// The system swaps to it.
    SwapInUse {
        /// The partition or file.
        path: PathBuf,
    },
    /// It belongs to something larger, or something is built on it.
    MemberOf(Use),
    /// It is built into the machine.
    Fixed {
        /// What it is connected by.
        transport: Transport,
    },
    /// It is write-protected.
    ReadOnly,
    /// There is no medium in it.
    NoMedia,
    /// It could not be told whether it is in use.
    Unknown {
        /// What could not be read.
        why: String,
    },
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemDisk { mounted_at } => {
                write!(f, "this system runs from it ({})", mounted_at.display())
            }
            Self::MountedElsewhere { mounted_at } => write!(
                f,
                "it is mounted at {}, where cards are not mounted automatically; unmount it first",
                mounted_at.display()
            ),
            Self::SwapInUse { path } => write!(f, "this system swaps to {}", path.display()),
            Self::MemberOf(holder) => write!(f, "it is in use by {holder}"),
            Self::Fixed {
                transport: Transport::Unknown,
            } => write!(f, "it is not known to be removable"),
            Self::Fixed { transport } => {
                write!(f, "it is built into this machine ({transport})")
            }
            Self::ReadOnly => write!(f, "it is write-protected"),
            Self::NoMedia => write!(f, "there is no card in it"),
            Self::Unknown { why } => write!(f, "it may be in use: {why}"),
        }
    }
}

/// The folders that make a disk the system's, and with them all that is mounted below.
const SYSTEM_TREES: [&str; 12] = [
    "/System", "/private", "/boot", "/efi", "/usr", "/var", "/etc", "/nix", "/opt", "/bin", "/lib",
    "/ostree",
];

/// The folders that make a disk the system's, but not what is mounted below.
const SYSTEM_FOLDERS: [&str; 6] = ["/", "/home", "/root", "/srv", "/tmp", "/sysroot"];

/// Where desktops and people mount cards.
const CARD_FOLDERS: [&str; 4] = ["/media", "/run/media", "/mnt", "/Volumes"];

/// Returns whether `device` may be written, with every reason against it.
#[must_use]
pub fn verdict(device: &Device) -> Verdict {
    let mut guards: Vec<Guard> = Vec::new();
    let mounts = device.mounts.iter();
    let of_partitions = device.partitions.iter().flat_map(|part| &part.mounts);
    for mount in mounts.chain(of_partitions) {
        push_new(&mut guards, guard_of_mount(&mount.target));
    }
    for holder in &device.uses {
        push_new(&mut guards, guard_of_use(holder));
    }
    if !device.removable && device.transport != Transport::Loop {
        let transport = device.transport;
        guards.push(Guard::Fixed { transport });
    }
    if device.read_only {
        guards.push(Guard::ReadOnly);
    }
    if !device.media_present || device.size_bytes == 0 {
        guards.push(Guard::NoMedia);
    }
    // The gravest reason first: lists show no more than that.
    guards.sort_by_key(|guard| !matches!(guard, Guard::SystemDisk { .. }));
    match guards.is_empty() {
        true => Verdict::Free,
        false => Verdict::Guarded(guards),
    }
}

fn push_new(guards: &mut Vec<Guard>, guard: Option<Guard>) {
    guards.extend(guard.filter(|guard| !guards.contains(guard)));
}

fn guard_of_mount(target: &Path) -> Option<Guard> {
    let mounted_at = target.to_path_buf();
    let is_system = SYSTEM_FOLDERS
        .iter()
        .any(|folder| target == Path::new(folder))
        || SYSTEM_TREES.iter().any(|folder| target.starts_with(folder));
    if is_system {
        return Some(Guard::SystemDisk { mounted_at });
    }
    let is_card = CARD_FOLDERS.iter().any(|folder| target.starts_with(folder));
    (!is_card).then_some(Guard::MountedElsewhere { mounted_at })
}

fn guard_of_use(holder: &Use) -> Option<Guard> {
    Some(match holder {
        Use::Swap { path } => Guard::SwapInUse { path: path.clone() },
        Use::Unknown { why } => Guard::Unknown { why: why.clone() },
        other => Guard::MemberOf(other.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::{Guard, Verdict, verdict};
    use crate::device::{Device, DevicePartition, Mount, Transport, Use};

    fn card() -> Device {
        Device {
            size_bytes: 32_000_000_000,
            transport: Transport::Usb,
            removable: true,
            media_present: true,
            ..Device::default()
        }
    }

    fn mounted(target: &str) -> Device {
        let target = target.into();
        let mounts = vec![Mount {
            target,
            ..Mount::default()
        }];
        Device { mounts, ..card() }
    }

    fn words(device: &Device) -> Vec<String> {
        match verdict(device) {
            Verdict::Free => Vec::new(),
            Verdict::Guarded(guards) => guards.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_card_mounted_by_the_desktop_may_be_written() {
        for target in [
            "/media/ann/bootfs",
            "/run/media/ann/rootfs",
            "/mnt",
            "/mnt/card",
            "/Volumes/bootfs",
        ] {
            assert_eq!(verdict(&mounted(target)), Verdict::Free, "{target}");
        }
        assert_eq!(verdict(&card()), Verdict::Free);
    }

    #[test]
    fn a_disk_that_carries_the_system_is_guarded() {
        let system = [
            "/",
            "/boot",
            "/boot/firmware",
            "/boot/efi",
            "/usr",
            "/var",
            "/var/lib/docker",
            "/home",
        ];
        for target in system {
            let expected = vec![format!("this system runs from it ({target})")];
            assert_eq!(words(&mounted(target)), expected);
        }
    }

    #[test]
    fn names_that_only_begin_like_card_folders_are_no_card_folders() {
        for target in [
            "/mediacenter",
            "/mnt2",
            "/run/live/medium",
            "/srv/backup",
            "/home/ann/disk",
        ] {
            let mounted_at = target.into();
            let expected = Verdict::Guarded(vec![Guard::MountedElsewhere { mounted_at }]);
            assert_eq!(verdict(&mounted(target)), expected);
        }
    }

    #[test]
    fn a_mount_known_only_of_the_partition_counts() {
        let mounts = mounted("/").mounts;
        let partitions = vec![DevicePartition {
            mounts,
            ..DevicePartition::default()
        }];
        let device = Device {
            partitions,
            ..card()
        };
        assert_eq!(words(&device), ["this system runs from it (/)"]);
    }

    #[test]
    fn every_reason_is_told_once() {
        let lvm = Use::Lvm {
            name: "vg-root".into(),
        };
        let device = Device {
            mounts: [mounted("/").mounts, mounted("/").mounts].concat(),
            uses: vec![
                Use::Swap {
                    path: "/dev/sda2".into(),
                },
                lvm.clone(),
                lvm,
            ],
            removable: false,
            transport: Transport::Sata,
            read_only: true,
            size_bytes: 0,
            media_present: false,
            ..Device::default()
        };
        assert_eq!(
            words(&device),
            [
                "this system runs from it (/)",
                "this system swaps to /dev/sda2",
                "it is in use by LVM volume vg-root",
                "it is built into this machine (SATA)",
                "it is write-protected",
                "there is no card in it",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_guarded() {
        let uses = vec![Use::Unknown {
            why: "the mount table is unreadable".into(),
        }];
        let expected = ["it may be in use: the mount table is unreadable"];
        assert_eq!(words(&Device { uses, ..card() }), expected);
    }
}
