//! Choosing the card: the only removable one there is, or the one that the user names.

use cardkeep_device::{Device, Guard, Machine, Transport, Verdict, verdict};

use crate::error::{OpError, OpErrorKind};

/// A card that could be meant.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The device.
    pub device: Device,
}

/// What choosing came to.
#[derive(Clone, Debug)]
pub enum Choice {
    /// There is just one.
    Only(Box<Candidate>),
    /// There are several: ask, or let the user name one.
    Several(Vec<Candidate>),
}

/// Returns the removable cards of this machine that hold a medium and not the running system.
///
/// # Errors
/// [`OpErrorKind::Environment`] where the machine's devices can't be listed.
pub fn cards(machine: &dyn Machine) -> Result<Vec<Candidate>, OpError> {
    let devices = devices(machine)?.into_iter().filter(is_card);
    Ok(devices.map(|device| Candidate { device }).collect())
}

/// Returns all devices of the machine.
pub(crate) fn devices(machine: &dyn Machine) -> Result<Vec<Device>, OpError> {
    machine.devices().map_err(|error| {
        let message = "this machine's disks can't be listed";
        OpError::new(OpErrorKind::Environment, message).caused_by(error)
    })
}

/// Tells whether a device is something that a user would call a card: not the system's disk, not
/// built in, and not empty. Being mounted or write-protected does not matter for reading.
fn is_card(device: &Device) -> bool {
    // A file made to look like a disk is nobody's card unless it is named.
    if device.transport == Transport::Loop {
        return false;
    }
    match verdict(device) {
        Verdict::Free => true,
        Verdict::Guarded(guards) => guards
            .iter()
            .all(|guard| matches!(guard, Guard::ReadOnly | Guard::MountedElsewhere { .. })),
    }
}

/// Chooses the card to read when the user named none.
///
/// # Errors
/// [`OpErrorKind::Usage`] where there is none.
pub fn choose(machine: &dyn Machine) -> Result<Choice, OpError> {
    let mut cards = cards(machine)?;
    match cards.len() {
        0 => Err(OpError::new(OpErrorKind::Usage, "no card was found")
            .hint("put one in, or name it: `cardkeep backup /dev/...`")
            .hint("`cardkeep list --all` shows every disk and why it is guarded")),
        1 => Ok(Choice::Only(Box::new(cards.remove(0)))),
        _ => Ok(Choice::Several(cards)),
    }
}
