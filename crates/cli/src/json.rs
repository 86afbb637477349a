//! The JSON of `--json`, documented in `docs/reference.md`. One object on standard output; progress,
//! trouble and errors as one object a line on standard error.

use cardkeep_block::{AllocationMap, Phase, State, Trouble, path_text};
use cardkeep_copy::{Check, Health, WriteMode};
use cardkeep_device::{Device, Mount, Verdict};
use cardkeep_ops::restore::{RestorePlan, RestoreReport, TargetPlan};
use cardkeep_ops::{
    BackupPlan, BackupReport, InfoReport, Listed, OpError, OpenedKind, Verified, VerifyReport,
};
use cardkeep_survey::{Cut, Partition, Place, Survey};
use serde_json::{Value, json};

use crate::terminal::{self, Stream};

/// The version of the schema. It grows when a field changes its meaning or goes; new fields may
/// come at any time.
const SCHEMA: u32 = 1;

fn print(command: &str, mut value: Value) {
    if let Value::Object(fields) = &mut value {
        fields.insert("schema".into(), SCHEMA.into());
        fields.insert("command".into(), command.into());
    }
    terminal::print_json(Stream::Out, &value);
}

fn print_event(event: &str, mut value: Value) {
    if let Value::Object(fields) = &mut value {
        fields.insert("schema".into(), SCHEMA.into());
        fields.insert("event".into(), event.into());
    }
    terminal::print_json(Stream::Err, &value);
}

/// Prints how far the work is.
pub(crate) fn print_progress(phase: Phase, done: u64, total: Option<u64>, speed: f64) {
    let phase = match phase {
        Phase::Survey => "survey",
        Phase::Probe => "probe",
        Phase::Copy => "copy",
        Phase::Rescue => "rescue",
        Phase::Verify => "verify",
        Phase::Permission => "permission",
        _ => "other",
    };
    let left = total
        .filter(|_| speed > 0.0)
        .map(|total| total.saturating_sub(done) as f64 / speed);
    print_event(
        "progress",
        json!({
            "phase": phase,
            "done_bytes": done,
            "total_bytes": total,
            "bytes_per_second": speed as u64,
            "seconds_left": left.map(|left| left.round() as u64),
        }),
    );
}

/// Prints something that went wrong without ending the work.
pub(crate) fn print_trouble(trouble: &Trouble) {
    print_event("trouble", trouble_value(trouble));
}

fn trouble_value(trouble: &Trouble) -> Value {
    json!({
        "message": trouble.message,
        "start": trouble.extent.map(|extent| extent.start()),
        "len": trouble.extent.map(|extent| extent.len()),
    })
}

fn troubles_value(troubles: &[Trouble]) -> Value {
    troubles.iter().map(trouble_value).collect()
}

/// Prints an error.
pub(crate) fn print_error(error: &OpError, code: u8) {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let hints: Vec<&str> = error.hints.iter().map(|hint| hint.0.as_str()).collect();
    print_event(
        "error",
        json!({ "message": error.message, "causes": causes, "hints": hints, "exit_code": code }),
    );
}

/// Prints the list of devices.
pub(crate) fn print_list(listed: &[Listed]) {
    let devices: Vec<Value> = listed.iter().map(listed_value).collect();
    print("list", json!({ "devices": devices }));
}

fn listed_value(listed: &Listed) -> Value {
    let mut value = device_value(&listed.device);
    if let Value::Object(fields) = &mut value {
        fields.insert("writable".into(), (listed.verdict == Verdict::Free).into());
        fields.insert("guards".into(), guards_value(&listed.verdict));
        fields.insert("system".into(), listed.is_system().into());
        fields.insert("unread".into(), listed.unread.clone().into());
        let contents = listed.survey.as_ref().map(survey_value);
        fields.insert("contents".into(), contents.into());
    }
    value
}

fn guards_value(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Free => Value::Array(Vec::new()),
        Verdict::Guarded(guards) => guards.iter().map(ToString::to_string).collect(),
    }
}

