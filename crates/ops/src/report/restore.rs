//! What a restore, or a copy onto other cards, would do and did.

use cardkeep_block::{State, path_text};
use cardkeep_copy::WriteMode;
use serde::Serialize;

use super::contents::Contents;
use super::device::DeviceFields;
use super::{Trouble, troubles};
use crate::restore::{RestorePlan, RestoreReport, TargetPlan, TargetReport};

/// What a restore would do.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreDryRun {
    dry_run: bool,
    plan: PlanFields,
    troubles: Vec<Trouble>,
}

impl RestoreDryRun {
    /// Returns what the plan says, and what went wrong while it was made.
    #[must_use]
    pub fn new(plan: &RestorePlan, on_the_way: &[cardkeep_block::Trouble]) -> Self {
        Self {
            dry_run: true,
            plan: plan.into(),
            troubles: troubles(on_the_way),
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreDone {
    dry_run: bool,
    plan: PlanFields,
    targets: Vec<DoneFields>,
    seconds: f64,
    troubles: Vec<Trouble>,
}

impl RestoreDone {
    /// Returns what was done, and what went wrong on the way.
    #[must_use]
    pub fn new(
        plan: &RestorePlan,
        report: &RestoreReport,
        on_the_way: &[cardkeep_block::Trouble],
    ) -> Self {
        Self {
            dry_run: false,
            plan: plan.into(),
            targets: report.targets.iter().map(DoneFields::from).collect(),
            seconds: report.elapsed.as_secs_f64(),
            troubles: troubles(on_the_way),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct PlanFields {
    from: Option<String>,
    content_bytes: Option<u64>,
    os: Option<String>,
    hostname: Option<String>,
    mode: &'static str,
    verify: bool,
    notes: Vec<String>,
    targets: Vec<TargetFields>,
}

impl From<&RestorePlan> for PlanFields {
    fn from(plan: &RestorePlan) -> Self {
        let identity = plan.origin.identity();
        let from = plan.origin.path();
        Self {
            from: from.map(|path| path_text(path).to_string()),
            content_bytes: plan.origin.len,
            os: identity.os.clone(),
            hostname: identity.hostname.clone(),
            mode: match plan.mode {
                WriteMode::All => "all",
                WriteMode::Differing => "delta",
                WriteMode::Resumed => "resume",
            },
            verify: plan.verify,
            notes: plan.notes(),
            targets: plan.targets.iter().map(TargetFields::from).collect(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct TargetFields {
    path: String,
    size_bytes: u64,
    device: Option<DeviceFields>,
    erases: Option<Contents>,
    used_bytes: u64,
    zero_bytes: u64,
    changes: Vec<String>,
}

impl From<&TargetPlan> for TargetFields {
    fn from(target: &TargetPlan) -> Self {
        Self {
            path: path_text(&target.path).to_string(),
            size_bytes: target.len,
            device: target.device.as_ref().map(DeviceFields::from),
            erases: target.contents.as_ref().map(Contents::from),
            used_bytes: target.fit.map.bytes(State::Used),
            zero_bytes: target.fit.map.bytes(State::Zero),
            changes: target.fit.notes.clone(),
        }
    }
}

/// What became of one card.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum DoneFields {
    Written {
        path: String,
        ok: bool,
        filled_bytes: u64,
        written_bytes: u64,
        found_bytes: u64,
        mended_frames: usize,
        verified: bool,
        ejected: bool,
        notes: Vec<String>,
    },
    Failed {
        path: String,
        ok: bool,
        message: String,
    },
}

impl From<&TargetReport> for DoneFields {
    fn from(target: &TargetReport) -> Self {
        let path = path_text(&target.path).to_string();
        match &target.result {
            Ok(done) => Self::Written {
                path,
                ok: true,
                filled_bytes: done.outcome.filled_bytes,
                written_bytes: done.outcome.written_bytes,
                found_bytes: done.outcome.found_bytes,
                mended_frames: done.outcome.mended_frames,
                verified: done.outcome.is_verified,
                ejected: done.is_ejected,
                notes: done.notes.clone(),
            },
            Err(error) => Self::Failed {
                path,
                ok: false,
                message: error.message.clone(),
            },
        }
    }
}
