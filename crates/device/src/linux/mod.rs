//! Linux: disks from sysfs, mounts and swap from /proc, names from udev where it runs.
//!
//! Main type: [`Linux`], which reads everything below a root folder, so that a recorded machine
//! is as good as a real one.

mod describe;
mod eject;
mod loop_devices;
mod mountinfo;
pub(crate) mod opening;
mod other_users;
mod paths;
mod swaps;
mod sysfs;
mod tree;
mod udev;
mod udisks;
mod unmount;
mod usage;
pub(crate) mod writing;

use std::path::{Path, PathBuf};

use cardkeep_block::{BlockError, Operation};
use rustix::fs::{Access as Mode, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::device::{Access, Device};
use crate::eject_error::EjectError;
use crate::filesystem::nearest_existing;
use crate::machine::{Machine, UnmountError};
use crate::transfer::system_error;
use crate::user::permission_hint;

use self::describe::{describe, describe_partition, is_vacant};
use self::paths::Paths;
use self::tree::{Node, Tree};
use self::usage::{Usage, zfs_use};

/// A Linux machine: this one, or a recorded one.
#[derive(Clone, Debug)]
pub struct Linux {
    root: PathBuf,
}

impl Default for Linux {
    fn default() -> Self {
        Self::new()
    }
}

impl Linux {
    /// Returns the machine that the program runs on.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Path::new("/"))
    }

    /// Returns the machine recorded below `root`: `root/sys`, `root/proc`, `root/run`, `root/dev`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        let root = root.to_path_buf();
        Self { root }
    }

    fn look(&self) -> Result<View<'_>, BlockError> {
        let tree = Tree::load(&self.root).map_err(|error| system_error(Operation::Open, error))?;
        let paths = Paths::below(&self.root);
        let usage = Usage::load(&self.root, &tree, &paths);
        let root = &self.root;
        Ok(View {
            root,
            tree,
            paths,
            usage,
        })
    }

    /// Returns the device with what is mounted from it now, or says in words why the very medium
    /// that was looked at can't be touched.
    fn as_it_is_now(&self, device: &Device) -> Result<Device, String> {
        let devices = self.devices().map_err(|error| error.to_string())?;
        let same = |other: &Device| other.name == device.name && other.diskseq == device.diskseq;
        match devices.into_iter().find(same) {
            Some(_) if self.root != Path::new("/") => {
                Err("it belongs to another machine".to_owned())
            }
            Some(fresh) => Ok(fresh),
            None => Err("it was taken out or changed".to_owned()),
        }
    }
}

impl Machine for Linux {
    fn devices(&self) -> Result<Vec<Device>, BlockError> {
        let view = self.look()?;
        Ok(view.disks().map(|node| view.device(node)).collect())
    }

    fn device_of_path(&self, path: &Path) -> Result<Option<Device>, BlockError> {
        let view = self.look()?;
        let node = view.node(path)?;
        let disk = node.and_then(|node| match &node.parent {
            Some(parent) => view.tree.get(parent),
            None => Some(node),
        });
        Ok(disk
            .filter(|disk| disk.is_disk())
            .map(|disk| view.device(disk)))
    }

    fn partition_of_path(&self, path: &Path) -> Result<Option<u32>, BlockError> {
        let view = self.look()?;
        let node = view.node(path)?.filter(|node| node.is_partition);
        Ok(node.map(|node| describe_partition(node, &mut Vec::new()).number))
    }

    fn device_holding(&self, file: &Path) -> Result<Option<String>, BlockError> {
        Ok(self.devices_holding(file)?.into_iter().next())
    }

    fn devices_holding(&self, file: &Path) -> Result<Vec<String>, BlockError> {
        let view = self.look()?;
        let absolute = std::path::absolute(file).map_err(|e| system_error(Operation::Open, e))?;
        // What does not exist yet can hide no links.
        let existing = nearest_existing(&view.paths.outside(&absolute));
        let folder = match existing.strip_prefix(view.paths.root()) {
            Ok(inside) => {
                let inside = Path::new("/").join(inside);
                let missing = absolute.strip_prefix(&inside).unwrap_or(Path::new(""));
                view.paths.resolved(&inside).join(missing)
            }
            // It lies outside of a recorded machine.
            Err(_) => absolute,
        };
        let carriers = view.usage.carriers_of_file(&folder);
        let holds = |disk: &&Node| !view.usage.standing_on(&disk.name).is_disjoint(&carriers);
        Ok(view
            .disks()
            .filter(holds)
            .map(|disk| disk.name.clone())
            .collect())
    }

    fn unmount(&self, device: &Device) -> Result<(), UnmountError> {
        let hint = "list the devices again";
        let fresh = self
            .as_it_is_now(device)
            .map_err(|why| UnmountError::new(&device.path, why, hint))?;
        unmount::unmount(&fresh)
    }

    fn eject(&self, device: &Device) -> Result<(), EjectError> {
        let hint = "list the devices again";
        let fresh = self
            .as_it_is_now(device)
            .map_err(|why| EjectError::new(&device.path, why, hint))?;
        eject::eject(&fresh)
    }
}

/// A machine as it was at one moment.
struct View<'a> {
    root: &'a Path,
    tree: Tree,
    paths: Paths,
    usage: Usage,
}

impl View<'_> {
    fn disks(&self) -> impl Iterator<Item = &Node> {
        // What has partitions is no vacant slot, whatever it says of its size.
        let is_vacant =
            |node: &Node| is_vacant(node) && self.tree.children(&node.name).count() == 0;
        let disks = self.tree.nodes().filter(|node| node.is_disk());
        disks.filter(move |node| !is_vacant(node))
    }

    fn node(&self, path: &Path) -> Result<Option<&Node>, BlockError> {
        let failed = |error| system_error(Operation::Open, error);
        let path = std::path::absolute(path).map_err(failed)?;
        let node = self.paths.node_of_path(&self.tree, &path);
        if node.is_none() {
            self.paths.outside(&path).metadata().map_err(failed)?;
        }
        Ok(node)
    }

    fn device(&self, node: &Node) -> Device {
        let udev = |node: &Node| {
            let number = node.number.as_deref().unwrap_or_default();
            udev::properties(self.root, number)
        };
        let own = udev(node);
        let mut device = describe(node, &own);
        let standing = self.usage.standing_on(&node.name);
        device.mounts = self.usage.mounts_of(&standing);
        device.uses = self.usage.uses_of(&self.tree, &node.name, &standing);
        device.uses.extend(zfs_use(self.root, &own));
        device.access = self.access(&device.path);
        for part in self
            .tree
            .children(&node.name)
            .filter(|part| part.is_partition)
        {
            let mut partition = describe_partition(part, &mut device.notes);
            partition.mounts = self.usage.mounts_of(&self.usage.standing_on(&part.name));
            device.partitions.push(partition);
            device.uses.extend(zfs_use(self.root, &udev(part)));
        }
        device.partitions.sort_by_key(|part| part.number);
        device
    }

    fn access(&self, path: &Path) -> Access {
        let outside = self.paths.outside(path);
        match accessat(CWD, &outside, Mode::READ_OK, AtFlags::EACCESS) {
            Ok(()) => Access::Ok,
            Err(Errno::NOENT) => Access::Denied {
                hint: format!("{} is not there", path.display()),
            },
            // Whatever the system says: what helps is another right.
            Err(_) => Access::Denied {
                hint: permission_hint(&outside),
            },
        }
    }
}
