//! `list`: the cards, what is on them, and why each may or may not be written.

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_device::{Access, Device, Guard, Machine, Source, Verdict, verdict};
use cardkeep_survey::{Scope, Survey, survey};

use crate::card::devices;
use crate::error::OpError;

/// A device with what is known of it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The device.
    pub device: Device,
    /// Whether it may be written.
    pub verdict: Verdict,
    /// What is on it; `None` where it was not looked at or can't be opened.
    pub survey: Option<Survey>,
    /// Why it could not be looked at, in words.
    pub unread: Option<String>,
}

impl Listed {
    /// Tells whether the running system depends on it: hidden unless all are wanted.
    #[must_use]
    pub fn is_system(&self) -> bool {
        match &self.verdict {
            Verdict::Free => false,
            Verdict::Guarded(guards) => guards.iter().any(|guard| {
                matches!(
                    guard,
                    Guard::SystemDisk { .. }
                        | Guard::SwapInUse { .. }
                        | Guard::Fixed { .. }
                        | Guard::MemberOf(_)
                )
            }),
        }
    }
}

/// Returns all devices. Those that the system does not depend on are looked into.
///
/// # Errors
/// `Environment` where the machine's devices can't be listed at all.
pub fn list(machine: &dyn Machine, monitor: &dyn Monitor) -> Result<Vec<Listed>, OpError> {
    let devices = devices(machine)?.into_iter();
    Ok(devices.map(|device| look_into(device, monitor)).collect())
}

fn look_into(device: Device, monitor: &dyn Monitor) -> Listed {
    let verdict = verdict(&device);
    let mut listed = Listed {
        device,
        verdict,
        survey: None,
        unread: None,
    };
    if listed.is_system() || !listed.device.media_present {
        return listed;
    }
    if let Access::Denied { hint } = &listed.device.access {
        listed.unread = Some(format!("you may not read it: {hint}"));
        return listed;
    }
    match Source::open(&listed.device.path) {
        Ok(source) if source.len() > 0 => {
            listed.survey = Some(survey(
                &source,
                source.sector_bytes(),
                Scope::UsedOnly,
                monitor,
            ));
        }
        Ok(_) => {}
        Err(error) => listed.unread = Some(error.to_string()),
    }
    listed
}
