//! How far a run was when it was struck.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::Running;

/// How far a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The card was looked at; nothing was copied yet.
    Mapping,
    Copying,
    /// All was read or written once: it was read back, made durable, named.
    Finishing,
    Over,
}

pub(crate) const STAGES: [Stage; 4] = [
    Stage::Mapping,
    Stage::Copying,
    Stage::Finishing,
    Stage::Over,
];

impl Stage {
    /// Tells it of a backup, by what is there. Bytes read to find out what is on the card count as
    /// read, so that the end of copying is told a little early.
    pub(crate) fn of_backup(image: &Path, is_all_read: bool) -> Self {
        let partial = format!("{}.partial", image.display());
        match (Path::new(&partial).exists(), is_all_read) {
            _ if image.exists() => Self::Over,
            (false, _) => Self::Mapping,
            (true, false) => Self::Copying,
            (true, true) => Self::Finishing,
        }
    }

    /// Tells it of a restore, by what the card was given.
    pub(crate) const fn of_restore(written: u64, used: u64) -> Self {
        match written {
            0 => Self::Mapping,
            _ if written < used => Self::Copying,
            _ => Self::Finishing,
        }
    }
}

/// Sends a signal at a moment, and lets a run that it stops go on after a while. Returns how far the run
/// was, as `stage` tells.
pub(crate) fn strike_at(
    running: &mut Running,
    signal: Signal,
    moment: Duration,
    stage: impl Fn() -> Stage,
) -> Stage {
    std::thread::sleep(moment);
    let is_over = running.is_done();
    let stage = if is_over { Stage::Over } else { stage() };
    running.signal(signal);
    if signal == Signal::STOP {
        std::thread::sleep(Duration::from_millis(100));
        running.signal(Signal::CONT);
    }
    stage
}
