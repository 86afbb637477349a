//! The phases of a rescue: what is easy first, what is hard last.
//!
//! ```text
//!   copy    large requests, the largest areas first; behind an error or a slow request a jump
//!           ahead, twice as far each time. Forwards, then backwards into what was jumped over,
//!           then all of that in small requests
//!   trim    from both edges of a failed request towards its first bad sector
//!   scrape  what lies between the edges, 4 KiB by 4 KiB, and sector by sector where those fail
//!   retry   the bad sectors again, as often as the policy says
//! ```

use std::time::Instant;

use cardkeep_block::{Extent, RescueStatus};
use cardkeep_image::RescuePhase;

use crate::error::CopyError;
use crate::rescue::reach::{REQUEST_BYTES, Reach, Reached};

/// Requests of the last copying pass: near an error large ones fail for their neighbours' sake.
const SMALL_BYTES: u64 = 64 << 10;
/// The block of most filesystems, and the page of most cards: what fails fails together.
const BLOCK_BYTES: u64 = 4096;
/// Jumps don't get longer than this part of the medium.
const SKIP_PART: u64 = 16;

/// Which way an area is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forwards,
    Backwards,
}

impl Direction {
    /// Returns `extent` cut at multiples of `size`, in this direction.
    fn pieces(self, extent: Extent, size: u64) -> impl Iterator<Item = Extent> {
        let (first, end) = (extent.start() / size, extent.end().div_ceil(size));
        let count = end.saturating_sub(first);
        (0..count).map(move |step| {
            let index = match self {
                Self::Forwards => first + step,
                Self::Backwards => end - 1 - step,
            };
            let start = index.saturating_mul(size);
            Extent::between(start, start.saturating_add(size)).intersection(extent)
        })
    }
}

