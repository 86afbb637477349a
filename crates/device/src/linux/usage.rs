//! Who uses which disk: mounts, swap and holders, traced down to the disks they stand on.
//!
//! Main type: [`Usage`]. What can't be traced is not passed over: it becomes [`Use::Unknown`] on
//! every disk, so that none of them is taken for free.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use crate::device::{Mount, Use};
use crate::file_id::FileId;

use super::loop_devices::Backing;
use super::mountinfo::{self, MountEntry, deepest};
use super::paths::{self, Paths};
use super::tree::{Node, Tree};
use super::{swaps, sysfs};

/// Overlays on overlays are followed this deep; nobody stacks them deeper.
const OVERLAY_DEPTH_MAX: usize = 8;

/// The names of block devices.
pub(super) type Names = BTreeSet<String>;

/// A mount and the block devices that carry it.
#[derive(Clone, Debug)]
struct Carried {
    entry: MountEntry,
    carriers: Names,
}

/// All that uses block devices on a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    mounts: Vec<Carried>,
    swaps: Vec<(Use, Names)>,
    /// For each device, what stands on it directly.
    stands_on: BTreeMap<String, Names>,
    unknown: Vec<Use>,
}

impl Usage {
    /// Reads the mount and swap tables below `root`.
    pub(super) fn load(root: &Path, tree: &Tree, paths: &Paths) -> Self {
        let mut usage = Self::default();
        usage.load_mounts(root, tree, paths);
        usage.load_structure(tree, paths);
        usage.load_swaps(root, tree, paths);
        usage
    }

    fn load_mounts(&mut self, root: &Path, tree: &Tree, paths: &Paths) {
        let table = match std::fs::read(root.join("proc/self/mountinfo")) {
            Ok(table) => table,
            Err(error) => {
                self.doubt(format!("the mount table could not be read: {error}"));
                return;
            }
        };
        let (entries, unclear) = mountinfo::parse(&table);
        if unclear > 0 {
            self.doubt(format!(
                "lines of the mount table that make no sense: {unclear}"
            ));
        }
        let pools = btrfs_members(root);
        let carry = |entry: MountEntry| Carried {
            carriers: carriers(&entry, tree, paths, &pools),
            entry,
        };
        self.mounts = entries.into_iter().map(carry).collect();
        self.trace_overlays();
        self.trace_root(root, tree, paths);
    }

    /// Gives each overlay the carriers of the folders that it is laid from: with a read-only root
    /// the card is mounted at /media/root-ro, and yet the system lives on it.
    fn trace_overlays(&mut self) {
        for _ in 0..OVERLAY_DEPTH_MAX {
            let mut changed = false;
            for index in 0..self.mounts.len() {
                let folders = self.mounts[index].entry.overlay_folders();
                let below: Names = folders
                    .iter()
                    .flat_map(|f| self.carriers_of_file(f))
                    .collect();
                let own = &mut self.mounts[index].carriers;
                let before = own.len();
                own.extend(below);
                changed |= own.len() > before;
            }
            if !changed {
                return;
            }
        }
    }

    /// Where the root filesystem leads to no device (an overlay whose lower folder is out of
    /// sight), takes the one that the kernel was told to start from.
    fn trace_root(&mut self, root: &Path, tree: &Tree, paths: &Paths) {
        let is_root = |carried: &&mut Carried| carried.entry.mount.target == Path::new("/");
        let Some(carried) = self.mounts.iter_mut().rev().find(is_root) else {
            return;
        };
        if carried.carriers.is_empty() {
            // One more hint: without it the root filesystem stays without a device, as it was.
            let line = std::fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
            let source = line
                .split_ascii_whitespace()
                .find_map(|word| word.strip_prefix("root="));
            let node = source.and_then(|source| paths.node_of_source(tree, source));
            carried.carriers.extend(node.map(|node| node.name.clone()));
        }
    }

    fn load_structure(&mut self, tree: &Tree, paths: &Paths) {
        for node in tree.nodes() {
            if let Some(parent) = &node.parent {
                self.stand(&node.name, parent);
            }
            for holder in &node.holders {
                self.stand(holder, &node.name);
            }
            for carrier in self.carriers_of_loop(node, tree, paths) {
                self.stand(&node.name, &carrier);
            }
        }
    }

    /// Returns what carries the file behind a loop device: by the kernel's numbers, which hold in every
    /// mount namespace, and by the name that sysfs has for it.
    fn carriers_of_loop(&self, node: &Node, tree: &Tree, paths: &Paths) -> Names {
        let mut carriers = match &node.backing_file {
            Some(file) => self.carriers_of_backing(file, tree, paths),
            None => Names::new(),
        };
        if let Some(Backing::Thing { id, filesystem }) = node.backing {
            let number = match id {
                FileId::Device { number } => number,
                FileId::File { .. } => filesystem,
            };
            let number = paths::written_number(number);
            carriers.extend(tree.with_number(&number).map(|node| node.name.clone()));
            // Filesystems on several devices have a number of their own: btrfs.
            let mounted = self.mounts.iter().filter(|it| it.entry.number == number);
            carriers.extend(mounted.flat_map(|mount| mount.carriers.clone()));
        }
        carriers
    }

    /// Returns what carries the file behind a loop device, which may itself be a device.
    fn carriers_of_backing(&self, file: &Path, tree: &Tree, paths: &Paths) -> Names {
        match paths.node_of_path(tree, file) {
            Some(node) => Names::from([node.name.clone()]),
            None => self.carriers_of_file(file),
        }
    }