fn device_value(device: &Device) -> Value {
    let mounts: Vec<Value> = device.mounts.iter().map(mount_value).collect();
    json!({
        "path": path_text(&device.path).to_string(),
        "size_bytes": device.size_bytes,
        "sector_bytes": device.sector_bytes,
        "vendor": device.vendor,
        "model": device.model,
        "serial": device.serial,
        "transport": device.transport.to_string(),
        "removable": device.removable,
        "read_only": device.read_only,
        "media_present": device.media_present,
        "mounts": mounts,
        "uses": device.uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "notes": device.notes,
    })
}

fn mount_value(mount: &Mount) -> Value {
    json!({
        "source": mount.source,
        "target": path_text(&mount.target).to_string(),
        "fs": mount.fs_type,
        "read_only": mount.read_only,
    })
}

fn survey_value(survey: &Survey) -> Value {
    let partitions: Vec<Value> = survey.partitions.iter().map(partition_value).collect();
    let gaps: Vec<Value> = survey
        .gaps
        .iter()
        .map(|gap| {
            json!({
                "start": gap.extent.start(),
                "len": gap.extent.len(),
                "skipped_start": gap.skipped.start(),
                "skipped_len": gap.skipped.len(),
            })
        })
        .collect();
    json!({
        "size_bytes": survey.len,
        "os": survey.identity.os,
        "hostname": survey.identity.hostname,
        "table": survey.table.as_ref().map(|table| json!({
            "scheme": table.scheme.to_string(),
            "disk_id": table.disk_id.to_string(),
        })),
        "partitions": partitions,
        "gaps": gaps,
        "used_bytes": survey.map.bytes(State::Used),
        "zero_bytes": survey.map.bytes(State::Zero),
        "free_bytes": survey.map.bytes(State::Free),
        "clean": survey.is_clean(),
        "notes": survey.notes,
        "cut": survey.cut.as_ref().map(cut_value),
        "survey_read_bytes": survey.bytes_read,
    })
}

fn cut_value(cut: &Cut) -> Value {
    json!({
        "partition": cut.number,
        "partition_end": cut.partition_end,
        "content_end": cut.content_end,
        "missing_bytes": cut.missing_bytes,
    })
}

fn partition_value(partition: &Partition) -> Value {
    let fs = partition.content.filesystem();
    json!({
        "number": partition.number,
        "start": partition.extent.start(),
        "len": partition.extent.len(),
        "kind": partition.kind,
        "kind_code": partition.kind_code,
        "name": partition.name,
        "part_uuid": partition.part_uuid,
        "content": partition.content.name(),
        "fs": fs.map(|fs| json!({
            "name": fs.name,
            "label": fs.label,
            "uuid": fs.uuid,
            "clean": fs.is_clean,
            "block_bytes": fs.block_bytes,
            "size_bytes": fs.len,
            "free_bytes": fs.free_bytes,
        })),
        "used_bytes": partition.used_bytes,
        "zero_bytes": partition.zero_bytes,
        "free_bytes": partition.free_bytes,
    })
}

fn map_value(map: &AllocationMap) -> Value {
    let pairs = |state| -> Vec<[u64; 2]> {
        map.extents(state)
            .map(|extent| [extent.start(), extent.len()])
            .collect()
    };
    json!({ "used": pairs(State::Used), "zero": pairs(State::Zero) })
}

/// Prints what was learnt of a card or image.
pub(crate) fn print_info(report: &InfoReport, troubles: &[Trouble]) {
    let kind = match &report.opened.kind {
        OpenedKind::Card(_) => "card",
        OpenedKind::Plain => "raw",
        OpenedKind::Image { .. } => "image",
    };
    let manifest = report.opened.manifest();
    // An image knows which bytes were copied; a card's map is what a backup would copy.
    let map = manifest.map_or(&report.survey.map, |manifest| &manifest.map);
    print(
        "info",
        json!({
            "path": path_text(&report.opened.path).to_string(),
            "kind": kind,
            "stored_bytes": report.opened.stored_bytes,
            "device": report.opened.device().map(device_value),
            "guards": report.verdict.as_ref().map(guards_value),
            "contents": survey_value(&report.survey),
            "map": map_value(map),
            "image_digest": manifest.map(|manifest| manifest.image_digest().to_string()),
            "lost": manifest.map(|manifest| {
                let lost = manifest.lost.iter();
                lost.map(|extent| [extent.start(), extent.len()]).collect::<Vec<_>>()
            }),
            "notes": match manifest {
                Some(manifest) => Some(&manifest.notes),
                None => (!report.notes.is_empty()).then_some(&report.notes),
            },
            "bytes_per_second": report.speed,
            "troubles": troubles_value(troubles),
        }),
    );
}

