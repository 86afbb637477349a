//! Errors of a backup, with what its plan knows of the place, and what to do about them.

use std::path::Path;

use cardkeep_copy::CopyError;
use cardkeep_device::Overwrite;

use crate::backup::plan::BackupPlan;
use crate::error::{OpError, OpErrorKind};

/// Returns the error of a copy with what the plan knows of its place.
pub(crate) fn told(plan: &BackupPlan, output: &Path, error: CopyError) -> OpError {
    let place = match &error {
        CopyError::Source(error) => error.extent(),
        _ => None,
    };
    let error = OpError::of_copy(&plan.card, output, error);
    if plan.image.is_some() && can_be_resumed(error.kind) {
        let hint = match plan.request.overwrite {
            Overwrite::Refuse => {
                "the same command with --resume continues from there; --force starts over"
            }
            Overwrite::Replace => {
                "the same command with --resume instead of --force continues from there"
            }
        };
        return error.hint(hint);
    }
    if error.kind == OpErrorKind::Interrupted {
        return error.hint("no image was written; the same command starts over");
    }
    if plan.image.is_some() && error.kind == OpErrorKind::Mismatch {
        return error
            .hint("the disk does not keep what is written to it: choose another one")
            .hint("--force starts over on this one");
    }
    let Some(place) = place else { return error };
    match plan.survey.partition_at(place.start()) {
        Some(partition) if partition.number > 0 => error.hint(format!(
            "it happened in partition {} ({})",
            partition.number,
            partition.content.name()
        )),
        _ => error,
    }
}

/// Tells whether what was read until an error is worth keeping.
const fn can_be_resumed(kind: OpErrorKind) -> bool {
    matches!(
        kind,
        OpErrorKind::Interrupted | OpErrorKind::Environment | OpErrorKind::Medium
    )
}