    fn load_swaps(&mut self, root: &Path, tree: &Tree, paths: &Paths) {
        let table = match std::fs::read(root.join("proc/swaps")) {
            Ok(table) => table,
            // A kernel without swap has no table.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.doubt(format!("the swap table could not be read: {error}"));
                return;
            }
        };
        for path in swaps::parse(&table) {
            let carriers = self.carriers_of_backing(&path, tree, paths);
            if carriers.is_empty() {
                let path = path.display();
                self.doubt(format!(
                    "the disk of the swap space {path} could not be found"
                ));
            }
            self.swaps.push((Use::Swap { path }, carriers));
        }
        for node in tree.nodes() {
            // Compressed memory may spill to a device: the kernel's zram, "writeback".
            if let Some(backing) = sysfs::text(&node.folder, "backing_dev").filter(|b| b != "none")
            {
                let carriers = self.carriers_of_backing(Path::new(&backing), tree, paths);
                let path = backing.into();
                self.swaps.push((Use::Swap { path }, carriers));
            }
        }
    }

    fn stand(&mut self, upper: &str, lower: &str) {
        let uppers = self.stands_on.entry(lower.to_owned()).or_default();
        uppers.insert(upper.to_owned());
    }

    fn doubt(&mut self, why: String) {
        self.unknown.push(Use::Unknown { why });
    }

    /// Returns the devices that carry the filesystem that a file lies on.
    pub(super) fn carriers_of_file(&self, file: &Path) -> Names {
        let targets = self.mounts.iter().map(|c| c.entry.mount.target.as_path());
        let index = deepest(targets, file);
        index.map_or_else(Names::new, |index| self.mounts[index].carriers.clone())
    }

    /// Returns a device and everything that stands on it.
    pub(super) fn standing_on(&self, name: &str) -> Names {
        let mut found = Names::from([name.to_owned()]);
        let mut waiting = vec![name.to_owned()];
        while let Some(lower) = waiting.pop() {
            for upper in self.stands_on.get(&lower).into_iter().flatten() {
                if found.insert(upper.clone()) {
                    waiting.push(upper.clone());
                }
            }
        }
        found
    }

    /// Returns what is mounted from any of these devices, in the order of mounting.
    pub(super) fn mounts_of(&self, names: &Names) -> Vec<Mount> {
        let carried = self
            .mounts
            .iter()
            .filter(|carried| !carried.carriers.is_disjoint(names));
        carried.map(|carried| carried.entry.mount.clone()).collect()
    }

    /// Returns what else uses these devices; `names` as from [`Usage::standing_on`] `disk`.
    pub(super) fn uses_of(&self, tree: &Tree, disk: &str, names: &Names) -> Vec<Use> {
        let swaps = self
            .swaps
            .iter()
            .filter(|(_, carriers)| !carriers.is_disjoint(names));
        let holders = names.iter().filter_map(|name| match tree.get(name) {
            Some(node) if name == disk || node.parent.is_some() => None,
            Some(node) => Some(use_by(node)),
            None => Some(Use::Other { name: name.clone() }),
        });
        let swaps = swaps.map(|(holder, _)| holder.clone());
        swaps
            .chain(holders)
            .chain(self.unknown.iter().cloned())
            .collect()
    }
}

/// Returns the devices that an entry of the mount table is on, as far as it says itself.
fn carriers(entry: &MountEntry, tree: &Tree, paths: &Paths, pools: &[Names]) -> Names {
    let by_number = tree.with_number(&entry.number);
    let by_source = || paths.node_of_path(tree, Path::new(&entry.mount.source));
    let Some(node) = by_number.or_else(by_source) else {
        return Names::new();
    };
    // btrfs names one of its devices in the mount table and keeps data on all.
    let pool = pools.iter().find(|pool| pool.contains(&node.name));
    pool.cloned()
        .unwrap_or_else(|| Names::from([node.name.clone()]))
}

/// Returns the devices of each btrfs filesystem: `/sys/fs/btrfs/<uuid>/devices/`.
fn btrfs_members(root: &Path) -> Vec<Names> {
    let folder = root.join("sys/fs/btrfs");
    let pools = sysfs::names(&folder).into_iter();
    pools
        .map(|uuid| {
            sysfs::names(&folder.join(uuid).join("devices"))
                .into_iter()
                .collect()
        })
        .collect()
}

/// Tells what kind of use a device makes of those it stands on.
fn use_by(node: &Node) -> Use {
    let label = || sysfs::text(&node.folder, "dm/name").unwrap_or_else(|| node.name.clone());
    if let Some(file) = &node.backing_file {
        let (name, file) = (node.name.clone(), file.clone());
        return Use::LoopFile { name, file };
    }
    if node.folder.join("md").exists() {
        let name = node.name.clone();
        return Use::Raid { name };
    }
    // The makers of device-mapper devices put their mark before the uuid: cryptsetup, lvm2.
    let uuid = sysfs::text(&node.folder, "dm/uuid").unwrap_or_default();
    match uuid.split('-').next() {
        Some("CRYPT") => Use::DmCrypt { name: label() },
        Some("LVM") => Use::Lvm { name: label() },
        _ => Use::Other { name: label() },
    }
}

/// Returns the pool that ZFS keeps on a disk, told by what udev saw on it or its partitions. Its
/// use of disks shows nowhere else in sysfs.
pub(super) fn zfs_use(root: &Path, properties: &BTreeMap<String, String>) -> Option<Use> {
    let is_member = properties
        .get("ID_FS_TYPE")
        .is_some_and(|kind| kind == "zfs_member");
    let is_loaded = root.join("sys/module/zfs").exists();
    (is_member && is_loaded).then(|| Use::Zfs {
        name: properties.get("ID_FS_LABEL").cloned(),
    })
}
