//! The block devices of the kernel and how they stand on one another: `/sys/class/block`.
//!
//! Main type: [`Tree`]. Facts: the kernel's Documentation/ABI/stable/sysfs-block.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::loop_devices::{self, Backing};
use super::sysfs;

/// One block device of the kernel: a disk, a partition, or something built on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// The kernel's name; `!` stands for `/`.
    pub(super) name: String,
    /// Its folder in sysfs, where the class's link leads.
    pub(super) folder: PathBuf,
    /// Its number, `major:minor`.
    pub(super) number: Option<String>,
    /// The disk that it is a partition of.
    pub(super) parent: Option<String>,
    /// Whether it calls itself a partition; hardware partitions of eMMC don't.
    pub(super) is_partition: bool,
    /// The devices built on it.
    pub(super) holders: Vec<String>,
    /// The file behind a loop device.
    pub(super) backing_file: Option<PathBuf>,
    /// What a loop device is made of.
    pub(super) backing: Option<Backing>,
    /// What could not be read about it.
    pub(super) notes: Vec<String>,
}

impl Node {
    fn load(class: &Path, name: &str) -> Self {
        let link = class.join(name);
        let mut notes = Vec::new();
        let folder = std::fs::canonicalize(&link).unwrap_or_else(|error| {
            notes.push(format!("where it is connected could not be read: {error}"));
            link
        });
        let backing = sysfs::text(&folder, "loop/backing_file");
        Self {
            name: name.to_owned(),
            number: sysfs::text(&folder, "dev"),
            parent: None,
            is_partition: folder.join("partition").exists(),
            holders: sysfs::names(&folder.join("holders")),
            backing_file: backing
                .map(|file| PathBuf::from(file.strip_suffix(" (deleted)").unwrap_or(&file))),
            backing: None,
            folder,
            notes,
        }
    }

    /// Tells whether it is a row of its own: a disk, a card, a stick, an attached image.
    pub(super) fn is_disk(&self) -> bool {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| self.begins_numbered(prefix));
        let is_empty_loop = self.begins_numbered("loop") && self.backing_file.is_none();
        let is_hidden = sysfs::text(&self.folder, "hidden").as_deref() == Some("1");
        self.parent.is_none()
            && !self.is_partition
            && !begins(&["ram", "zram", "dm-", "md", "md_d", "sr"])
            && !self.folder.join("md").exists()
            && !self.is_hardware_partition()
            && !is_empty_loop
            && !is_hidden
    }

    /// Tells whether the name is the prefix and a number, as for `sr0` but not for `sram`.
    fn begins_numbered(&self, prefix: &str) -> bool {
        let rest = self.name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Tells whether it is one of the areas that eMMC chips keep apart: `mmcblk0boot0`.
    fn is_hardware_partition(&self) -> bool {
        let Some(rest) = self.name.strip_prefix("mmcblk") else {
            return false;
        };
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        ["boot", "rpmb", "gp"]
            .iter()
            .any(|area| rest.starts_with(area))
    }
}

/// All block devices of the kernel, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Reads the devices below `root`/sys.
    ///
    /// # Errors
    /// What the system said where there is no list.
    pub(super) fn load(root: &Path) -> io::Result<Self> {
        let class = root.join("sys/class/block");
        // Each one counts: a device that is left out may be the one that must not be written to.
        let mut names = std::fs::read_dir(&class)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()?;
        names.sort();
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for name in names {
            let mut node = Node::load(&class, &name);
            node.parent = parent_of(&node, &class);
            if node.backing_file.is_some() {
                let attached = node.folder.join("loop");
                node.backing = Some(match root == Path::new("/") {
                    true => loop_devices::backing(OsStr::new(&name), &attached),
                    // The kernel knows nothing of a machine that was recorded.
                    false => loop_devices::named(&attached),
                });
            }
            nodes.insert(name, node);
        }
        Ok(Self { nodes })
    }

    /// Returns all nodes by name.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Returns the node of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Returns the node with that number.
    pub(super) fn with_number(&self, number: &str) -> Option<&Node> {
        self.nodes()
            .find(|node| node.number.as_deref() == Some(number))
    }

    /// Returns the nodes inside the disk of that name: its partitions.
    pub(super) fn children(&self, name: &str) -> impl Iterator<Item = &Node> {
        self.nodes()
            .filter(move |node| node.parent.as_deref() == Some(name))
    }
}

/// Returns the disk that a node lies inside: the folder above its own, where that is a device too.
fn parent_of(node: &Node, class: &Path) -> Option<String> {
    let parent = node.folder.parent()?;
    let name = parent.file_name()?.to_str()?;
    let is_device = parent != class && class.join(name).symlink_metadata().is_ok();
    is_device.then(|| name.to_owned())
}
