//! Paths of devices below the root: `/dev/sdb1`, `/dev/disk/by-id/...`, `PARTUUID=...`.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::tree::{Node, Tree};

/// The paths of devices on a machine whose root folder is given.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(super) fn below(root: &Path) -> Self {
        // A root that can't be resolved leaves every path unresolved, which reads as "not there".
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
        Self { root }
    }

    /// Returns the machine's root folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where on this computer a path of the machine is.
    pub(super) fn outside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns the machine's path without symbolic links; as it is where it does not exist.
    pub(super) fn resolved(&self, path: &Path) -> PathBuf {
        // What can't be followed is left as it is.
        let real = std::fs::canonicalize(self.outside(path)).ok();
        let inside =
            real.and_then(|real| Some(Path::new("/").join(real.strip_prefix(&self.root).ok()?)));
        inside.unwrap_or_else(|| path.to_path_buf())
    }

    /// Returns the device that a path of the machine names.
    pub(super) fn node_of_path<'a>(&self, tree: &'a Tree, path: &Path) -> Option<&'a Node> {
        // A recorded machine has no device nodes: what can't be looked at is found by its name.
        let metadata = self.outside(path).metadata().ok();
        let number = metadata
            .filter(|found| found.file_type().is_block_device())
            .map(|found| written_number(found.rdev()));
        let by_number = number.and_then(|number| tree.with_number(&number));
        by_number.or_else(|| {
            let resolved = self.resolved(path);
            let name = resolved
                .strip_prefix("/dev")
                .ok()?
                .to_str()?
                .replace('/', "!");
            tree.get(&name)
        })
    }

    /// Returns the device that a `root=` of the kernel's command line or a line of fstab names.
    pub(super) fn node_of_source<'a>(&self, tree: &'a Tree, source: &str) -> Option<&'a Node> {
        let Some((key, value)) = source.split_once('=') else {
            return self.node_of_path(tree, Path::new(source));
        };
        let folder = match key {
            "PARTUUID" => "by-partuuid",
            "UUID" => "by-uuid",
            "LABEL" => "by-label",
            "PARTLABEL" => "by-partlabel",
            _ => return None,
        };
        self.node_of_path(
            tree,
            &Path::new("/dev/disk")
                .join(folder)
                .join(value.trim_matches('"')),
        )
    }
}

/// Returns the path that a device of that kernel name is opened by.
pub(super) fn device_path(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

/// Returns a device's number as sysfs and the mount table write it: `major:minor`.
pub(super) fn written_number(number: u64) -> String {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    format!("{major}:{minor}")
}
