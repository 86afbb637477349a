//! Asking a failing source for single requests: into the store what it gives, into the books what
//! it does not.

use std::time::{Duration, Instant};

use cardkeep_block::{
    AlignedBuffer, AllocationMap, BlockError, BlockErrorKind, Extent, Monitor, Operation, Phase,
    ReadAt, RescueMap, RescueRun, RescueStatus, State,
};
use cardkeep_image::{Mapfile, RescuePhase};

use crate::destination::Destination;
use crate::error::CopyError;
use crate::frames::requests_in;
use crate::rescue::attendant::Attendant;
use crate::rescue::health::Health;
use crate::rescue::policy::RetryPolicy;
use crate::rescue::shelf::Shelf;
use crate::runs::RequestCost;

/// The largest request: one that fails costs its whole time.
pub(crate) const REQUEST_BYTES: u64 = 1 << 20;
/// The smallest request, in bytes, of a source that would serve less.
const SECTOR_BYTES: u64 = 512;
/// After so many errors in a row something is read that could be read before: a card that is gone
/// fails everywhere, and not every reader says that it is gone.
const STREAK_MAX: usize = 32;
/// The map is saved after so much, whichever comes first.
const SAVE_BYTES: u64 = 64 << 20;
const SAVE_TIME: Duration = Duration::from_secs(5);

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// All is in the store.
    Good,
    /// So it is, but it took too long.
    Slow,
    /// The source refused it.
    Failed,
}

/// A failing source, with all that is known of it.
pub(crate) struct Reach<'a> {
    pub(crate) source: &'a dyn ReadAt,
    /// Used bytes are wanted.
    pub(crate) wanted: &'a AllocationMap,
    pub(crate) store: &'a dyn Destination,
    pub(crate) shelf: &'a dyn Shelf,
    pub(crate) attendant: &'a dyn Attendant,
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) monitor: &'a dyn Monitor,
    pub(crate) read_through_bytes: u64,
    /// What is finished is in the store, or among `elsewhere`.
    pub(crate) map: RescueMap,
    /// What others have already: the store has not.
    pub(crate) elsewhere: Vec<Extent>,
    pub(crate) health: Health,
    /// Something that could be read.
    pub(crate) witness: Option<Extent>,
    pub(crate) work: Work,
}

/// What changes from request to request.
pub(crate) struct Work {
    buffer: AlignedBuffer,
    phase: RescuePhase,
    pass: u32,
    position: u64,
    unsaved_bytes: u64,
    saved_at: Instant,
    /// What failed since the last success.
    streak: Vec<Refusal>,
    /// How often the source came back, as far as this has heard of it.
    return_count: u64,
    /// Whether the source was away in this round: what failed then has its turn again.
    was_away: bool,
}

/// A request that the source refused.
struct Refusal {
    request: Extent,
    time: Duration,
    /// What the map said of it before.
    runs: Vec<RescueRun>,
}

/// What is to blame for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The place that was asked for.
    Place,
    /// The source, which was away and is back.
    Absence,
}

impl Work {
    pub(crate) fn new(return_count: u64) -> Self {
        Self {
            buffer: AlignedBuffer::new(0),
            phase: RescuePhase::Copying,
            pass: 1,
            position: 0,
            unsaved_bytes: 0,
            saved_at: Instant::now(),
            streak: Vec::new(),
            return_count,
            was_away: false,
        }
    }
}

