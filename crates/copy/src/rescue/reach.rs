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
use crate::rescue::health::Health;
use crate::rescue::policy::RetryPolicy;
use crate::rescue::shelf::Shelf;

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
    /// What the map said of what failed since the last success.
    streak: Vec<RescueRun>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            buffer: AlignedBuffer::new(0),
            phase: RescuePhase::Copying,
            pass: 1,
            position: 0,
            unsaved_bytes: 0,
            saved_at: Instant::now(),
            streak: Vec::new(),
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
        let unit = self.unit();
        let parts = self.map.unfinished_in(piece).map(|run| run.extent);
        let requests = parts
            .flat_map(|part| requests_in(self.wanted, part, unit, self.read_through_bytes))
            .map(|request| request.intersection(piece));
        requests.collect()
    }

    fn read(&mut self, request: Extent) -> Result<Reached, CopyError> {
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
        let is_slow = self.policy.is_slow(&self.health, request.len(), time);
        self.health.record(request, time, result.is_ok());
        if self.work.phase == RescuePhase::Retrying {
            self.health.retried();
        }
        match result {
            Ok(()) => {
                self.keep(request)?;
                Ok(if is_slow {
                    Reached::Slow
                } else {
                    Reached::Good
                })
            }
            Err(error) if may_be_rescued(&error) => {
                self.refused(request)?;
                Ok(Reached::Failed)
            }
            Err(error) => Err(CopyError::Source(error)),
        }
    }

    /// Puts what was read into the store.
    fn keep(&mut self, request: Extent) -> Result<(), CopyError> {
        self.work.streak.clear();
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

    /// Takes down an error, and finds out whether the source is still there at all.
    fn refused(&mut self, request: Extent) -> Result<(), CopyError> {
        self.work.streak.extend(self.map.runs_in(request));
        if self.work.saved_at.elapsed() >= SAVE_TIME {
            self.save()?;
        }
        if self.work.streak.len() < STREAK_MAX {
            return Ok(());
        }
        let streak = std::mem::take(&mut self.work.streak);
        let Some(witness) = self.witness else {
            return Ok(());
        };
        let target = &mut self.work.buffer[..witness.len() as usize];
        if self.source.read_at(witness.start(), target).is_ok() {
            return Ok(());
        }
        // None of these places was to blame.
        for run in streak {
            self.map.set(run.extent, run.status);
        }
        let error = BlockError::new(BlockErrorKind::Gone, Operation::Read);
        Err(CopyError::Source(error.at(witness)))
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
