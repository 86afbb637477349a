//! Whether all of a medium is there: an image whose end is missing looks whole to a program that
//! only decodes it.

use cardkeep_block::{Monitor, ReadAt};
use cardkeep_ptable::Error as TableError;
use cardkeep_survey::{Cut, Scope, survey};

use crate::error::{OpError, OpErrorKind};

/// What becomes of content that ends before its partitions do, so that used bytes are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncated {
    /// It is refused.
    #[default]
    Refuse,
    /// What is there is taken.
    Allow,
}

/// Refuses what is called `name` where used bytes of it are missing, unless that is allowed.
///
/// # Errors
/// Of `kind`.
pub(crate) fn check_whole(
    (name, cut): (&str, Option<&Cut>),
    wanted: Truncated,
    kind: OpErrorKind,
) -> Result<(), OpError> {
    match cut {
        Some(cut) if !cut.is_harmless() && wanted == Truncated::Refuse => {
            Err(truncated(name, cut, kind))
        }
        _ => Ok(()),
    }
}

/// Returns the error of what is called `name` and lacks what `cut` says.
pub(crate) fn truncated(name: &str, cut: &Cut, kind: OpErrorKind) -> OpError {
    OpError::new(kind, format!("{name} {cut}"))
        .hint("an interrupted copy or download ends like this: download or make it again")
        .hint("--allow-truncated accepts what is there")
}

/// Returns what content lacks at its end whose map is known already, so that nobody looked; tells it.
pub(crate) fn cut_of(
    content: &dyn ReadAt,
    sector_bytes: u32,
    monitor: &dyn Monitor,
) -> Option<Cut> {
    match cardkeep_ptable::load(&content, sector_bytes) {
        Err(TableError::Corrupt(corrupt)) if corrupt.cut().is_some() => {
            survey(content, sector_bytes, Scope::UsedOnly, monitor).cut
        }
        _ => None,
    }
}

/// Returns what content lacks at its end by its partition table alone: nothing that is missing is
/// proven free.
pub(crate) fn cut_by_table(content: &dyn ReadAt, sector_bytes: u32) -> Option<Cut> {
    let Err(TableError::Corrupt(corrupt)) = cardkeep_ptable::load(&content, sector_bytes) else {
        return None;
    };
    let table = corrupt.cut()?;
    let all = table.partitions.iter().chain(&table.containers);
    let last = all.max_by_key(|entry| entry.extent.end())?;
    let end = last.extent.end();
    Some(Cut {
        medium_end: content.len(),
        number: last.number,
        partition_end: end,
        content_end: end,
        missing_bytes: end.saturating_sub(content.len()),
    })
}
