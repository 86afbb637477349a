//! What goes wrong with a restore, in words that say where and what to do.

use std::path::Path;

use cardkeep_block::{BlockErrorKind, Extent, Monitor, ReadAt, path_text, with_causes};
use cardkeep_copy::{BadPlace, CopyError};
use cardkeep_device::Refusal;
use cardkeep_survey::{Scope, locate, survey};

use crate::completeness::truncated;
use crate::error::{OpError, OpErrorKind};
use crate::input::SurveyedInput;
use crate::restore::expansion::remedy;
use crate::restore::fit::Fit;

/// What to do with a card that was left half-written.
const GO_ON: &str = "the card may not be bootable now; the same command with --resume (instead of \
     --delta) continues";

/// What is known of what a card was to hold.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) origin: &'a SurveyedInput,
    pub(crate) fit: &'a Fit,
    pub(crate) monitor: &'a dyn Monitor,
    /// Whether nothing was written to the card.
    pub(crate) is_untouched: bool,
}

/// Returns the error of a permit that was not given.
pub(crate) fn of_refusal(path: &Path, refusal: Refusal) -> OpError {
    let message = format!("{} is not written", path_text(path));
    let error = OpError::new(OpErrorKind::Refused, message);
    match refusal.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
    .caused_by(refusal)
}

/// Returns the error of a card that was to be written, with what is known of its content.
pub(crate) fn of_restore(path: &Path, known: Option<Known<'_>>, error: CopyError) -> OpError {
    let shown = path_text(path);
    match error {
        CopyError::Interrupted if known.is_none() => {
            OpError::new(OpErrorKind::Interrupted, "stopped")
                .hint(format!("{shown} was not changed"))
        }
        CopyError::Interrupted => OpError::new(OpErrorKind::Interrupted, "stopped").hint(GO_ON),
        CopyError::Destination(error) => {
            let is_gone = error.kind() == BlockErrorKind::Gone;
            let own = OpError::of_card(path, error);
            match is_gone {
                true => own.hint(format!("put it back; {GO_ON}")),
                false => own.hint(GO_ON),
            }
        }
        CopyError::BadCard(place) => of_bad_card(path, known, &place),
        CopyError::BadHead(_) => {
            let message = format!("{shown} does not keep what is written to it");
            OpError::new(OpErrorKind::Medium, message)
                .hint("try another reader; if it happens again, replace the card")
                .caused_by(error)
        }
        error @ CopyError::NoMemory { .. } => {
            let name = known.map_or_else(String::new, |known| known.origin.name());
            OpError::new(OpErrorKind::Environment, no_memory(&name))
                .hint("close other programs")
                .caused_by(error)
        }
        CopyError::Original(error) => {
            let name = known.map_or_else(String::new, |known| known.origin.name());
            let is_untouched = known.is_some_and(|known| known.is_untouched);
            // A pipe is the one that is as long as it turns out to be.
            let is_too_long = matches!(*error, CopyError::TooLong { .. });
            let remedy = known.and_then(|known| remedy(&known.origin.input.access));
            let remedy = remedy
                .filter(|_| is_too_long)
                .map(|remedy| format!("to have a filesystem on it made smaller, {remedy}"));
            let told = remedy
                .into_iter()
                .fold(of_origin(&name, &error), OpError::hint);
            told.hint(match is_untouched {
                true => format!("{shown} was not changed"),
                false => "the card may not be bootable now".to_owned(),
            })
        }
        error => OpError::of_copy(path, path, error),
    }
}

fn no_memory(name: &str) -> String {
    format!("not enough memory to restore {name}")
}

fn of_origin(name: &str, error: &CopyError) -> OpError {
    let (kind, message) = match error {
        CopyError::Source(_) => (OpErrorKind::Medium, format!("{name} can't be read")),
        CopyError::TooLong { .. } | CopyError::TooLarge { .. } => {
            (OpErrorKind::Refused, format!("{name} does not fit"))
        }
        CopyError::Mismatch { .. } => (
            OpErrorKind::Mismatch,
            format!("{name} changed since it was made"),
        ),
        CopyError::Checksum(_) => (
            OpErrorKind::Mismatch,
            format!("{name} doesn't have the SHA-256 that was given"),
        ),
        CopyError::Internal(_) => (OpErrorKind::Internal, "the restore failed".to_owned()),
        CopyError::NoMemory { .. } => (OpErrorKind::Environment, no_memory(name)),
        CopyError::Truncated(cut) => return truncated(name, cut, OpErrorKind::Corrupt),
        CopyError::Doubt(_) => {
            let own = OpError::new(OpErrorKind::Corrupt, format!("{name} contradicts itself"));
            return own
                .hint("with --everything all of it is written")
                .caused_by(error.to_string());
        }
        _ => (OpErrorKind::Corrupt, format!("{name} is damaged")),
    };
    OpError::new(kind, message).caused_by(with_causes(error))
}

fn of_bad_card(path: &Path, known: Option<Known<'_>>, place: &BadPlace) -> OpError {
    let message = format!("{} does not keep what is written to it", path_text(path));
    let error = OpError::new(OpErrorKind::Medium, message)
        .hint(place.diagnosis.to_string())
        .caused_by(CopyError::BadCard(Box::new(place.clone())));
    let named = known.and_then(|known| known.name_of(place.extent));
    match named {
        Some(named) => error.hint(named),
        None => error,
    }
    .hint("the card was left without a partition table, so that it does not look complete")
}

impl Known<'_> {
    /// Returns what the bytes belong to, in words, where the content can be read anywhere.
    fn name_of(self, extent: Extent) -> Option<String> {
        let resized = self.fit.content.as_ref();
        let (content, own): (&dyn ReadAt, _) = match resized {
            Some(resized) => (&resized.view, resized.survey.as_ref()),
            None => (self.origin.content()?, self.origin.survey.as_ref()),
        };
        let learnt = match own {
            Some(survey) => survey.clone(),
            None => survey(
                content,
                self.origin.input.sector_bytes,
                Scope::UsedOnly,
                self.monitor,
            ),
        };
        let places = locate(content, &learnt, &[extent], self.monitor);
        let place = places.first()?;
        let what = place.name()?;
        Some(match place.partition {
            Some(number) if number > 0 => format!("it belongs to {what} in partition {number}"),
            _ => format!("it belongs to {what}"),
        })
    }
}
