//! Unmounting a card: by the kernel for root, by udisks for everybody else.

use std::path::Path;

use cardkeep_block::Silent;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::device::{Device, Mount};
use crate::machine::UnmountError;
use crate::user::effective_user_is_root;
use crate::verdict::{Guard, Verdict, verdict};

use super::udisks::{Udisks, Unserved};

/// Unmounts all of a device's mounts, the last first.
pub(super) fn unmount(device: &Device) -> Result<(), UnmountError> {
    if let Verdict::Guarded(guards) = verdict(device) {
        for guard in guards {
            refuse(&guard)?;
        }
    }
    for mount in device.mounts.iter().rev() {
        match effective_user_is_root() {
            true => unmount_as_root(&mount.target)?,
            false => unmount_by_udisks(mount)?,
        }
    }
    Ok(())
}

/// Refuses to take the ground from under the running system; all else is only inconvenient.
fn refuse(guard: &Guard) -> Result<(), UnmountError> {
    match guard {
        Guard::SystemDisk { mounted_at } => Err(UnmountError::new(
            mounted_at,
            guard.to_string(),
            "choose another device",
        )),
        Guard::SwapInUse { path } => {
            let hint = format!(
                "choose another device, or run: sudo swapoff {}",
                path.display()
            );
            Err(UnmountError::new(path, guard.to_string(), hint))
        }
        _ => Ok(()),
    }
}

fn unmount_as_root(target: &Path) -> Result<(), UnmountError> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        // EINVAL: no longer a mount point. It went with a mount that covered it.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(Errno::BUSY) => Err(in_use(target)),
        Err(error) => Err(UnmountError::new(
            target,
            error.to_string(),
            by_hand(target),
        )),
    }
}

fn unmount_by_udisks(mount: &Mount) -> Result<(), UnmountError> {
    let target = &mount.target;
    let result = Udisks::of_system().unmount(Path::new(&mount.source), &Silent);
    result.map_err(|why| match why {
        Unserved::Failed { name, .. } if name == "DeviceBusy" => in_use(target),
        why => UnmountError::new(target, why.to_string(), by_hand(target)),
    })
}

fn in_use(target: &Path) -> UnmountError {
    UnmountError::new(
        target,
        "a program still uses it",
        format!(
            "close what uses it; to see what does: fuser -vm {}",
            target.display()
        ),
    )
}

fn by_hand(target: &Path) -> String {
    format!("run: sudo umount '{}'", target.display())
}
