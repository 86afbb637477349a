//! Letting the last filesystem fill a card that is larger than what is restored.

use cardkeep_block::{Monitor, size_text};
use cardkeep_resize::medium::{Declined, Larger, larger};
use cardkeep_survey::grows_itself;

use crate::error::{OpError, OpErrorKind, chain};
use crate::restore::origin::Origin;

/// Whether the last filesystem grows with the card.
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

/// What becomes of the last filesystem.
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
    origin: &Origin,
    len: u64,
    wanted: Expand,
    monitor: &dyn Monitor,
) -> Result<Expansion, OpError> {
    let Some(content_len) = origin.len else {
        return match wanted {
            Expand::Auto | Expand::Never => Ok(Expansion::Same),
            _ => Err(refused(
                origin,
                "what comes from a pipe is not known beforehand",
            )),
        };
    };
    let (reach, is_must) = match wanted {
        Expand::Never => return Ok(Expansion::Same),
        Expand::Auto if len <= content_len => return Ok(Expansion::Same),
        Expand::Auto => (len, false),
        Expand::Always => (len, true),
        Expand::UpTo(reach) if reach > len => {
            let why = format!("the card has {} only", size_text(len));
            return Err(refused(origin, &why));
        }
        Expand::UpTo(reach) => (reach, true),
    };
    let looked = origin.look(monitor, |content| {
        let is_pending = grows_itself(content, origin.sector_bytes);
        (
            is_pending,
            larger(content, origin.sector_bytes, reach, monitor),
        )
    })?;
    let Some((is_pending, larger)) = looked else {
        return kept(
            origin,
            is_must,
            "too much of it would have to be known beforehand",
        );
    };
    if is_pending && !is_must {
        let why = "the system fills the card itself when it is booted for the first time";
        return Ok(Expansion::Kept(why.to_owned()));
    }
    match larger {
        // A view of a stream can't be read.
        Ok(Some(larger)) if larger.recovered.is_some() && origin.content().is_none() => kept(
            origin,
            is_must,
            "it was not unmounted properly, and is a stream",
        ),
        Ok(Some(larger)) => Ok(Expansion::Grown(Box::new(larger))),
        Ok(None) => Ok(Expansion::Same),
        // Cards without such a filesystem are no surprise to who owns them.
        Err(Declined::NoFilesystem { .. } | Declined::NoPartition) if !is_must => {
            Ok(Expansion::Same)
        }
        Err(declined) => kept(origin, is_must, &chain(&declined)),
    }
}

fn kept(origin: &Origin, is_must: bool, why: &str) -> Result<Expansion, OpError> {
    if is_must {
        return Err(refused(origin, why));
    }
    let note = format!("the last partition keeps its size: {why}");
    Ok(Expansion::Kept(note))
}

fn refused(origin: &Origin, why: &str) -> OpError {
    let message = format!("{} can't be expanded", origin.name());
    OpError::new(OpErrorKind::Refused, message)
        .hint(why)
        .hint("--no-expand leaves the partitions at their sizes")
}

/// Says what grows.
pub(crate) fn note(larger: &Larger) -> String {
    let (before, after) = larger.fs_bytes;
    let what = match larger.number {
        0 => "the filesystem".to_owned(),
        number => format!("partition {number}"),
    };
    format!(
        "{what} grows from {} to {}",
        size_text(before),
        size_text(after)
    )
}
