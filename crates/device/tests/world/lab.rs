//! Loop devices and small filesystems for tests that need real ones. All of it needs root; a
//! test that can't have it says "skipped" and why.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells whether loop devices and mounts can be had, and says so where they can't.
pub(crate) fn is_open() -> bool {
    let has_root = cardkeep_device::effective_user_is_root();
    let free = Command::new("losetup")
        .arg("-f")
        .stderr(Stdio::null())
        .output();
    let is_open = has_root && free.is_ok_and(|output| output.status.success());
    if !is_open {
        eprintln!("skipped: needs root and loop devices");
    }
    is_open
}

/// Tells whether a program is installed, and says so where it isn't.
#[allow(
    dead_code,
    reason = "not every test file that takes this module makes filesystems"
)]
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        eprintln!("skipped: {tool} is not installed");
    }
    found.is_ok()
}

/// Tells whether the kernel knows a filesystem, and says so where it doesn't.
pub(crate) fn knows(fs_type: &str) -> bool {
    let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let knows = list.split_ascii_whitespace().any(|word| word == fs_type);
    if !knows {
        eprintln!("skipped: this kernel has no {fs_type}");
    }
    knows
}

/// Runs a command that must succeed, and returns its first line.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A file attached as a loop device, detached at the end of the test.
pub(crate) struct LoopDevice {
    pub(crate) path: PathBuf,
}

impl LoopDevice {
    pub(crate) fn attach(file: &Path, options: &[&str]) -> Self {
        let file = file.to_str().unwrap();
        let path = run("losetup", &[&["-f", "--show"], options, &[file]].concat());
        Self { path: path.into() }
    }

    pub(crate) fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // A test that failed half-way may leave it mounted; detaching is then done by the kernel
        // when the mount goes.
        let detach = Command::new("losetup").arg("-d").arg(&self.path).status();
        drop(detach);
    }
}

/// A mounted folder, unmounted at the end of the test.
pub(crate) struct Mounted {
    pub(crate) folder: PathBuf,
}

impl Mounted {
    pub(crate) fn mount(args: &[&str], folder: &Path) -> Self {
        run("mount", &[args, &[folder.to_str().unwrap()]].concat());
        let folder = folder.to_path_buf();
        Self { folder }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Where the test itself unmounted it there is nothing left to do.
        let unmount = Command::new("umount")
            .arg(&self.folder)
            .stderr(Stdio::null())
            .status();
        drop(unmount);
    }
}
