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
/// Below a device in sysfs: Linux, Documentation/ABI/stable/sysfs-block.
const REQUEST_KIB: &str = "queue/max_sectors_kb";
const STAT_READ_SECTORS: usize = 2;
const STAT_WRITE_SECTORS: usize = 6;

/// What a device reads and writes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorSize {
    /// As cards have.
    Bytes512,
    /// As some disks have.
    Bytes4096,
}

/// How fast a device is, in bytes per second; 0 is as fast as it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Reading.
    pub read_bps: u64,
    /// Writing.
    pub write_bps: u64,
}

/// A loop device, detached when dropped. Needs root.
#[derive(Debug)]
pub struct Loop {
    path: PathBuf,
    /// The counters survive from the device's earlier lives.
    before: Counters,
    /// How large its requests could be, in KiB, before they were bounded.
    request_kib: Option<String>,
}

/// Sectors of [`STAT_SECTOR_BYTES`] that passed.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    read: u64,
    written: u64,
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

    /// Attaches all of `file` with sectors of a size.
    ///
    /// # Panics
    /// As [`Loop::attach`].
    #[must_use]
    pub fn with_sectors(file: &Path, sectors: SectorSize) -> Self {
        let size = match sectors {
            SectorSize::Bytes512 => "512",
            SectorSize::Bytes4096 => "4096",
        };
        Self::losetup(file, &["--sector-size", size])
    }

    /// Attaches all of `file` as a device of which the kernel knows one partition. Returns the
    /// partition's path too.
    ///
    /// # Panics
    /// As [`Loop::attach`], and where the kernel does not take the partition.
    #[must_use]
    pub fn with_partition(file: &Path, extent: Extent) -> (Self, PathBuf) {
        // Told here, not found: not every kernel reads partition tables.
        let device = Self::losetup(file, &["--partscan"]);
        let path = PathBuf::from(format!("{}p1", device.path.display()));
        if !path.exists() {
            let in_sectors = [extent.start(), extent.len()].map(|bytes| bytes / STAT_SECTOR_BYTES);
            Tool::new("addpart")
                .arg(&device.path)
                .arg("1")
                .args(in_sectors.map(|count| count.to_string()))
                .run();
        }
        (device, path)
    }

    /// Attaches all of `file` as a device that reads at most `read_mbps` million bytes per second.
    ///
    /// # Errors
    /// What the system says where there is no blkio cgroup of version 1.
    ///
    /// # Panics
    /// As [`Loop::attach`].
    pub fn throttled(file: &Path, read_mbps: u64) -> io::Result<Self> {
        let device = Self::attach(file);
        device.throttle(Throttle {
            read_bps: read_mbps.saturating_mul(1_000_000),
            write_bps: 0,
        })?;
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
            before: Counters::default(),
            request_kib: None,
        };
        device.before = device.counters().unwrap_or_default();
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
        let sectors = self.counters()?.read.saturating_sub(self.before.read);
        Ok(sectors.saturating_mul(STAT_SECTOR_BYTES))
    }

    /// Returns how many bytes were written to the device since it was attached.
    ///
    /// # Errors
    /// What reading sysfs reports.
    pub fn bytes_written(&self) -> io::Result<u64> {
        let sectors = self.counters()?.written.saturating_sub(self.before.written);
        Ok(sectors.saturating_mul(STAT_SECTOR_BYTES))
    }

    fn counters(&self) -> io::Result<Counters> {
        let stat = fs::read_to_string(self.sys().join("stat"))?;
        let number = |index| {
            let word = stat.split_whitespace().nth(index);
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Ok(Counters {
            read: number(STAT_READ_SECTORS),
            written: number(STAT_WRITE_SECTORS),
        })
    }

    /// Makes the kernel cut requests to at most `kib` KiB.
    ///
    /// # Errors
    /// What the system says.
    pub fn bound_requests(&mut self, kib: u32) -> io::Result<()> {
        let file = self.sys().join(REQUEST_KIB);
        self.request_kib = Some(fs::read_to_string(&file)?);
        fs::write(file, kib.to_string())
    }

    fn sys(&self) -> PathBuf {
        Path::new("/sys/block").join(self.path.file_name().unwrap_or_default())
    }

    /// Gives the device a speed, also while it is in use.
    ///
    /// # Errors
    /// What the system says where there is no blkio cgroup of version 1.
    pub fn throttle(&self, speed: Throttle) -> io::Result<()> {
        let number = fs::read_to_string(self.sys().join("dev"))?;
        for (direction, bps) in [("read", speed.read_bps), ("write", speed.write_bps)] {
            let file = format!("blkio.throttle.{direction}_bps_device");
            let rule = format!("{} {bps}", number.trim());
            fs::write(Path::new(BLKIO).join(file), rule)?;
        }
        Ok(())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The number is used again by the next device: a limit left behind would slow it. There
        // is none to lift where none could be set.
        self.throttle(Throttle::default()).ok();
        if let Some(kib) = &self.request_kib {
            // As above: where it could be bounded, it can be set back.
            fs::write(self.sys().join(REQUEST_KIB), kib).ok();
        }
        let path = self.path.as_os_str();
        Tool::new("losetup").arg("--detach").arg(path).outcome();
    }
}

#[cfg(test)]
mod tests {
    use super::{Loop, SectorSize, Throttle};
    use crate::skip::skip_unless_root;
    use cardkeep_block::Extent;
    use std::io::{Read, Write};

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

    #[test]
    fn a_loop_has_its_sectors_and_a_speed_in_each_direction() {
        let test = "a_loop_has_its_sectors_and_a_speed_in_each_direction";
        if skip_unless_root(test) {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let device = Loop::with_sectors(file.path(), SectorSize::Bytes4096);
        let setting = |name: &str| std::fs::read_to_string(device.sys().join(name)).unwrap();
        assert_eq!(setting("queue/logical_block_size").trim(), "4096");
        assert_eq!(setting("loop/dio").trim(), "1", "the card is cached twice");
        let slow = Throttle {
            read_bps: 0,
            write_bps: 20_000_000,
        };
        if device.throttle(slow).is_err() {
            return crate::skip(test, "the blkio cgroup, version 1");
        }
        let seconds = |bytes: &[u8]| {
            let started = std::time::Instant::now();
            let written = std::fs::File::options().write(true).open(device.path());
            let mut written = written.unwrap();
            written.write_all(bytes).unwrap();
            written.sync_all().unwrap();
            started.elapsed().as_secs_f64()
        };
        let limited = seconds(&[1; 8 << 20]);
        assert!(limited > 0.3, "8 MiB at 20 MB/s took {limited} s");
        assert_eq!(device.bytes_written().unwrap(), 8 << 20);
        device.throttle(Throttle::default()).unwrap();
        let free = seconds(&[2; 8 << 20]);
        assert!(free < limited, "{free} s without a limit, {limited} s with");
    }
}
