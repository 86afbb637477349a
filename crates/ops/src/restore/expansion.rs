//! Letting a filesystem fill a card that is larger than what is restored.

use cardkeep_block::{Monitor, size_text, with_causes};
use cardkeep_resize::Declined;
use cardkeep_resize::medium::{Access, Growth, Larger, larger};
use cardkeep_survey::grows_itself;

use crate::error::{OpError, OpErrorKind};
use crate::input::{InputAccess, STORE, SurveyedInput, UNPACK};
use crate::resizing_text::{moved_text, name_of};

/// Whether a filesystem grows with the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expand {
    /// Where the card is larger than the original, and the system on it does not see to it itself.
    Auto,
    /// It keeps its size.
    Never,
    /// It grows, or the restore is refused.
    Always,
    /// It grows until so many bytes of the card are partitioned.
    UpTo(u64),
}

/// What becomes of the filesystem.
pub(crate) enum Expansion {
    /// It grows.
    Grown(Box<Larger>),
    /// It keeps its size, for a reason that the user should know.
    Kept(String),
    /// It keeps its size: nothing else was to be expected.
    Same,
}

/// Plans how `origin` comes to fill a card of `len` bytes.
///
/// # Errors
/// [`OpErrorKind::Refused`] where it has to and can't; errors of reading a stream once more.
pub(crate) fn expansion(
    origin: &SurveyedInput,
    len: u64,
    wanted: Expand,
    monitor: &dyn Monitor,
) -> Result<Expansion, OpError> {
    let Some(content_len) = origin.len else {
        return match wanted {
            Expand::Never => Ok(Expansion::Same),
            _ => kept(
                origin,
                wanted != Expand::Auto,
                Why::Order("the content of a pipe is not known beforehand".to_owned()),
            ),
        };
    };
    let (reach, is_must) = match wanted {
        Expand::Never => return Ok(Expansion::Same),
        Expand::Auto if len <= content_len => return Ok(Expansion::Same),
        Expand::Auto => (len, false),
        Expand::Always => (len, true),
        Expand::UpTo(reach) if reach > len => {
            let why = format!("the card has only {}", size_text(len));
            return Err(refused(origin, &Why::Content(why)));
        }
        Expand::UpTo(reach) => (reach, true),
    };
    let access = match origin.content() {
        Some(_) => Access::Anywhere,
        None => Access::FromBeginning,
    };
    let growth = Growth {
        sector_bytes: origin.input.sector_bytes,
        len: reach,
        access,
        survey: origin.survey.as_ref(),
    };
    let looked = origin.look(monitor, |content| {
        let table = origin.table.as_ref();
        let is_pending = table.is_some_and(|table| grows_itself(content, table));
        (is_pending, larger(content, growth, monitor))
    })?;
    let Some((is_pending, larger)) = looked else {
        return kept(
            origin,
            is_must,
            Why::Order("too much of it would have to be known beforehand".to_owned()),
        );
    };
    if is_pending && !is_must {
        let why = "the system fills the card itself on its first boot";
        return Ok(Expansion::Kept(why.to_owned()));
    }
    match larger {
        // A view of a stream can't be read.
        Ok(Some(larger)) if larger.content.is_some() && access == Access::FromBeginning => kept(
            origin,
            is_must,
            Why::Order("it was not unmounted properly, and can only be read in order".to_owned()),
        ),
        Ok(Some(larger)) => Ok(Expansion::Grown(Box::new(larger))),
        Ok(None) => Ok(Expansion::Same),
        Err(_) if monitor.is_cancelled() => Err(OpError::new(OpErrorKind::Interrupted, "stopped")),
        Err(declined @ Declined::Behind { .. }) => {
            kept(origin, is_must, Why::Order(with_causes(&declined)))
        }
        Err(declined) => kept(origin, is_must, Why::Content(with_causes(&declined))),
    }
}

/// Why a filesystem keeps its size, in words.
enum Why {
    /// The original can only be read in order.
    Order(String),
    /// Something on it.
    Content(String),
}

impl Why {
    const fn text(&self) -> &String {
        match self {
            Self::Order(why) | Self::Content(why) => why,
        }
    }

    /// Says what to do about it.
    fn remedy(&self, origin: &SurveyedInput) -> Option<&'static str> {
        match self {
            Self::Order(_) => remedy(&origin.input.access),
            Self::Content(_) => None,
        }
    }
}

fn kept(origin: &SurveyedInput, is_must: bool, why: Why) -> Result<Expansion, OpError> {
    if is_must {
        return Err(refused(origin, &why));
    }
    let text = why.text();
    Ok(Expansion::Kept(match why.remedy(origin) {
        Some(remedy) => format!("partitions keep their sizes: {text}; {remedy}"),
        None => format!("partitions keep their sizes: {text}"),
    }))
}

fn refused(origin: &SurveyedInput, why: &Why) -> OpError {
    let message = format!("{} can't be expanded", origin.name());
    let error = OpError::new(OpErrorKind::Refused, message).hint(why.text());
    let error = why.remedy(origin).into_iter().fold(error, OpError::hint);
    error.hint("--no-expand leaves the partitions at their sizes")
}

/// Says what makes of an original that can be read in order only one whose partitions can get other
/// sizes; `None` for what can be read anywhere.
pub(crate) fn remedy(kind: &InputAccess) -> Option<&'static str> {
    match kind {
        InputAccess::Medium(_) | InputAccess::Indexed { .. } => None,
        InputAccess::Sequential { .. } => Some(UNPACK),
        InputAccess::Pipe(_) => Some(STORE),
    }
}

/// Says what grows, what moves for it, and what keeps it from growing further.
pub(crate) fn notes(larger: &Larger) -> Vec<String> {
    let (before, after) = larger.fs_bytes;
    let what = name_of(larger.number, larger.label.as_deref());
    let mut notes = vec![format!(
        "{what} grows from {} to {}",
        size_text(before),
        size_text(after)
    )];
    notes.extend(moved_text(&larger.moved));
    if let Some(limit) = larger.table_limit {
        notes.push(format!(
            "an MBR can't describe more than {}: the rest of the card stays unused (with a GPT it \
             could be used)",
            size_text(limit)
        ));
    }
    notes
}