fn plan_value(plan: &BackupPlan) -> Value {
    json!({
        "card": path_text(&plan.opened.path).to_string(),
        "image": plan.image.as_ref().map(|image| path_text(image).to_string()),
        "format": plan.format.extension(),
        "contents": survey_value(&plan.survey),
        "used_bytes": plan.used_bytes(),
        "zero_bytes": plan.zero_bytes(),
        "free_bytes": plan.free_bytes(),
        "bytes_per_second": plan.speed,
        "shrunk": plan.shrunk.as_ref().map(|shrunk| json!({
            "partition": shrunk.number,
            "label": shrunk.label,
            "moved": shrunk.moved.iter().map(|moved| json!({
                "partition": moved.number,
                "old_start": moved.from.start(),
                "start": moved.to.start(),
                "bytes": moved.to.len(),
            })).collect::<Vec<_>>(),
            "old_fs_bytes": shrunk.old_fs_bytes,
            "fs_bytes": shrunk.fs_bytes,
            "fs_free_bytes": shrunk.free_bytes,
            "moved_bytes": shrunk.moved_bytes,
            "left_out_bytes": shrunk.left_out_bytes,
            "content_bytes": shrunk.survey.len,
        })),
    })
}

/// Prints what a backup, or the making of a smaller image, would do.
pub(crate) fn print_plan(command: &str, plan: &BackupPlan, troubles: &[Trouble]) {
    let troubles = troubles_value(troubles);
    print(
        command,
        json!({ "dry_run": true, "plan": plan_value(plan), "troubles": troubles }),
    );
}

/// Prints what a backup, or the making of a smaller image, did; to standard error where standard
/// output carries the image.
pub(crate) fn print_backup(
    command: &str,
    plan: &BackupPlan,
    report: &BackupReport,
    troubles: &[Trouble],
) {
    let outcome = &report.outcome;
    let verified = match report.verified {
        Verified::ReadBack => "read back",
        Verified::Skipped => "no",
        Verified::Impossible => "impossible",
    };
    let value = json!({
        "dry_run": false,
        "plan": plan_value(plan),
        "read_bytes": outcome.read_bytes,
        "used_bytes": outcome.used_bytes,
        "written_bytes": outcome.written_bytes,
        "seconds": report.elapsed.as_secs_f64(),
        "verified": verified,
        "image_digest": outcome.image_digest.to_string(),
        "lost_bytes": report.lost_bytes,
        "unstable": report.unstable.iter().map(place_value).collect::<Vec<_>>(),
        "lost": report.lost.iter().map(place_value).collect::<Vec<_>>(),
        "health": report.health.as_ref().map(health_value),
        "troubles": troubles_value(troubles),
    });
    if report.image.is_some() {
        print(command, value);
    } else {
        print_event("done", value);
    }
}

fn place_value(place: &Place) -> Value {
    json!({
        "start": place.extent.start(),
        "len": place.extent.len(),
        "partition": place.partition,
        "path": place.path,
        "what": place.what.map(|what| what.to_string()),
    })
}

