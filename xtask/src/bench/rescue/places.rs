//! Where the card fails: the same places for the same card, whoever reads it.

use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random};

use crate::bench::content::Content;

const SEED: u64 = 6;
const SECTOR_BYTES: u64 = 512;
/// Bad areas in used space, and of how many sectors at most.
const USED_COUNT: usize = 12;
const USED_SECTORS_MAX: u64 = 64;
/// Bad areas in free space, and of how many sectors at most: 1 MiB.
const FREE_COUNT: usize = 12;
const FREE_SECTORS_MAX: u64 = 2048;
/// Slow areas in either, of how many sectors at most, and by how much each request is slower.
const SLOW_COUNT: usize = 3;
const SLOW_SECTORS_MAX: u64 = 1024;
const SLOW_DELAY: Duration = Duration::from_millis(200);
/// How often a place is looked for until the card counts as too full.
const ATTEMPTS_MAX: usize = 10_000;

/// The places.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) bad_used: Vec<Extent>,
    pub(super) bad_free: Vec<Extent>,
    pub(super) slow: Vec<Extent>,
}

impl Places {
    /// Chooses them on a card of `len` bytes.
    ///
    /// # Errors
    /// Says that the card has no room for them.
    pub(super) fn choose(content: &Content, len: u64) -> Result<Self, String> {
        let mut search = Search {
            random: Random::new(SEED),
            content,
            len,
            taken: Vec::new(),
        };
        let bad_used = search.find(USED_COUNT, USED_SECTORS_MAX, true)?;
        let bad_free = search.find(FREE_COUNT, FREE_SECTORS_MAX, false)?;
        let mut slow = search.find(SLOW_COUNT, SLOW_SECTORS_MAX, true)?;
        slow.extend(search.find(SLOW_COUNT, SLOW_SECTORS_MAX, false)?);
        Ok(Self {
            bad_used,
            bad_free,
            slow,
        })
    }

    /// Returns them as faults.
    pub(super) fn faults(&self) -> impl Iterator<Item = Fault> {
        let bad = self.bad_used.iter().chain(&self.bad_free);
        let slow = self.slow.iter().map(|&extent| Fault::Slow {
            extent,
            delay: SLOW_DELAY,
        });
        bad.map(|&extent| Fault::Unreadable(extent)).chain(slow)
    }
}

struct Search<'a> {
    random: Random,
    content: &'a Content,
    len: u64,
    taken: Vec<Extent>,
}

impl Search<'_> {
    fn find(
        &mut self,
        count: usize,
        sectors_max: u64,
        is_used: bool,
    ) -> Result<Vec<Extent>, String> {
        let mut found = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            if found.len() == count {
                return Ok(found);
            }
            let len = (1 + self.random.below(sectors_max)) * SECTOR_BYTES;
            let start = self.random.below(self.len / SECTOR_BYTES) * SECTOR_BYTES;
            let place = Extent::between(start, start + len);
            if place.end() <= self.len && self.suits(place, is_used) {
                self.taken.push(place);
                found.push(place);
            }
        }
        Err("the card has no room for the places where it should fail".to_owned())
    }

    fn suits(&self, place: Extent, is_used: bool) -> bool {
        let touches = |extents: &[Extent]| extents.iter().any(|extent| extent.overlaps(place));
        if touches(&self.taken) {
            return false;
        }
        if is_used {
            let mut used = self.content.used().iter();
            return used.any(|extent| extent.covers(place));
        }
        !touches(self.content.used()) && !touches(self.content.zero())
    }
}
