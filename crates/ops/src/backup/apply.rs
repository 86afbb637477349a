//! Doing what the plan of a backup says.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_copy::{Attendant, Health, Outcome, Unattended};
use cardkeep_device::Machine;
use cardkeep_survey::Place;

use crate::backup::image_sink::ImageSink;
use crate::backup::plan::BackupSession;
use crate::backup::request::SecondReading;
use crate::backup::sink::{BackupSink, BackupSource, Stored, Verified};
use crate::backup::stream_sink::StreamSink;
use crate::error::OpError;
use crate::fingerprint::telling_places;
use crate::lost::{Lost, tell_lost};
use crate::returning::{Absentee, Returning};
use crate::second_reading::read_again;

/// What was done.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The image; `None` for a stream.
    pub image: Option<PathBuf>,
    /// What the copy did.
    pub outcome: Outcome,
    /// How it was verified.
    pub verified: Verified,
    /// What could not be read, by name; empty for a card that did not fail. A file with two names is
    /// there twice.
    pub lost: Vec<Place>,
    /// How many bytes that are.
    pub lost_bytes: u64,
    /// What read differently a second time.
    pub unstable: Vec<Place>,
    /// How well the card reads; `None` for a stream, whose card must not fail.
    pub health: Option<Health>,
    /// How long it took, from the first byte copied to the last one verified.
    pub elapsed: Duration,
}

/// Does what the plan says. `stream` takes the image where its target is a stream.
///
/// # Errors
/// [`OpError`]. No file has the image's name then. What was written of it stays beside it for
/// [`Resume::Yes`](crate::Resume::Yes), where that can resume it.
pub fn apply(
    machine: &Arc<dyn Machine>,
    session: &BackupSession,
    stream: &mut (dyn Write + Send),
    monitor: &Arc<dyn Monitor>,
) -> Result<BackupReport, OpError> {
    let started = Instant::now();
    let source = source(machine, session, monitor);
    let mut sink: Box<dyn BackupSink + '_> = match session.files() {
        Some(files) => Box::new(ImageSink::new(files.clone())),
        None => Box::new(StreamSink::new(stream)),
    };
    sink.begin(&source)?;
    let stored = sink.store(&source)?;
    sink.finish(&source, &stored)?;
    drop(sink);
    reported(session, stored, started, &**monitor)
}

/// Returns what is read: the card; if it is a device and disappears, reads wait for it.
fn source<'a>(
    machine: &Arc<dyn Machine>,
    session: &'a BackupSession,
    monitor: &Arc<dyn Monitor>,
) -> BackupSource<'a> {
    let plan = &session.plan;
    let (medium, attendant): (Arc<dyn ReadAt>, Arc<dyn Attendant>) = match plan.device() {
        Some(device) => {
            let card = Absentee {
                device: device.clone(),
                slot: Arc::clone(session.slot()),
                content: Arc::clone(session.content()),
                telling: telling_places(&plan.survey),
                patience: plan.request.patience,
            };
            let returning = Returning::new(Arc::clone(machine), card, Arc::clone(monitor));
            let returning = Arc::new(returning);
            (Arc::clone(&returning) as Arc<dyn ReadAt>, returning)
        }
        None => (Arc::clone(session.content()), Arc::new(Unattended)),
    };
    BackupSource {
        plan,
        medium,
        map: Arc::new(plan.contents().map.clone()),
        attendant,
        monitor: Arc::clone(monitor),
    }
}

/// Reads the card once more where that is wanted, and tells what was lost.
fn reported(
    session: &BackupSession,
    stored: Stored,
    started: Instant,
    monitor: &dyn Monitor,
) -> Result<BackupReport, OpError> {
    let plan = &session.plan;
    let unstable = match (&plan.image, plan.request.second_reading) {
        (Some(image), SecondReading::Yes) => read_again(session, image, &stored, monitor)?,
        _ => Vec::new(),
    };
    let medium = (&**session.content(), plan.contents());
    Ok(BackupReport {
        image: plan.image.clone(),
        verified: stored.verified,
        outcome: stored.outcome,
        lost: tell_lost(medium, &stored.lost, Lost::Now, monitor),
        lost_bytes: stored.lost.iter().map(|extent| extent.len()).sum(),
        unstable,
        health: stored.health,
        elapsed: started.elapsed(),
    })
}
