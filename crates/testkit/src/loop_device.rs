//! Files as block devices, at a card's speed where wanted.
//!
//! The speed limit sits in the *root* blkio cgroup (version 1) for this one device: a child's
//! limit would let the kernel's own writeback threads pass (tried on Linux 6.18, 2026-11).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;

use crate::tool::Tool;

const BLKIO: &str = "/sys/fs/cgroup/blkio";
/// `/sys/block/NAME/stat` counts sectors of 512 bytes whatever the device's own size
/// (Linux, Documentation/block/stat.rst).
const STAT_SECTOR_BYTES: u64 = 512;
const STAT_READ_SECTORS: usize = 2;

/// A loop device, detached when dropped. Needs root.
#[derive(Debug)]
pub struct Loop {
    path: PathBuf,
    is_throttled: bool,
    /// The counter survives from the device's earlier lives.
    sectors_read_before: u64,
}

impl Loop {
    /// Attaches all of `file`.
    ///
    /// # Panics
    /// Where losetup fails: the test's premise is broken.
    #[must_use]
    pub fn attach(file: &Path) -> Self {
        Self::losetup(file, &[])
    }

    /// Attaches one extent of `file`: a partition, which the kernel need not know of.
    ///
    /// # Panics
    /// As [`Loop::attach`].
    #[must_use]
    pub fn attach_extent(file: &Path, extent: Extent) -> Self {
        let offset = extent.start().to_string();
        let limit = extent.len().to_string();
        Self::losetup(file, &["-o", &offset, "--sizelimit", &limit])
    }

    /// Attaches all of `file` as a device that reads at most `read_mbps` million bytes per second.
    ///
    /// # Errors
    /// What the system says where there is no blkio cgroup of version 1.
    ///
    /// # Panics
    /// As [`Loop::attach`].
    pub fn throttled(file: &Path, read_mbps: u64) -> io::Result<Self> {
        let mut device = Self::attach(file);
        device.limit(read_mbps.saturating_mul(1_000_000))?;
        device.is_throttled = true;
        Ok(device)
    }

    fn losetup(file: &Path, options: &[&str]) -> Self {
        let said = Tool::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .args(options)
            .arg(file)
            .run();
        let mut device = Self {
            path: PathBuf::from(said.trim()),
            is_throttled: false,
            sectors_read_before: 0,
        };
        device.sectors_read_before = device.sectors_read().unwrap_or(0);
        device
    }

    /// Returns the device's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes were read from the device since it was attached.
    ///
    /// # Errors
    /// What reading sysfs reports.
    pub fn bytes_read(&self) -> io::Result<u64> {
        let sectors = self
            .sectors_read()?
            .saturating_sub(self.sectors_read_before);
        Ok(sectors.saturating_mul(STAT_SECTOR_BYTES))
    }

    fn sectors_read(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(self.sys().join("stat"))?;
        let sectors = stat.split_whitespace().nth(STAT_READ_SECTORS);
        Ok(sectors.and_then(|word| word.parse().ok()).unwrap_or(0))
    }

    fn sys(&self) -> PathBuf {
        Path::new("/sys/block").join(self.path.file_name().unwrap_or_default())
    }

    /// Sets the limit in bytes per second; 0 lifts it.
    fn limit(&self, bytes_per_second: u64) -> io::Result<()> {
        let number = fs::read_to_string(self.sys().join("dev"))?;
        let rule = format!("{} {bytes_per_second}", number.trim());
        fs::write(
            Path::new(BLKIO).join("blkio.throttle.read_bps_device"),
            rule,
        )
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if self.is_throttled {
            // The number is used again by the next device: a limit left behind would slow it.
            self.limit(0).ok();
        }
        let path = self.path.as_os_str();
        Tool::new("losetup").arg("--detach").arg(path).outcome();
    }
}

#[cfg(test)]
mod tests {
    use super::Loop;
    use crate::skip::skip_unless_root;
    use cardkeep_block::Extent;
    use std::io::Read;

    #[test]
    fn a_loop_shows_its_extent_and_counts_reads() {
        if skip_unless_root("a_loop_shows_its_extent_and_counts_reads") {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = vec![1; 1 << 20];
        bytes[4096..8192].fill(7);
        std::fs::write(file.path(), &bytes).unwrap();
        let path;
        {
            let device = Loop::attach_extent(file.path(), Extent::between(4096, 8192));
            path = device.path().to_path_buf();
            let mut read = Vec::new();
            std::fs::File::open(&path)
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            assert_eq!(read, [7; 4096]);
            assert_eq!(device.bytes_read().unwrap(), 4096);
        }
        let backing = std::path::Path::new("/sys/block")
            .join(path.file_name().unwrap())
            .join("loop/backing_file");
        let now = std::fs::read_to_string(backing).unwrap_or_default();
        assert_ne!(now.trim(), file.path().to_string_lossy(), "still attached");
    }

    #[test]
    fn a_throttled_loop_keeps_its_speed() {
        if skip_unless_root("a_throttled_loop_keeps_its_speed") {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![1; 8 << 20]).unwrap();
        let Ok(device) = Loop::throttled(file.path(), 20) else {
            return crate::skip(
                "a_throttled_loop_keeps_its_speed",
                "the blkio cgroup, version 1",
            );
        };
        let started = std::time::Instant::now();
        std::fs::read(device.path()).unwrap();
        let seconds = started.elapsed().as_secs_f64();
        assert!(seconds > 0.3, "8 MiB at 20 MB/s took {seconds} s");
    }
}
