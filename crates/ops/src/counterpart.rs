//! What an image is compared with: not always the card as it is. A restore lets the last filesystem
//! grow with the card or shrink with it, and a backup may make it smaller; where the card shows that
//! this was done, the image is compared with just that.

use std::sync::Arc;

use cardkeep_block::{AllocationMap, Monitor, Patch, Patched, ReadAt};
use cardkeep_image::FrameDigest;
use cardkeep_resize::medium::{Length, smaller};
use cardkeep_survey::{Scope, survey};

use crate::error::OpError;
use crate::input::{Input, SurveyedInput};
use crate::restore::{Expand, Fit, Fitting};

/// The boot record with its four entries: the same in two tables of one layout, another one
/// whenever a partition has another length (a GPT's own entries lie right behind).
const TABLE_BYTES: usize = 34 * 512;

/// Two media that should hold the same.
pub(crate) struct Pair {
    pub(crate) content: Arc<dyn ReadAt>,
    pub(crate) card: Arc<dyn ReadAt>,
    /// Which bytes are compared.
    pub(crate) map: AllocationMap,
    /// The digests of `content`'s frames, where they are known.
    pub(crate) digests: Vec<Option<FrameDigest>>,
}

impl Pair {
    /// Finds out what an image has to be compared with on a card.
    pub(crate) fn of(
        origin: &SurveyedInput,
        card: &Input,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpError> {
        let own = Self {
            content: origin.input.random_content()?,
            card: card.random_content()?,
            map: origin.map.clone(),
            digests: origin.digests.clone(),
        };
        let head = head_of(&own.card);
        let is_shorter = own.card.len() < own.content.len();
        if head == head_of(&own.content) && !is_shorter {
            return Ok(own);
        }
        if let Some(fitted) = own.as_restored(origin, monitor) {
            return Ok(fitted);
        }
        if let Some(shrunk) = own.as_backed_up(card, monitor)
            && head_of(&shrunk.card) == head_of(&shrunk.content)
        {
            return Ok(shrunk);
        }
        Ok(own)
    }

    /// Returns the image as a restore has written it onto the card: what it changes is there. Equal
    /// tables prove nothing: the card that the image was made of may have the same one.
    fn as_restored(&self, origin: &SurveyedInput, monitor: &dyn Monitor) -> Option<Self> {
        // Whatever keeps it from being fitted, the card was not written so.
        let fit = Fit::new(Fitting {
            origin,
            len: self.card.len(),
            expand: Expand::Auto,
            monitor,
        })
        .ok()?;
        let content = match &fit.content {
            Some(resized) => Arc::clone(&resized.view),
            None => Arc::clone(&self.content),
        };
        let patched = Patched::new(content, fit.patches.clone(), fit.map.len());
        let content: Arc<dyn ReadAt> = Arc::new(patched);
        let is_written = match &fit.content {
            Some(_) => head_of(&content) == head_of(&self.card),
            None => self.has_patches(&fit),
        };
        is_written.then(|| Self {
            content,
            card: Arc::clone(&self.card),
            map: fit.map,
            digests: fit.digests,
        })
    }

    /// Tells whether the card shows what was changed for it.
    fn has_patches(&self, fit: &Fit) -> bool {
        let is_there = |patch: &Patch| {
            let found = self.card.read_vec(patch.offset, patch.bytes.len());
            found.is_ok_and(|found| found == patch.bytes)
        };
        // Where nothing but the end was left out, the tables are alike.
        let is_alike = || head_of(&self.content) == head_of(&self.card);
        (!fit.patches.is_empty() || is_alike()) && fit.patches.iter().all(is_there)
    }

    /// Returns the card as a backup would have made it smaller for this image.
    fn as_backed_up(&self, card: &Input, monitor: &dyn Monitor) -> Option<Self> {
        if self.card.len() <= self.content.len() {
            return None;
        }
        let learnt = survey(&self.card, card.sector_bytes, Scope::UsedOnly, monitor);
        let length = Length::AtMost(self.content.len());
        // Whatever keeps it from being made smaller, the image was not made so.
        let shrunk = smaller(&self.card, &learnt, length, monitor).ok()?;
        Some(Self {
            content: Arc::clone(&self.content),
            card: shrunk.view,
            map: self.map.clone(),
            digests: self.digests.clone(),
        })
    }
}

/// Returns the beginning of a medium, where its partition table lies; empty where that can't be
/// read.
fn head_of(medium: &Arc<dyn ReadAt>) -> Vec<u8> {
    let len = medium.len().min(TABLE_BYTES as u64) as usize;
    medium.read_vec(0, len).unwrap_or_default()
}
