//! The result of `verify`.

use cardkeep_block::path_text;
use cardkeep_copy::{Check, Checked};
use serde::Serialize;

use super::{PlaceFields, Trouble, places, troubles};
use crate::verify::{Against, VerifyReport};

/// What was verified.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyFields {
    image: String,
    checked: Option<CheckedFields>,
    against: Option<AgainstFields>,
    troubles: Vec<Trouble>,
}

#[derive(Clone, Debug, Serialize)]
struct CheckedFields {
    format: &'static str,
    content_bytes: u64,
    image_digest: String,
    checked_against: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct AgainstFields {
    card: String,
    equal: bool,
    compared_bytes: u64,
    differing_bytes: u64,
    places: Vec<PlaceFields>,
}

impl VerifyFields {
    /// Returns what was verified, and what went wrong on the way.
    #[must_use]
    pub fn new(report: &VerifyReport, on_the_way: &[cardkeep_block::Trouble]) -> Self {
        Self {
            image: path_text(&report.image).to_string(),
            checked: report.checked.as_ref().map(CheckedFields::from),
            against: report.against.as_ref().map(AgainstFields::from),
            troubles: troubles(on_the_way),
        }
    }
}

impl From<&Checked> for CheckedFields {
    fn from(checked: &Checked) -> Self {
        Self {
            format: checked.format.extension(),
            content_bytes: checked.content_len,
            image_digest: checked.image_digest.to_string(),
            checked_against: match checked.check {
                Check::Digests => "digests",
                Check::Checksums => "checksums",
                Check::Readable => "nothing",
            },
        }
    }
}

impl From<&Against> for AgainstFields {
    fn from(against: &Against) -> Self {
        Self {
            card: path_text(&against.card).to_string(),
            equal: against.difference.bytes == 0,
            compared_bytes: against.difference.compared_bytes,
            differing_bytes: against.difference.bytes,
            places: places(&against.places),
        }
    }
}