fn health_value(health: &Health) -> Value {
    let stretches: Vec<Value> = health
        .stretches()
        .map(|(extent, stretch)| {
            json!({
                "start": extent.start(),
                "len": extent.len(),
                "read_bytes": stretch.bytes,
                "seconds": stretch.time.as_secs_f64(),
                "errors": stretch.errors,
            })
        })
        .collect();
    let slowest: Vec<Value> = health
        .slowest()
        .iter()
        .map(|read| {
            json!({
                "start": read.extent.start(),
                "len": read.extent.len(),
                "seconds": read.time.as_secs_f64(),
                "ok": read.is_served,
            })
        })
        .collect();
    json!({
        "errors": health.errors(),
        "retries": health.retries(),
        "slowest": slowest,
        "stretches": stretches,
    })
}

fn restore_plan_value(plan: &RestorePlan) -> Value {
    let identity = plan.origin.identity();
    let targets: Vec<Value> = plan.targets.iter().map(target_value).collect();
    json!({
        "from": plan.origin.path.as_ref().map(|path| path_text(path).to_string()),
        "content_bytes": plan.origin.len,
        "os": identity.os,
        "hostname": identity.hostname,
        "mode": match plan.mode {
            WriteMode::All => "all",
            WriteMode::Differing => "delta",
            WriteMode::Resumed => "resume",
        },
        "verify": plan.verify,
        "notes": plan.notes(),
        "targets": targets,
    })
}

fn target_value(target: &TargetPlan) -> Value {
    json!({
        "path": path_text(&target.path).to_string(),
        "size_bytes": target.len,
        "device": target.device.as_ref().map(device_value),
        "erases": target.contents.as_ref().map(survey_value),
        "used_bytes": target.fit.map.bytes(State::Used),
        "zero_bytes": target.fit.map.bytes(State::Zero),
        "changes": target.fit.notes,
    })
}

/// Prints what a restore would do.
pub(crate) fn print_restore_plan(command: &str, plan: &RestorePlan, troubles: &[Trouble]) {
    print(
        command,
        json!({
            "dry_run": true,
            "plan": restore_plan_value(plan),
            "troubles": troubles_value(troubles),
        }),
    );
}

/// Prints what a restore did.
pub(crate) fn print_restore(
    command: &str,
    plan: &RestorePlan,
    report: &RestoreReport,
    troubles: &[Trouble],
) {
    let targets: Vec<Value> = report
        .targets
        .iter()
        .map(|target| {
            let path = path_text(&target.path).to_string();
            match &target.result {
                Ok(done) => json!({
                    "path": path,
                    "ok": true,
                    "filled_bytes": done.outcome.filled_bytes,
                    "written_bytes": done.outcome.written_bytes,
                    "found_bytes": done.outcome.found_bytes,
                    "mended_frames": done.outcome.mended_frames,
                    "verified": done.outcome.is_verified,
                    "ejected": done.is_ejected,
                    "notes": done.notes,
                }),
                Err(error) => json!({ "path": path, "ok": false, "message": error.message }),
            }
        })
        .collect();
    print(
        command,
        json!({
            "dry_run": false,
            "plan": restore_plan_value(plan),
            "targets": targets,
            "seconds": report.elapsed.as_secs_f64(),
            "troubles": troubles_value(troubles),
        }),
    );
}

/// Prints what was verified.
pub(crate) fn print_verify(report: &VerifyReport, troubles: &[Trouble]) {
    let checked = report.checked.as_ref().map(|checked| {
        json!({
            "format": checked.format.extension(),
            "content_bytes": checked.content_len,
            "image_digest": checked.image_digest.to_string(),
            "checked_against": match checked.check {
                Check::Digests => "digests",
                Check::Checksums => "checksums",
                Check::Readable => "nothing",
            },
        })
    });
    let against = report.against.as_ref().map(|against| {
        let places: Vec<Value> = against.places.iter().map(place_value).collect();
        json!({
            "card": path_text(&against.card).to_string(),
            "equal": against.difference.bytes == 0,
            "compared_bytes": against.difference.compared_bytes,
            "differing_bytes": against.difference.bytes,
            "places": places,
        })
    });
    let troubles = troubles_value(troubles);
    print(
        "verify",
        json!({
            "image": path_text(&report.image).to_string(),
            "checked": checked,
            "against": against,
            "troubles": troubles,
        }),
    );
}
