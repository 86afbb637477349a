//! What a backup, or the making of a smaller image, would do and did.

use cardkeep_block::path_text;
use cardkeep_copy::Health;
use cardkeep_resize::medium::{Moved, Shrunk};
use serde::Serialize;

use super::contents::Contents;
use super::{PlaceFields, Trouble, places, troubles};
use crate::backup::{BackupPlan, BackupReport, Verified};

/// What a backup would do.
#[derive(Clone, Debug, Serialize)]
pub struct BackupDryRun {
    dry_run: bool,
    plan: PlanFields,
    troubles: Vec<Trouble>,
}

impl BackupDryRun {
    /// Returns what the plan says, and what went wrong while it was made.
    #[must_use]
    pub fn new(plan: &BackupPlan, on_the_way: &[cardkeep_block::Trouble]) -> Self {
        Self {
            dry_run: true,
            plan: plan.into(),
            troubles: troubles(on_the_way),
        }
    }
}

/// What a backup did.
#[derive(Clone, Debug, Serialize)]
pub struct BackupDone {
    dry_run: bool,
    plan: PlanFields,
    read_bytes: u64,
    used_bytes: u64,
    written_bytes: u64,
    seconds: f64,
    verified: &'static str,
    image_digest: String,
    lost_bytes: u64,
    unstable: Vec<PlaceFields>,
    lost: Vec<PlaceFields>,
    health: Option<HealthFields>,
    troubles: Vec<Trouble>,
}

impl BackupDone {
    /// Returns what was done, and what went wrong on the way.
    #[must_use]
    pub fn new(
        plan: &BackupPlan,
        report: &BackupReport,
        on_the_way: &[cardkeep_block::Trouble],
    ) -> Self {
        let outcome = &report.outcome;
        Self {
            dry_run: false,
            plan: plan.into(),
            read_bytes: outcome.read_bytes,
            used_bytes: outcome.used_bytes,
            written_bytes: outcome.written_bytes,
            seconds: report.elapsed.as_secs_f64(),
            verified: match report.verified {
                Verified::ReadBack => "read back",
                Verified::Skipped => "no",
                Verified::Impossible => "impossible",
            },
            image_digest: outcome.image_digest.to_string(),
            lost_bytes: report.lost_bytes,
            unstable: places(&report.unstable),
            lost: places(&report.lost),
            health: report.health.as_ref().map(HealthFields::from),
            troubles: troubles(on_the_way),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct PlanFields {
    card: String,
    image: Option<String>,
    format: &'static str,
    contents: Contents,
    used_bytes: u64,
    zero_bytes: u64,
    free_bytes: u64,
    bytes_per_second: Option<u64>,
    shrunk: Option<ShrunkFields>,
}

impl From<&BackupPlan> for PlanFields {
    fn from(plan: &BackupPlan) -> Self {
        let image = plan.image.as_ref();
        Self {
            card: path_text(&plan.card).to_string(),
            image: image.map(|image| path_text(image).to_string()),
            format: plan.format.extension(),
            contents: (&plan.survey).into(),
            used_bytes: plan.used_bytes(),
            zero_bytes: plan.zero_bytes(),
            free_bytes: plan.free_bytes(),
            bytes_per_second: plan.speed,
            shrunk: plan.shrunk.as_deref().map(ShrunkFields::from),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct ShrunkFields {
    partition: u32,
    label: Option<String>,
    moved: Vec<MovedFields>,
    old_fs_bytes: u64,
    fs_bytes: u64,
    fs_free_bytes: u64,
    moved_bytes: u64,
    left_out_bytes: u64,
    content_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct MovedFields {
    partition: u32,
    old_start: u64,
    start: u64,
    bytes: u64,
}

impl From<&Shrunk> for ShrunkFields {
    fn from(shrunk: &Shrunk) -> Self {
        Self {
            partition: shrunk.number,
            label: shrunk.label.clone(),
            moved: shrunk.moved.iter().map(MovedFields::from).collect(),
            old_fs_bytes: shrunk.old_fs_bytes,
            fs_bytes: shrunk.fs_bytes,
            fs_free_bytes: shrunk.free_bytes,
            moved_bytes: shrunk.moved_bytes,
            left_out_bytes: shrunk.left_out_bytes,
            content_bytes: shrunk.survey.len,
        }
    }
}

impl From<&Moved> for MovedFields {
    fn from(moved: &Moved) -> Self {
        Self {
            partition: moved.number,
            old_start: moved.from.start(),
            start: moved.to.start(),
            bytes: moved.to.len(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct HealthFields {
    errors: u64,
    retries: u64,
    slowest: Vec<SlowReadFields>,
    stretches: Vec<StretchFields>,
}

#[derive(Clone, Debug, Serialize)]
struct SlowReadFields {
    start: u64,
    len: u64,
    seconds: f64,
    ok: bool,
}

#[derive(Clone, Debug, Serialize)]
struct StretchFields {
    start: u64,
    len: u64,
    read_bytes: u64,
    seconds: f64,
    errors: u64,
}

impl From<&Health> for HealthFields {
    fn from(health: &Health) -> Self {
        let slowest = health.slowest().iter().map(|read| SlowReadFields {
            start: read.extent.start(),
            len: read.extent.len(),
            seconds: read.time.as_secs_f64(),
            ok: read.is_served,
        });
        let stretches = health.stretches().map(|(extent, stretch)| StretchFields {
            start: extent.start(),
            len: extent.len(),
            read_bytes: stretch.bytes,
            seconds: stretch.time.as_secs_f64(),
            errors: stretch.errors,
        });
        Self {
            errors: health.errors(),
            retries: health.retries(),
            slowest: slowest.collect(),
            stretches: stretches.collect(),
        }
    }
}
