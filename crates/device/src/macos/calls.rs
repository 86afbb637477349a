//! Calling `diskutil`, and from paths to its names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardkeep_block::{BlockError, BlockErrorKind, Operation};

use super::diskutil::{Infos, Listed, devices, parse_info, parse_list};
use super::opening::opened_path;
use crate::device::{Access, Device};
use crate::eject_error::EjectError;
use crate::filesystem::nearest_existing;
use crate::machine::{Machine, UnmountError};
use crate::transfer::system_error;
use crate::user::permission_hint;
use crate::verdict::{Guard, Verdict, verdict};

/// The program that knows the disks of macOS: diskutil(8).
const DISKUTIL: &str = "/usr/sbin/diskutil";

/// A Mac: this one.
#[derive(Clone, Copy, Debug, Default)]
pub struct MacOs;

impl Machine for MacOs {
    fn devices(&self) -> Result<Vec<Device>, BlockError> {
        let text = output(&["list", "-plist"])?;
        let list = parse_list(&text).ok_or_else(|| {
            let error = BlockError::new(BlockErrorKind::Io, Operation::Open);
            error.caused_by("diskutil list did not print a list of disks")
        })?;
        let mut found = devices(&list, &infos(&list));
        for device in &mut found {
            device.access = access(&opened_path(&device.path));
        }
        Ok(found)
    }

    fn device_of_path(&self, path: &Path) -> Result<Option<Device>, BlockError> {
        let real = resolved(path)?;
        let names = |device: &Device| {
            device.path == real || device.partitions.iter().any(|part| part.path == real)
        };
        Ok(self.devices()?.into_iter().find(names))
    }

    fn partition_of_path(&self, path: &Path) -> Result<Option<u32>, BlockError> {
        let real = resolved(path)?;
        let device = self.device_of_path(path)?;
        let parts = device.iter().flat_map(|device| &device.partitions);
        let mut named = parts.filter(|part| part.path == real);
        Ok(named.next().map(|part| part.number))
    }

    fn device_holding(&self, file: &Path) -> Result<Option<String>, BlockError> {
        let absolute = std::path::absolute(file).map_err(|e| system_error(Operation::Open, e))?;
        let folder = std::fs::canonicalize(nearest_existing(&absolute))
            .map_err(|error| system_error(Operation::Open, error))?;
        let deepest = |device: &Device| {
            let targets = device.mounts.iter().map(|mount| &mount.target);
            let holding = targets.filter(|target| folder.starts_with(target));
            holding.map(|target| target.as_os_str().len()).max()
        };
        let holding = self
            .devices()?
            .into_iter()
            .filter_map(|d| Some((deepest(&d)?, d.name)));
        Ok(holding.max().map(|(_, name)| name))
    }

    fn unmount(&self, device: &Device) -> Result<(), UnmountError> {
        let by_hand = format!("run: diskutil unmountDisk {}", device.path.display());
        if let Verdict::Guarded(guards) = verdict(device) {
            for guard in guards {
                if let Guard::SystemDisk { mounted_at } = &guard {
                    let hint = "choose another device";
                    return Err(UnmountError::new(mounted_at, guard.to_string(), hint));
                }
            }
        }
        let path = device.path.to_string_lossy();
        output(&["unmountDisk", &*path])
            .map(drop)
            .map_err(|error| UnmountError::new(&device.path, said(&error), by_hand))
    }

    fn eject(&self, device: &Device) -> Result<(), EjectError> {
        let failed = |why: String, hint: &str| EjectError::new(&device.path, why, hint);
        let again = "list the devices again";
        // The use of now counts, and that of the very disk that was looked at.
        let devices = self
            .devices()
            .map_err(|error| failed(said(&error), again))?;
        let same = |other: &&Device| {
            other.name == device.name
                && other.size_bytes == device.size_bytes
                && other.model == device.model
        };
        let Some(fresh) = devices.iter().find(same) else {
            return Err(failed("it was taken out or changed".to_owned(), again));
        };
        if let Some(guard) = need_for(fresh) {
            let hint = "leave it inserted, or free it first";
            return Err(failed(guard.to_string(), hint));
        }
        let path = device.path.to_string_lossy();
        output(&["eject", &*path])
            .map(drop)
            .map_err(|error| failed(said(&error), &format!("run: diskutil eject {path}")))
    }
}

/// Returns why a disk is needed where it is, if it is. diskutil unmounts by itself.
fn need_for(device: &Device) -> Option<Guard> {
    let Verdict::Guarded(guards) = verdict(device) else {
        return None;
    };
    let is_need = |guard: &Guard| !matches!(guard, Guard::ReadOnly | Guard::NoMedia);
    guards.into_iter().find(is_need)
}

/// Returns what diskutil or the system said.
fn said(error: &BlockError) -> String {
    use std::error::Error;
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Asks about every disk and partition. One that diskutil fails on is missing, and its device
/// says so.
fn infos(list: &[Listed]) -> Infos {
    let disks = list.iter().filter(|disk| disk.is_disk());
    let names = disks.flat_map(|disk| std::iter::once(&disk.name).chain(&disk.partitions));
    let info = |name: &String| {
        let text = output(&["info", "-plist", name]).ok()?;
        Some((name.clone(), parse_info(&text)?))
    };
    names.filter_map(info).collect()
}

fn output(args: &[&str]) -> Result<Vec<u8>, BlockError> {
    let output = Command::new(DISKUTIL)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| system_error(Operation::Open, error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let error = BlockError::new(BlockErrorKind::Io, Operation::Open);
    Err(error.caused_by(format!("diskutil {} failed: {said}", args.join(" "))))
}

/// Returns the path without links and with the buffered device's name: diskutil knows no others.
fn resolved(path: &Path) -> Result<PathBuf, BlockError> {
    let real = std::fs::canonicalize(path).map_err(|e| system_error(Operation::Open, e))?;
    let raw = real
        .to_str()
        .and_then(|real| real.strip_prefix("/dev/rdisk"));
    let buffered = raw.map(|rest| PathBuf::from(format!("/dev/disk{rest}")));
    Ok(buffered.unwrap_or(real))
}

fn access(path: &Path) -> Access {
    use rustix::fs::{Access as Mode, AtFlags, CWD, accessat};
    match accessat(CWD, path, Mode::READ_OK, AtFlags::EACCESS) {
        Ok(()) => Access::Ok,
        Err(_) => Access::Denied {
            hint: permission_hint(path),
        },
    }
}
