//! Making a card ready to be taken out: by the drive itself for root, by udisks for others.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cardkeep_block::Silent;

use crate::device::{Device, Transport};
use crate::eject_error::EjectError;
use crate::permission::open_asking;
use crate::purpose::Purpose;
use crate::user::effective_user_is_root;
use crate::verdict::{Guard, Verdict, verdict};

use super::udisks::Udisks;
use super::unmount;

/// `CDROMEJECT`: linux/cdrom.h. SCSI disks, and so USB ones, take it too and stop with their
/// medium let go: drivers/scsi/scsi_ioctl.c, `scsi_send_start_stop`.
const CDROMEJECT: libc::Ioctl = 0x5309;

/// Unmounts a device, waits for its writes and lets go of its medium.
pub(super) fn eject(device: &Device) -> Result<(), EjectError> {
    refuse_needed(device)?;
    unmount::unmount(device).map_err(|error| {
        let hint = error.hint.clone();
        EjectError::new(&device.path, error.to_string(), hint)
    })?;
    match device.transport {
        // A slot has nothing to let go with, and a loop device is never taken out.
        Transport::Mmc | Transport::Loop => wait_for_writes(&device.path),
        Transport::Usb | Transport::Scsi | Transport::Sata if effective_user_is_root() => {
            wait_for_writes(&device.path)?;
            let said = |error: io::Error| failed(&device.path, error.to_string());
            ask_drive(&device.path).map_err(said)
        }
        Transport::Usb => power_off_by_udisks(&device.path),
        other => Err(EjectError::new(
            &device.path,
            format!("a {other} device can't be ejected by a program"),
            "shut the machine down before you take it out",
        )),
    }
}

/// Refuses a device that the running system needs, or that something is built on.
fn refuse_needed(device: &Device) -> Result<(), EjectError> {
    let Verdict::Guarded(guards) = verdict(device) else {
        return Ok(());
    };
    let is_needed = |guard: &&Guard| !matches!(guard, Guard::ReadOnly | Guard::NoMedia);
    match guards.iter().find(is_needed) {
        None => Ok(()),
        Some(guard) => Err(EjectError::new(
            &device.path,
            guard.to_string(),
            "leave it inserted, or free it first",
        )),
    }
}

fn wait_for_writes(path: &Path) -> Result<(), EjectError> {
    let opened = open_asking(path, Purpose::Read, &Silent);
    let opened = opened.map_err(|error| failed(path, error.to_string()))?;
    let synced = opened.file.sync_all();
    synced.map_err(|error| failed(path, error.to_string()))
}

#[allow(unsafe_code)]
fn ask_drive(path: &Path) -> io::Result<()> {
    // A drive opens without a medium only where one does not wait for it: open(2), O_NONBLOCK.
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    // SAFETY: the descriptor is open while `file` lives; the request takes no argument.
    match unsafe { libc::ioctl(file.as_raw_fd(), CDROMEJECT, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn power_off_by_udisks(path: &Path) -> Result<(), EjectError> {
    let result = Udisks::of_system().power_off(path, &Silent);
    result.map_err(|why| failed(path, why.to_string()))
}

fn failed(path: &Path, why: impl Into<String>) -> EjectError {
    EjectError::new(path, why, format!("run: sudo eject {}", path.display()))
}
