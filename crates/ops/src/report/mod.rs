//! What every door tells programs: results and events as types that serialize to the JSON of
//! `docs/reference.md`.
//!
//! Sizes, lengths and offsets are in bytes. A field that is not known is `null`. Main types:
//! [`Document`], the result of a command, and [`Event`], a line during the work.

mod backup;
mod contents;
mod device;
mod info;
mod restore;
mod verify;

pub use backup::{BackupDone, BackupDryRun};
pub use contents::Contents;
pub use device::{DeviceFields, ListedDevices};
pub use info::InfoFields;
pub use restore::{RestoreDone, RestoreDryRun};
pub use verify::VerifyFields;

use cardkeep_block::{Extent, Phase, causes};
use cardkeep_survey::Place;
use serde::Serialize;

use crate::OpError;

/// The version of the schema. It grows when a field changes its meaning or goes; new fields may
/// come at any time.
const SCHEMA: u32 = 1;

/// The result of a command.
#[derive(Clone, Debug, Serialize)]
pub struct Document<T> {
    schema: u32,
    command: &'static str,
    #[serde(flatten)]
    fields: T,
}

impl<T: Serialize> Document<T> {
    /// Returns the result of this command.
    pub const fn new(command: &'static str, fields: T) -> Self {
        Self {
            schema: SCHEMA,
            command,
            fields,
        }
    }
}

/// A line during the work.
#[derive(Clone, Debug, Serialize)]
pub struct Event<T> {
    schema: u32,
    event: &'static str,
    #[serde(flatten)]
    fields: T,
}

impl<T: Serialize> Event<T> {
    /// Returns the result of a command whose standard output carries an image.
    pub const fn done(fields: T) -> Self {
        Self::new("done", fields)
    }

    const fn new(event: &'static str, fields: T) -> Self {
        Self {
            schema: SCHEMA,
            event,
            fields,
        }
    }
}

/// How far the work is.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    phase: &'static str,
    done_bytes: u64,
    total_bytes: Option<u64>,
    bytes_per_second: u64,
    seconds_left: Option<u64>,
}

impl Event<Progress> {
    /// Returns how far a phase is, in bytes; `speed` is in bytes a second.
    #[must_use]
    pub fn progress(phase: Phase, done: u64, total: Option<u64>, speed: f64) -> Self {
        let left = total
            .filter(|_| speed > 0.0)
            .map(|total| total.saturating_sub(done) as f64 / speed);
        let fields = Progress {
            phase: phase_name(phase),
            done_bytes: done,
            total_bytes: total,
            bytes_per_second: speed as u64,
            seconds_left: left.map(|left| left.round() as u64),
        };
        Self::new("progress", fields)
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Survey => "survey",
        Phase::Probe => "probe",
        Phase::Copy => "copy",
        Phase::Rescue => "rescue",
        Phase::Verify => "verify",
        Phase::Permission => "permission",
        _ => "other",
    }
}

/// Something that went wrong without ending the work.
#[derive(Clone, Debug, Serialize)]
pub struct Trouble {
    message: String,
    start: Option<u64>,
    len: Option<u64>,
}

impl From<&cardkeep_block::Trouble> for Trouble {
    fn from(trouble: &cardkeep_block::Trouble) -> Self {
        Self {
            message: trouble.message.clone(),
            start: trouble.extent.map(Extent::start),
            len: trouble.extent.map(Extent::len),
        }
    }
}

impl Event<Trouble> {
    /// Returns something that went wrong without ending the work.
    #[must_use]
    pub fn trouble(trouble: &cardkeep_block::Trouble) -> Self {
        Self::new("trouble", trouble.into())
    }
}

fn troubles(troubles: &[cardkeep_block::Trouble]) -> Vec<Trouble> {
    troubles.iter().map(Trouble::from).collect()
}

/// Why the work ended.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    exit_code: u8,
}

impl Event<Failure> {
    /// Returns an error, with the code that the program ends with.
    #[must_use]
    pub fn error(error: &OpError, exit_code: u8) -> Self {
        let fields = Failure {
            message: error.message.clone(),
            causes: causes(error).map(ToString::to_string).collect(),
            hints: error.hints.iter().map(|hint| hint.0.clone()).collect(),
            exit_code,
        };
        Self::new("error", fields)
    }
}

/// A part of a medium, and whose it is.
#[derive(Clone, Debug, Serialize)]
struct PlaceFields {
    start: u64,
    len: u64,
    partition: Option<u32>,
    path: Option<String>,
    what: Option<String>,
}

impl From<&Place> for PlaceFields {
    fn from(place: &Place) -> Self {
        Self {
            start: place.extent.start(),
            len: place.extent.len(),
            partition: place.partition,
            path: place.path.clone(),
            what: place.what.map(|what| what.to_string()),
        }
    }
}

fn places(places: &[Place]) -> Vec<PlaceFields> {
    places.iter().map(PlaceFields::from).collect()
}

/// Returns extents as pairs of start and length.
fn pairs(extents: impl Iterator<Item = Extent>) -> Vec<[u64; 2]> {
    extents
        .map(|extent| [extent.start(), extent.len()])
        .collect()
}
