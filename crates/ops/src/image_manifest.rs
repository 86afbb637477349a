//! What an image says of its card.

use cardkeep_image::{FrameDigest, Manifest, PartitionEntry, SourceIdentity};
use cardkeep_survey::Scope;

use crate::backup::BackupPlan;

/// Returns the manifest. Nothing of the reader or the moment: the same card gives the
/// same bytes.
pub(crate) fn manifest_of(plan: &BackupPlan, frames: Vec<Option<FrameDigest>>) -> Manifest {
    let survey = plan.contents();
    let mut manifest = Manifest::new(plan.request.tool.clone(), survey.map.clone(), frames);
    manifest.sector_bytes = plan.sector_bytes;
    manifest.everything = plan.request.scope == Scope::Everything;
    manifest.clean = Some(survey.is_clean());
    manifest.source = SourceIdentity {
        disk_id: survey.table.as_ref().map(|table| table.disk_id.to_string()),
        os: survey.identity.os.clone(),
        hostname: survey.identity.hostname.clone(),
        ..SourceIdentity::default()
    };
    if let Some(shrunk) = &plan.shrunk {
        manifest.notes.push(format!(
            "partition {} was made smaller: its filesystem had {} bytes and has {}",
            shrunk.number, shrunk.old_fs_bytes, shrunk.fs_bytes
        ));
    }
    let before = plan.lost_before.clone();
    if plan.shrunk.is_none() {
        manifest.lost = before;
    } else if !before.is_empty() {
        // Where they are now, nobody knows: they may have moved.
        let bytes: u64 = before.iter().map(|extent| extent.len()).sum();
        manifest.notes.push(format!(
            "{bytes} bytes could not be read when the original image was made"
        ));
    }
    manifest.partitions = survey
        .partitions
        .iter()
        .filter(|entry| entry.number > 0)
        .map(entry)
        .collect();
    manifest
}

fn entry(partition: &cardkeep_survey::Partition) -> PartitionEntry {
    let summary = partition.content.filesystem();
    PartitionEntry {
        number: partition.number,
        start: partition.extent.start(),
        len: partition.extent.len(),
        kind: Some(partition.kind_code.clone()).filter(|code| !code.is_empty()),
        fs: summary.map(|summary| summary.name.clone()),
        label: summary.and_then(|summary| summary.label.clone()),
        uuid: summary.and_then(|summary| summary.uuid.clone()),
    }
}