impl Reach<'_> {
    /// Does all phases, and does them again where the source was away meanwhile. What is not finished in the
    /// map then can't be read.
    pub(crate) fn rescue(&mut self) -> Result<(), CopyError> {
        self.round()?;
        while self.end_round()? {
            self.round()?;
        }
        self.begin(RescuePhase::Finished, 1)
    }

    fn round(&mut self) -> Result<(), CopyError> {
        self.copy_pass(1, Direction::Forwards, REQUEST_BYTES)?;
        self.copy_pass(2, Direction::Backwards, REQUEST_BYTES)?;
        self.copy_pass(3, Direction::Forwards, SMALL_BYTES)?;
        self.trim()?;
        self.scrape()?;
        for pass in 1..=self.policy.retries {
            self.retry(pass)?;
        }
        Ok(())
    }

    fn copy_pass(&mut self, pass: u32, way: Direction, size: u64) -> Result<(), CopyError> {
        self.begin(RescuePhase::Copying, pass)?;
        let mut areas = self.extents(RescueStatus::NonTried);
        // The sort is stable: areas of one length stay in address order.
        areas.sort_by_key(|area| std::cmp::Reverse(area.len()));
        for area in areas {
            self.copy_area(area, way, size)?;
        }
        Ok(())
    }

    fn copy_area(&mut self, area: Extent, way: Direction, size: u64) -> Result<(), CopyError> {
        let may_jump = size == REQUEST_BYTES;
        let skip_bytes_max = (self.map.len() / SKIP_PART).max(self.policy.skip_bytes);
        let mut skip_bytes = self.policy.skip_bytes;
        let mut skipped_bytes = 0;
        for piece in way.pieces(area, size) {
            if skipped_bytes > 0 {
                skipped_bytes = u64::saturating_sub(skipped_bytes, piece.len());
                continue;
            }
            match self.copy_piece(piece, may_jump)? {
                Reached::Good => skip_bytes = self.policy.skip_bytes,
                Reached::Slow | Reached::Failed if may_jump => {
                    skipped_bytes = skip_bytes;
                    skip_bytes = skip_bytes.saturating_mul(2).min(skip_bytes_max);
                }
                Reached::Slow | Reached::Failed => {}
            }
        }
        Ok(())
    }

    /// Reads what nobody tried of a piece: to its end, or, where reading may jump ahead, to the first request
    /// that fails or is slow. What fails is to be trimmed.
    fn copy_piece(&mut self, piece: Extent, may_jump: bool) -> Result<Reached, CopyError> {
        let mut is_failed = false;
        for request in self.requests(piece) {
            let reached = self.attempt(request)?;
            if reached == Reached::Failed {
                self.map.set(request, RescueStatus::NonTrimmed);
                is_failed = true;
            }
            if may_jump && reached != Reached::Good {
                return Ok(reached);
            }
        }
        // What nobody wants between the requests is finished by that.
        match is_failed {
            true => Ok(Reached::Failed),
            false => self.attempt(piece),
        }
    }

    fn trim(&mut self) -> Result<(), CopyError> {
        self.begin(RescuePhase::Trimming, 1)?;
        for area in self.extents(RescueStatus::NonTrimmed) {
            if self.map.is_full() {
                break;
            }
            let Some(first) = self.edge(area, Direction::Forwards, SMALL_BYTES)? else {
                continue;
            };
            let rest = Extent::between(first.end(), area.end());
            let last = self.edge(rest, Direction::Backwards, SMALL_BYTES)?;
            if let Some(last) = last {
                let middle = Extent::between(first.end(), last.start());
                self.map.set(middle, RescueStatus::NonScraped);
            }
        }
        Ok(())
    }

    /// Reads on until the first bad unit, marks it and returns it; `None` where there is none.
    fn edge(
        &mut self,
        area: Extent,
        way: Direction,
        size: u64,
    ) -> Result<Option<Extent>, CopyError> {
        let size = size.max(self.unit());
        for piece in way.pieces(area, size) {
            if self.attempt(piece)? != Reached::Failed {
                continue;
            }
            if size <= self.unit() {
                self.map.set(piece, RescueStatus::BadSector);
                return Ok(Some(piece));
            }
            let smaller = if size > BLOCK_BYTES { BLOCK_BYTES } else { 0 };
            if let Some(bad) = self.edge(piece, way, smaller)? {
                return Ok(Some(bad));
            }
        }
        Ok(None)
    }

    fn scrape(&mut self) -> Result<(), CopyError> {
        self.begin(RescuePhase::Scraping, 1)?;
        for area in self.extents(RescueStatus::NonScraped) {
            self.each_block(area, Direction::Forwards)?;
        }
        Ok(())
    }

    fn retry(&mut self, pass: u32) -> Result<(), CopyError> {
        self.begin(RescuePhase::Retrying, pass)?;
        let way = if pass % 2 == 1 {
            Direction::Backwards
        } else {
            Direction::Forwards
        };
        // What a time limit or a full map left behind gets its turn too.
        for status in [
            RescueStatus::NonTrimmed,
            RescueStatus::NonScraped,
            RescueStatus::BadSector,
        ] {
            for area in self.extents(status) {
                self.each_block(area, way)?;
            }
        }
        Ok(())
    }

    /// Tries an area block by block, and the sectors of blocks that fail, as long as the policy
    /// allows.
    fn each_block(&mut self, area: Extent, way: Direction) -> Result<(), CopyError> {
        let began = Instant::now();
        let unit = self.unit();
        for block in way.pieces(area, BLOCK_BYTES.max(unit)) {
            let is_late = |limit| began.elapsed() >= limit;
            if self.policy.area_time_max.is_some_and(is_late) || self.map.is_full() {
                return Ok(());
            }
            if self.attempt(block)? != Reached::Failed {
                continue;
            }
            if block.len() <= unit {
                self.map.set(block, RescueStatus::BadSector);
                continue;
            }
            for sector in way.pieces(block, unit) {
                if self.attempt(sector)? == Reached::Failed {
                    self.map.set(sector, RescueStatus::BadSector);
                }
            }
        }
        Ok(())
    }
}
