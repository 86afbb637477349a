//! What a card or an image holds.

use cardkeep_block::State;
use cardkeep_survey::{Cut, FsSummary, Gap, Partition, Survey};
use serde::Serialize;

/// What a card or an image holds.
#[derive(Clone, Debug, Serialize)]
pub struct Contents {
    size_bytes: u64,
    os: Option<String>,
    hostname: Option<String>,
    table: Option<TableFields>,
    partitions: Vec<PartitionFields>,
    gaps: Vec<GapFields>,
    used_bytes: u64,
    zero_bytes: u64,
    free_bytes: u64,
    clean: bool,
    notes: Vec<String>,
    cut: Option<CutFields>,
    survey_read_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct TableFields {
    scheme: String,
    disk_id: String,
}

#[derive(Clone, Debug, Serialize)]
struct PartitionFields {
    number: u32,
    start: u64,
    len: u64,
    kind: String,
    kind_code: String,
    name: Option<String>,
    part_uuid: String,
    content: String,
    fs: Option<FilesystemFields>,
    used_bytes: u64,
    zero_bytes: u64,
    free_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct FilesystemFields {
    name: String,
    label: Option<String>,
    uuid: Option<String>,
    clean: bool,
    block_bytes: u64,
    size_bytes: u64,
    free_bytes: u64,
    compression: Option<String>,
    created_seconds: Option<u64>,
    more_devices: u32,
}

#[derive(Clone, Debug, Serialize)]
struct GapFields {
    start: u64,
    len: u64,
    skipped_start: u64,
    skipped_len: u64,
}

#[derive(Clone, Debug, Serialize)]
struct CutFields {
    partition: u32,
    partition_end: u64,
    content_end: u64,
    missing_bytes: u64,
}

impl From<&Survey> for Contents {
    fn from(survey: &Survey) -> Self {
        let table = survey.table.as_ref().map(|table| TableFields {
            scheme: table.scheme.to_string(),
            disk_id: table.disk_id.to_string(),
        });
        Self {
            size_bytes: survey.len,
            os: survey.identity.os.clone(),
            hostname: survey.identity.hostname.clone(),
            table,
            partitions: survey
                .partitions
                .iter()
                .map(PartitionFields::from)
                .collect(),
            gaps: survey.gaps.iter().map(GapFields::from).collect(),
            used_bytes: survey.map.bytes(State::Used),
            zero_bytes: survey.map.bytes(State::Zero),
            free_bytes: survey.map.bytes(State::Free),
            clean: survey.is_clean(),
            notes: survey.notes.clone(),
            cut: survey.cut.as_ref().map(CutFields::from),
            survey_read_bytes: survey.bytes_read,
        }
    }
}

impl From<&Partition> for PartitionFields {
    fn from(partition: &Partition) -> Self {
        let fs = partition.content.filesystem();
        Self {
            number: partition.number,
            start: partition.extent.start(),
            len: partition.extent.len(),
            kind: partition.kind.clone(),
            kind_code: partition.kind_code.clone(),
            name: partition.name.clone(),
            part_uuid: partition.part_uuid.clone(),
            content: partition.content.name().to_owned(),
            fs: fs.map(FilesystemFields::from),
            used_bytes: partition.used_bytes,
            zero_bytes: partition.zero_bytes,
            free_bytes: partition.free_bytes,
        }
    }
}

impl From<&FsSummary> for FilesystemFields {
    fn from(fs: &FsSummary) -> Self {
        Self {
            name: fs.name.clone(),
            label: fs.label.clone(),
            uuid: fs.uuid.clone(),
            clean: fs.is_clean,
            block_bytes: fs.block_bytes,
            size_bytes: fs.len,
            free_bytes: fs.free_bytes,
            compression: fs.compression.clone(),
            created_seconds: fs.created_seconds,
            more_devices: fs.more_devices,
        }
    }
}

impl From<&Gap> for GapFields {
    fn from(gap: &Gap) -> Self {
        Self {
            start: gap.extent.start(),
            len: gap.extent.len(),
            skipped_start: gap.skipped.start(),
            skipped_len: gap.skipped.len(),
        }
    }
}

impl From<&Cut> for CutFields {
    fn from(cut: &Cut) -> Self {
        Self {
            partition: cut.number,
            partition_end: cut.partition_end,
            content_end: cut.content_end,
            missing_bytes: cut.missing_bytes,
        }
    }
}