impl Reach<'_> {
    /// Returns the size in bytes of what can be read or lost on its own.
    pub(crate) fn unit(&self) -> u64 {
        (self.source.alignment() as u64).max(SECTOR_BYTES)
    }

    /// Says what comes next, and saves the map.
    pub(crate) fn begin(&mut self, phase: RescuePhase, pass: u32) -> Result<(), CopyError> {
        (self.work.phase, self.work.pass) = (phase, pass);
        self.save()
    }

    /// Returns the extents of one status that hold a wanted byte; those that hold none are
    /// finished by that.
    pub(crate) fn extents(&mut self, status: RescueStatus) -> Vec<Extent> {
        let all: Vec<Extent> = self.map.extents(status).collect();
        let (kept, idle): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|&extent| self.is_wanted(extent));
        for extent in idle {
            self.map.set(extent, RescueStatus::Finished);
        }
        kept
    }

    fn is_wanted(&self, extent: Extent) -> bool {
        let mut runs = self.wanted.runs_in(extent);
        runs.any(|run| run.state == State::Used)
    }

    /// Asks for all that is wanted of `piece` and not yet there; stops at the first error. What
    /// comes is put into the store, and is finished.
    pub(crate) fn attempt(&mut self, piece: Extent) -> Result<Reached, CopyError> {
        let mut reached = Reached::Good;
        for request in self.requests(piece) {
            match self.read(request)? {
                Reached::Good => {}
                Reached::Slow => reached = Reached::Slow,
                Reached::Failed => return Ok(Reached::Failed),
            }
        }
        self.map.set(piece, RescueStatus::Finished);
        Ok(reached)
    }

    /// Returns the requests for what is wanted of `piece` and not yet there.
    pub(crate) fn requests(&self, piece: Extent) -> Vec<Extent> {
        let cost = RequestCost {
            alignment: self.unit(),
            read_through_bytes: self.read_through_bytes,
        };
        let parts = self.map.unfinished_in(piece).map(|run| run.extent);
        let requests = parts
            .flat_map(|part| requests_in(self.wanted, part, cost))
            .map(|request| request.intersection(piece));
        requests.collect()
    }

    fn read(&mut self, request: Extent) -> Result<Reached, CopyError> {
        loop {
            let (result, time) = self.ask(request)?;
            match result {
                Ok(()) => {
                    let is_slow = time
                        .is_some_and(|time| self.policy.is_slow(&self.health, request.len(), time));
                    if let Some(time) = time {
                        self.health.record(request, time, true);
                    }
                    self.keep(request)?;
                    return Ok(if is_slow {
                        Reached::Slow
                    } else {
                        Reached::Good
                    });
                }
                Err(error) if may_be_rescued(&error) => {
                    if self.refused(request, time.unwrap_or_default())? == Blame::Place {
                        return Ok(Reached::Failed);
                    }
                }
                Err(error) => return Err(CopyError::Source(error)),
            }
        }
    }

    /// Asks for one request, which goes into the buffer. Returns how long that took, where the source was not
    /// away meanwhile.
    fn ask(
        &mut self,
        request: Extent,
    ) -> Result<(Result<(), BlockError>, Option<Duration>), CopyError> {
        if self.monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        self.work.position = request.start();
        let size = request.len() as usize;
        if self.work.buffer.len() < size {
            self.work.buffer = AlignedBuffer::new(size);
        }
        let began = Instant::now();
        let target = &mut self.work.buffer[..size];
        let result = self.source.read_at(request.start(), target);
        let time = began.elapsed();
        let time = (!self.note_return()).then_some(time);
        if self.work.phase == RescuePhase::Retrying {
            self.health.retried();
        }
        Ok((result, time))
    }

    /// Puts what was read into the store.
    fn keep(&mut self, request: Extent) -> Result<(), CopyError> {
        self.blame_places();
        let end = request.end().min(request.start() + self.unit());
        self.witness = Some(Extent::between(request.start(), end));
        let mut kept_bytes = 0;
        let parts = self.wanted.runs_in(request);
        for part in parts.filter(|run| run.state == State::Used) {
            let part = part.extent;
            let from = (part.start() - request.start()) as usize;
            let bytes = &self.work.buffer[from..from + part.len() as usize];
            self.store
                .write_at(part.start(), bytes)
                .map_err(CopyError::Destination)?;
            kept_bytes += part.len();
        }
        self.map.set(request, RescueStatus::Finished);
        self.monitor.advance(Phase::Rescue, kept_bytes);
        self.work.unsaved_bytes += kept_bytes;
        if self.work.unsaved_bytes >= SAVE_BYTES || self.work.saved_at.elapsed() >= SAVE_TIME {
            self.save()?;
        }
        Ok(())
    }

    /// Takes down an error, and after many of them finds out whether the source is still there at all.
    fn refused(&mut self, request: Extent, time: Duration) -> Result<Blame, CopyError> {
        let runs = self.map.runs_in(request).collect();
        self.work.streak.push(Refusal {
            request,
            time,
            runs,
        });
        if self.work.saved_at.elapsed() >= SAVE_TIME {
            self.save()?;
        }
        if self.work.streak.len() < STREAK_MAX {
            return Ok(Blame::Place);
        }
        self.find_blame()
    }

    /// Finds out whether the places that failed since the last success are to blame for that, or
    /// the source; then it waits for the source.
    fn find_blame(&mut self) -> Result<Blame, CopyError> {
        let Some(witness) = self.witness else {
            self.blame_places();
            return Ok(Blame::Place);
        };
        let result = self.try_witness(witness);
        if self.note_return() {
            return Ok(Blame::Absence);
        }
        let Err(error) = result else {
            self.blame_places();
            return Ok(Blame::Place);
        };
        self.forgive_places();
        // What is called gone was waited for.
        if error.kind() == BlockErrorKind::Gone || !self.attendant.come_back() {
            let error = BlockError::new(BlockErrorKind::Gone, Operation::Read);
            return Err(CopyError::Source(error.at(witness)));
        }
        self.note_return();
        if self.try_witness(witness).is_err() {
            // It went bad itself, and tells nothing any more.
            self.witness = None;
        }
        Ok(Blame::Absence)
    }

    fn try_witness(&self, witness: Extent) -> Result<(), BlockError> {
        let mut target = AlignedBuffer::new(witness.len() as usize);
        self.source.read_at(witness.start(), &mut target)
    }

    /// Hears whether the source came back since it was asked last. Where it did, none of the places that
    /// failed before was to blame.
    fn note_return(&mut self) -> bool {
        let count = self.attendant.return_count();
        let is_back = count != self.work.return_count;
        if is_back {
            self.work.return_count = count;
            self.work.was_away = true;
            self.forgive_places();
        }
        is_back
    }

    fn blame_places(&mut self) {
        for refusal in self.work.streak.drain(..) {
            self.health.record(refusal.request, refusal.time, false);
        }
    }

    fn forgive_places(&mut self) {
        // The first refusal of a place knows what was said of it before all of them.
        for refusal in self.work.streak.drain(..).rev() {
            for run in refusal.runs {
                self.map.set(run.extent, run.status);
            }
        }
    }

    /// Ends a round of all phases; answers whether the source was away in it, so that it takes another.
    pub(crate) fn end_round(&mut self) -> Result<bool, CopyError> {
        if !self.work.streak.is_empty() {
            self.find_blame()?;
        }
        Ok(std::mem::take(&mut self.work.was_away))
    }

    /// Makes durable what is in the store, and then says so in the mapfile.
    pub(crate) fn save(&mut self) -> Result<(), CopyError> {
        // ORDER: content before map. A map that outlives a crash must not call finished what the
        // store does not hold.
        self.store.flush().map_err(CopyError::Destination)?;
        let mapfile = Mapfile {
            position: self.work.position,
            phase: self.work.phase,
            pass: self.work.pass,
            map: self.stored(),
        };
        self.shelf.save(&mapfile).map_err(CopyError::Destination)?;
        self.work.unsaved_bytes = 0;
        self.work.saved_at = Instant::now();
        Ok(())
    }

    /// Returns what the store holds.
    pub(crate) fn stored(&self) -> RescueMap {
        let mut map = self.map.clone();
        for &extent in &self.elsewhere {
            map.set(extent, RescueStatus::NonTried);
        }
        map
    }
}

/// Tells whether the source may serve other requests after this error.
pub(crate) fn may_be_rescued(error: &BlockError) -> bool {
    matches!(error.kind(), BlockErrorKind::Io | BlockErrorKind::ShortRead)
}
