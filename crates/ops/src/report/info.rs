//! The result of `info`.

use cardkeep_block::{AllocationMap, State, path_text};
use cardkeep_device::Verdict;
use serde::Serialize;

use super::contents::Contents;
use super::device::{DeviceFields, guards};
use super::{Trouble, pairs, troubles};
use crate::info::InfoReport;
use crate::input::InputKind;

/// What was learnt of a card or image.
#[derive(Clone, Debug, Serialize)]
pub struct InfoFields {
    path: String,
    kind: &'static str,
    stored_bytes: Option<u64>,
    device: Option<DeviceFields>,
    guards: Option<Vec<String>>,
    contents: Contents,
    map: MapFields,
    image_digest: Option<String>,
    lost: Option<Vec<[u64; 2]>>,
    notes: Option<Vec<String>>,
    bytes_per_second: Option<u64>,
    troubles: Vec<Trouble>,
}

#[derive(Clone, Debug, Serialize)]
struct MapFields {
    used: Vec<[u64; 2]>,
    zero: Vec<[u64; 2]>,
}

impl From<&AllocationMap> for MapFields {
    fn from(map: &AllocationMap) -> Self {
        Self {
            used: pairs(map.extents(State::Used)),
            zero: pairs(map.extents(State::Zero)),
        }
    }
}

impl InfoFields {
    /// Returns what was learnt, and what went wrong on the way.
    #[must_use]
    pub fn new(report: &InfoReport, on_the_way: &[cardkeep_block::Trouble]) -> Self {
        let kind = match &report.opened.kind {
            InputKind::Card(_) => "card",
            InputKind::Plain => "raw",
            InputKind::Image { .. } => "image",
        };
        let manifest = report.opened.manifest();
        let own_notes = || (!report.notes.is_empty()).then(|| report.notes.clone());
        Self {
            path: path_text(&report.opened.path).to_string(),
            kind,
            stored_bytes: report.opened.stored_bytes,
            device: report.opened.device().map(DeviceFields::from),
            guards: report.verdict.as_ref().map(|it: &Verdict| guards(it)),
            contents: (&report.survey).into(),
            // An image knows which bytes were copied; a card's map is what a backup would copy.
            map: manifest
                .map_or(&report.survey.map, |manifest| &manifest.map)
                .into(),
            image_digest: manifest.map(|manifest| manifest.image_digest().to_string()),
            lost: manifest.map(|manifest| pairs(manifest.lost.iter().copied())),
            notes: manifest.map_or_else(own_notes, |manifest| Some(manifest.notes.clone())),
            bytes_per_second: report.speed,
            troubles: troubles(on_the_way),
        }
    }
}
