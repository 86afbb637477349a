//! Fitting what ends before its partitions do: those that reach past the card's end end with it,
//! where their filesystems do.

use cardkeep_ptable::{Resize, Scheme};
use cardkeep_survey::Cut;

use crate::error::{OpError, OpErrorKind};
use crate::restore::expansion::Expand;
use crate::restore::fit::{Change, Fit, Fitting, tail_of};

impl Fitting<'_> {
    /// Fits an original that lacks what `cut` says.
    pub(crate) fn cut_short(self, own: Fit, cut: &Cut) -> Result<Fit, OpError> {
        if let Expand::Always | Expand::UpTo(_) = self.expand {
            let message = format!("{} can't be expanded", self.origin.name());
            return Err(OpError::new(OpErrorKind::Refused, message)
                .hint(format!("it {cut}"))
                .hint("--no-expand leaves the partitions at their sizes"));
        }
        let tail = self.origin.table.as_ref().map_or(0, tail_of);
        let sector = u64::from(self.origin.input.sector_bytes.max(1));
        let needed = cut.content_end.checked_next_multiple_of(sector);
        let needed = needed.unwrap_or(u64::MAX).saturating_add(tail);
        if needed > self.len {
            let why = "it ends before its filesystem does";
            return Err(self.too_small(needed, Some(why)));
        }
        let Some(table) = &self.origin.table else {
            return Ok(own);
        };
        let end = self.end(table);
        let mut own = own;
        let mut resizes = Vec::new();
        for entry in table
            .partitions
            .iter()
            .filter(|entry| entry.extent.end() > end)
        {
            let (number, shorter) = (entry.number, entry.extent.end() - end);
            own.notes.push(format!(
                "partition {number} becomes {shorter} bytes smaller, and ends with the card; its \
                 filesystem needs no more"
            ));
            resizes.push(Resize {
                number,
                len: end.saturating_sub(entry.extent.start()),
            });
        }
        match (resizes.is_empty(), table.scheme) {
            (true, Scheme::Mbr) => Ok(own),
            _ => own.with_table(self, table, Change::Lengths(&resizes)),
        }
    }
}
