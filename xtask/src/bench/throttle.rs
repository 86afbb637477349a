//! A card's speed: the kernel holds one device to so many bytes per second, both ways.
//!
//! The limit sits in the *root* blkio cgroup (version 1): a child's would let the kernel's own
//! writeback pass (tried on Linux 6.18, 2026-11).

use std::fs;
use std::path::Path;

use cardkeep_testkit::Loop;

const BLKIO: &str = "/sys/fs/cgroup/blkio";

/// A limit, lifted when dropped; must be dropped before its device, whose number is used again.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// The kernel's numbers of the device, `major:minor`.
    number: String,
}

impl Throttle {
    /// Holds `device` to speeds in million bytes per second.
    ///
    /// # Errors
    /// Says that there is no blkio cgroup of version 1.
    pub(crate) fn hold(device: &Loop, read_mbps: u64, write_mbps: u64) -> Result<Self, String> {
        let name = device.path().file_name().unwrap_or_default();
        let path = Path::new("/sys/block").join(name).join("dev");
        let number = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let throttle = Self {
            number: number.trim().to_owned(),
        };
        throttle.limit("read", read_mbps)?;
        throttle.limit("write", write_mbps)?;
        Ok(throttle)
    }

    /// Sets one limit; 0 lifts it.
    fn limit(&self, direction: &str, mbps: u64) -> Result<(), String> {
        let path = Path::new(BLKIO).join(format!("blkio.throttle.{direction}_bps_device"));
        let rule = format!("{} {}", self.number, mbps.saturating_mul(1_000_000));
        fs::write(&path, rule).map_err(|e| format!("no limit: {}: {e}", path.display()))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        for direction in ["read", "write"] {
            if let Err(error) = self.limit(direction, 0) {
                eprintln!("the limit of {} stays: {error}", self.number);
            }
        }
    }
}
