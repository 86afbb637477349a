//! What a card held before must not show through what a restore leaves alone: the places of known
//! signatures are cleared by the partition table that the card gets, with partitions that were resized
//! or moved in their new places, whatever the image's map says of them.

use cardkeep_block::{Extent, MapBuilder, Run, State};
use cardkeep_copy::HEAD_BYTES;
use cardkeep_survey::clear_stale_signatures;

use crate::input::SurveyedInput;
use crate::restore::fit::Fit;

impl Fit {
    /// Returns the fit to a card of `len` bytes that leaves zeros where signatures of older contents
    /// could be, up to its map's end.
    pub(crate) fn without_stale_signatures(mut self, origin: &SurveyedInput, len: u64) -> Self {
        if origin.len.is_none() {
            // What comes out of a pipe is learnt on the way, these places with it.
            return self;
        }
        let partitions = self.partitions(origin);
        self.map = clear_stale_signatures(&self.map, &partitions, len);
        self
    }

    /// Returns the fit with a map that reaches to the end of a card of `len` bytes, and leaves zeros
    /// there: what is compared with a card is not wiped at its end beforehand, as others are.
    pub(crate) fn covering(self, len: u64) -> Self {
        let end = self.map.len();
        if end >= len {
            return self;
        }
        let mut builder = MapBuilder::new(len);
        for run in self.map.runs() {
            builder.push_to(run.extent.end(), run.state);
        }
        let behind = Extent::between(end, len);
        let wiped = Extent::between(len.saturating_sub(HEAD_BYTES), len);
        let zeros = [Run::new(wiped, State::Zero)];
        let map = builder.finish(State::Free).raised(&zeros);
        // The last frame grows, and has another digest.
        Self { map, ..self }.without_changed(&[behind])
    }

    /// Returns where the partitions lie on the card.
    fn partitions(&self, origin: &SurveyedInput) -> Vec<Extent> {
        match (&self.placed, &origin.table) {
            (Some(placed), _) => placed.clone(),
            (None, Some(table)) => table.partitions.iter().map(|own| own.extent).collect(),
            (None, None) => Vec::new(),
        }
    }
}
