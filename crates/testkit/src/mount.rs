//! Filesystems mounted by the kernel, for as long as a test looks at them.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

use crate::tool::Tool;

/// How often unmounting is tried, and how long each time is waited. Tests in other threads start
/// programs, and those hold a copy of every open file for a moment.
const UNMOUNT_TRIES: u32 = 100;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// A mounted filesystem, unmounted when dropped. Needs root.
#[derive(Debug)]
pub struct Mount {
    folder: TempDir,
}

impl Mount {
    /// Mounts `device` with `options` as `mount -o` takes them, on a folder of its own.
    ///
    /// # Errors
    /// Says what mount said.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    pub fn new(device: &Path, options: &str) -> Result<Self, String> {
        Self::below(&std::env::temp_dir(), device, options)
    }

    /// As [`Mount::new`], on a folder within `parent`.
    ///
    /// # Errors
    /// Says what mount said.
    ///
    /// # Panics
    /// As [`Mount::new`].
    pub fn below(parent: &Path, device: &Path, options: &str) -> Result<Self, String> {
        Self::by(Tool::new("mount").args(["-o", options]).arg(device), parent)
    }

    /// Mounts a filesystem of so many bytes in memory, on a folder of its own: a disk that gets full.
    ///
    /// # Panics
    /// Where it can't be made.
    #[must_use]
    pub fn in_memory(bytes: u64) -> Self {
        let options = format!("size={bytes}");
        let mount = Tool::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]);
        let mounted = Self::by(mount, &std::env::temp_dir());
        mounted.unwrap_or_else(|said| panic!("no filesystem in memory: {said}"))
    }

    /// Has `mount` mount on a folder within `parent`.
    fn by(mount: Tool, parent: &Path) -> Result<Self, String> {
        let folder = TempDir::new_in(parent);
        let folder = folder.unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let (code, said) = mount.arg(folder.path()).outcome();
        if code == Some(0) {
            Ok(Self { folder })
        } else {
            Err(said)
        }
    }

    /// Returns the folder under which the files are seen.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.folder.path();
        for _ in 0..UNMOUNT_TRIES {
            let (code, _) = Tool::new("umount").arg(path).outcome();
            if code == Some(0) {
                return;
            }
            sleep(UNMOUNT_PAUSE);
        }
        // Somebody still looks in: let go of the name at least, so that nothing is deleted
        // through it when the folder goes.
        Tool::new("umount").arg("--lazy").arg(path).outcome();
    }
}
