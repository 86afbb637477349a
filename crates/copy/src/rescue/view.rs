//! A failing source seen as one that does not fail.
//!
//! ```text
//!   direct   every request goes to the source, or to the store for what an earlier run put there
//!      │ the first error, or some slow requests in a row: who asks waits, until
//!   rescue   what nobody has yet was read into the store as far as it goes
//!      │
//!   stored   every request goes to the store; what could not be read is zeros
//! ```
//!
//! So the pipeline reads in address order, into any container, and knows nothing of this. On a
//! healthy source nothing is stored, and nothing waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, Monitor, Operation, Phase, ReadAt,
    RescueMap, RescueStatus, State, Trouble,
};
use cardkeep_image::{Mapfile, RescuePhase};

use crate::destination::Destination;
use crate::error::CopyError;
use crate::rescue::attendant::Attendant;
use crate::rescue::health::Health;
use crate::rescue::policy::{Holes, RetryPolicy};
use crate::rescue::reach::{Reach, Work, may_be_rescued};
use crate::rescue::report::RescueReport;
use crate::rescue::shelf::Shelf;
use crate::rescue::wanted::{add_served, left_bytes, lost_of, without_idle};

/// A source that may fail, with all that a rescue of it needs.
pub struct FailingSource<'a> {
    /// The source.
    pub source: Arc<dyn ReadAt + 'a>,
    /// Which of its bytes are wanted: those that are used.
    pub wanted: Arc<AllocationMap>,
    /// Where rescued bytes are kept.
    pub shelf: Arc<dyn Shelf + 'a>,
    /// Waits for the source where it vanishes.
    pub attendant: Arc<dyn Attendant + 'a>,
    /// How hard it is tried.
    pub policy: RetryPolicy,
    /// Hears how far a rescue is.
    pub monitor: Arc<dyn Monitor + 'a>,
    /// Gaps up to this length in bytes are read along with what lies around them.
    pub read_through_bytes: u64,
}

/// A failing source seen as one that does not fail. It owns all that it reads: where that is `'static`, it
/// can be handed to any thread, of another engine's as well.
pub struct Rescuing<'a> {
    setup: FailingSource<'a>,
    state: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    mode: Mode,
    /// Requests that the source is busy with.
    in_flight: usize,
    /// What the store holds, or nobody wants.
    held: RescueMap,
    /// What was handed on without the store's help.
    served: RescueMap,
    health: Health,
    busy_until: Instant,
    /// Slow requests since the last one that was not.
    slow_streak: u32,
    witness: Option<Extent>,
    lost: Vec<Extent>,
    failure: Option<CopyError>,
}

#[derive(Clone)]
enum Mode {
    /// With what reads the store, where that holds anything.
    Direct(Option<Arc<dyn ReadAt>>),
    Rescue,
    Stored(Arc<dyn ReadAt>),
    Failed,
}

impl<'a> Rescuing<'a> {
    /// Returns the view of a source of which earlier runs have `held` in the store, and `done`
    /// bytes from the beginning on in the image.
    ///
    /// # Errors
    /// [`CopyError::Destination`] where the store can't be read.
    pub fn new(setup: FailingSource<'a>, held: RescueMap, done: u64) -> Result<Self, CopyError> {
        let holds_something = setup.wanted.extents(State::Used).any(|extent| {
            held.runs_in(extent)
                .any(|r| r.status == RescueStatus::Finished)
        });
        let reader = holds_something
            .then(|| setup.shelf.store()?.settled().map(Arc::from))
            .transpose()
            .map_err(CopyError::Destination)?;
        let len = setup.wanted.len();
        let mut served = RescueMap::new(len, RescueStatus::NonTried);
        served.set(Extent::between(0, done), RescueStatus::Finished);
        let progress = Progress {
            mode: Mode::Direct(reader),
            in_flight: 0,
            held,
            served,
            health: Health::new(len),
            busy_until: Instant::now(),
            slow_streak: 0,
            witness: None,
            lost: Vec::new(),
            failure: None,
        };
        Ok(Self {
            setup,
            state: Mutex::new(progress),
            changed: Condvar::new(),
        })
    }

    /// Resumes a rescue that an earlier run began, before anything else is read.
    pub fn go_on(&self) {
        let state = self.lock();
        if state.held.has_failures() {
            drop(self.rescue(state));
        }
    }

    /// Returns why reading ended early; `None` where it did not, or where that was told before.
    #[must_use]
    pub fn failure(&self) -> Option<CopyError> {
        self.lock().failure.take()
    }

    /// Returns what could not be read so far, and how well the source reads.
    #[must_use]
    pub fn report(&self) -> RescueReport {
        let state = self.lock();
        RescueReport {
            lost: state.lost.clone(),
            health: state.health.clone(),
        }
    }

    /// Returns what could not be read so far.
    pub(crate) fn lost(&self) -> Vec<Extent> {
        self.lock().lost.clone()
    }

    /// Takes down that a raw image, which is the store, is durable up to `end`.
    pub(crate) fn durable_to(&self, end: u64) -> Result<(), CopyError> {
        let mut state = self.lock();
        if !matches!(state.mode, Mode::Direct(_)) {
            return Ok(());
        }
        state
            .held
            .set(Extent::between(0, end), RescueStatus::Finished);
        let mapfile = Mapfile {
            position: end,
            phase: RescuePhase::Copying,
            pass: 1,
            map: state.held.clone(),
        };
        drop(state);
        let saved = self.setup.shelf.save(&mapfile);
        saved.map_err(CopyError::Destination)
    }

    /// Saves what the image lacks, now that it is made. A raw one holds all but what is lost, and not
    /// only what was put into it once something had failed. Where nothing is lost, a map that is there
    /// must say so until it is removed: between that and the image's name the run may end.
    ///
    /// # Errors
    /// What the system said of the store or the mapfile.
    pub fn finish(&self) -> Result<(), CopyError> {
        let state = self.lock();
        let shelf = &*self.setup.shelf;
        if state.lost.is_empty() && !shelf.is_begun() {
            return Ok(());
        }
        let is_store_used = shelf.is_image() || !state.lost.is_empty();
        let map = if shelf.is_image() {
            let mut map = RescueMap::new(self.setup.wanted.len(), RescueStatus::Finished);
            for run in state.lost.iter().flat_map(|&lost| state.held.runs_in(lost)) {
                map.set(run.extent, run.status);
            }
            map
        } else {
            state.held.clone()
        };
        drop(state);
        let mapfile = Mapfile {
            position: 0,
            phase: RescuePhase::Finished,
            pass: 1,
            map,
        };
        // ORDER: content before map, as always. An image that is not verified was not flushed yet.
        let flushed = match is_store_used {
            true => shelf.store().and_then(|store| store.flush()),
            false => Ok(()),
        };
        flushed
            .and_then(|()| shelf.finish(&mapfile))
            .map_err(CopyError::Destination)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, Progress>) -> MutexGuard<'g, Progress> {
        let guard = self.changed.wait(guard);
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads past the store; `None` where the source was rescued from instead.
    fn read_direct(
        &self,
        store: Option<&dyn ReadAt>,
        extent: Extent,
        buffer: &mut [u8],
    ) -> Result<Option<()>, BlockError> {
        let held: Vec<_> = match store {
            Some(_) => self.lock().held.runs_in(extent).collect(),
            None => Vec::new(),
        };
        let return_count = self.setup.attendant.return_count();
        let began = Instant::now();
        let result = if held.is_empty() {
            self.setup.source.read_at(extent.start(), buffer)
        } else {
            held.iter().try_for_each(|run| {
                let part = part_of(buffer, extent, run.extent);
                match store {
                    Some(store) if run.status == RescueStatus::Finished => {
                        self.read_store(store, run.extent, part)
                    }
                    _ => self.setup.source.read_at(run.extent.start(), part),
                }
            })
        };
        let mut state = self.lock();
        state.in_flight -= 1;
        self.changed.notify_all();
        // The time for which a card was away is no time that it took.
        if self.setup.attendant.return_count() == return_count {
            let request = Request {
                extent,
                began,
                is_served: result.is_ok(),
            };
            state.note(&self.setup.policy, request);
        }
        match result {
            Ok(()) => {
                let from = self.gap_before(extent.start());
                let handed = Extent::between(from, extent.end());
                state.served.set(handed, RescueStatus::Finished);
                if self.is_to_be_put_off(&mut state) {
                    self.tell_slow(extent);
                    drop(self.rescue(state));
                }
                Ok(Some(()))
            }
            Err(error) if may_be_rescued(&error) => {
                if matches!(state.mode, Mode::Direct(_)) {
                    self.tell(&error);
                    drop(self.rescue(state));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns where what nobody wants before `offset` begins: with it, what was handed on is one
    /// extent, not thousands.
    fn gap_before(&self, offset: u64) -> u64 {
        match self.setup.wanted.run_at(offset.saturating_sub(1)) {
            Some(run) if run.state != State::Used => run.extent.start(),
            _ => offset,
        }
    }

    fn tell(&self, error: &BlockError) {
        let message = format!("{error}; reading the rest first, then retrying what failed");
        let trouble = Trouble::new(message);
        self.setup.monitor.trouble(match error.extent() {
            Some(extent) => trouble.at(extent),
            None => trouble,
        });
    }

    fn tell_slow(&self, extent: Extent) {
        let message = "the card has become slow here; reading the rest first".to_owned();
        self.setup.monitor.trouble(Trouble::new(message).at(extent));
    }

    /// Tells whether the place that is read has been slow for so long that it is better left for later,
    /// and can be.
    fn is_to_be_put_off(&self, state: &mut Progress) -> bool {
        if state.slow_streak < self.setup.policy.slow_streak
            || !matches!(state.mode, Mode::Direct(_))
        {
            return false;
        }
        state.slow_streak = 0;
        let wanted = &*self.setup.wanted;
        // What is in the store already is counted once more: this is an estimate.
        let left = left_bytes(wanted, &state.served);
        left > 0 && self.setup.shelf.has_room(wanted.len(), left)
    }

    /// Does the rescue on the calling thread, once nobody else reads the source.
    fn rescue<'g>(&'g self, mut state: MutexGuard<'g, Progress>) -> MutexGuard<'g, Progress> {
        state.mode = Mode::Rescue;
        while state.in_flight > 0 {
            state = self.wait(state);
        }
        let len = self.setup.wanted.len();
        let nothing = || RescueMap::new(len, RescueStatus::NonTried);
        let held = std::mem::replace(&mut state.held, nothing());
        let served = state.served.clone();
        let health = std::mem::replace(&mut state.health, Health::new(len));
        let witness = state.witness;
        drop(state);
        let done = self.rescued(held, &served, health, witness);
        let mut state = self.lock();
        state.held = done.held;
        state.health = done.health;
        state.lost = done.lost;
        state.mode = match done.result {
            Ok(reader) => Mode::Stored(reader),
            Err(error) => {
                state.failure = Some(error);
                Mode::Failed
            }
        };
        self.changed.notify_all();
        state
    }

    fn rescued(
        &self,
        held: RescueMap,
        served: &RescueMap,
        health: Health,
        witness: Option<Extent>,
    ) -> Done {
        let store = match self.store(&held) {
            Ok(store) => store,
            Err(error) => return Done::failed(held, health, error),
        };
        let mut map = without_idle(held, &self.setup.wanted);
        let elsewhere = add_served(&mut map, served);
        self.setup
            .monitor
            .phase(Phase::Rescue, Some(left_bytes(&self.setup.wanted, &map)));
        let mut reach = Reach {
            source: &*self.setup.source,
            wanted: &self.setup.wanted,
            store,
            shelf: &*self.setup.shelf,
            attendant: &*self.setup.attendant,
            policy: &self.setup.policy,
            monitor: &*self.setup.monitor,
            read_through_bytes: self.setup.read_through_bytes,
            map,
            elsewhere,
            health,
            witness,
            work: Work::new(self.setup.attendant.return_count()),
        };
        let result = reach.rescue();
        if result.is_err() {
            // Why it ended is the error to tell, not that the map could not be saved.
            drop(reach.save());
        }
        let lost = lost_of(&self.setup.wanted, &reach.map);
        let result = result.and_then(|()| {
            let reader = store.settled().map_err(CopyError::Destination)?;
            let lost_bytes: u64 = lost.iter().map(|extent| extent.len()).sum();
            // A source that gives nothing is no failing card, but one that is not there.
            let is_nothing = lost_bytes == self.setup.wanted.bytes(State::Used);
            match lost.first() {
                Some(&first) if is_nothing || self.setup.policy.holes == Holes::Refused => {
                    Err(CopyError::Source(unreadable(first)))
                }
                _ => Ok(Arc::from(reader)),
            }
        });
        Done {
            held: reach.stored(),
            health: reach.health,
            lost,
            result,
        }
    }

    /// Reads what the store holds. A failure is not the source's fault, and ends the copy.
    fn read_store(
        &self,
        store: &dyn ReadAt,
        extent: Extent,
        buffer: &mut [u8],
    ) -> Result<(), BlockError> {
        store.read_at(extent.start(), buffer).map_err(|error| {
            let mut state = self.lock();
            state.failure = Some(CopyError::Destination(error));
            state.mode = Mode::Failed;
            BlockError::new(BlockErrorKind::NoSpace, Operation::Read).at(extent)
        })
    }

    /// Returns the store, as long as the source. `held` is what it holds.
    fn store(&self, held: &RescueMap) -> Result<&dyn Destination, CopyError> {
        let shelf = &*self.setup.shelf;
        let store = shelf.store().map_err(CopyError::Destination)?;
        let mapfile = Mapfile {
            position: 0,
            phase: RescuePhase::Copying,
            pass: 1,
            map: held.clone(),
        };
        // ORDER: map before length. A map of an earlier store must not be believed of this one, and a
        // store without a map can't be resumed.
        shelf
            .save(&mapfile)
            .and_then(|()| store.set_len(self.setup.wanted.len()))
            .map_err(CopyError::Destination)?;
        Ok(store)
    }

    /// Reads from the store. What could not be read is zeros, whatever was in the buffer.
    fn read_stored(
        &self,
        store: &dyn ReadAt,
        extent: Extent,
        buffer: &mut [u8],
    ) -> Result<(), BlockError> {
        let runs: Vec<_> = self.lock().held.runs_in(extent).collect();
        for run in runs {
            let part = part_of(buffer, extent, run.extent);
            match run.status {
                RescueStatus::Finished => self.read_store(store, run.extent, part)?,
                // Handed on before, and asked for again.
                RescueStatus::NonTried => self.setup.source.read_at(run.extent.start(), part)?,
                _ => part.fill(0),
            }
        }
        Ok(())
    }
}

/// What a rescue came to.
struct Done {
    held: RescueMap,
    health: Health,
    lost: Vec<Extent>,
    result: Result<Arc<dyn ReadAt>, CopyError>,
}

impl Done {
    fn failed(held: RescueMap, health: Health, error: CopyError) -> Self {
        Self {
            held,
            health,
            lost: Vec::new(),
            result: Err(error),
        }
    }
}

/// A request that the source answered.
#[derive(Clone, Copy)]
struct Request {
    extent: Extent,
    began: Instant,
    is_served: bool,
}

impl Progress {
    /// Takes down what the source did. Where it was busy with several requests, the time until
    /// the last one ended was not this one's.
    fn note(&mut self, policy: &RetryPolicy, request: Request) {
        let Request {
            extent,
            began,
            is_served,
        } = request;
        let now = Instant::now();
        let time = now.saturating_duration_since(began.max(self.busy_until));
        self.busy_until = now;
        let is_slow = |time| policy.is_slow(&self.health, extent.len(), time);
        // One that waited for a slow one tells nothing.
        self.slow_streak = match (is_slow(time), is_slow(now.saturating_duration_since(began))) {
            (true, _) => self.slow_streak.saturating_add(1),
            (false, true) => self.slow_streak,
            (false, false) => 0,
        };
        self.health.record(extent, time, is_served);
        if is_served {
            let end = extent.end().min(extent.start() + WITNESS_BYTES);
            self.witness = Some(Extent::between(extent.start(), end));
        }
    }
}

/// So much is read to see whether the source is still there: a block of any.
const WITNESS_BYTES: u64 = 4096;

impl ReadAt for Rescuing<'_> {
    fn len(&self) -> u64 {
        self.setup.source.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        loop {
            let mut state = self.lock();
            match state.mode.clone() {
                Mode::Direct(store) => {
                    state.in_flight += 1;
                    drop(state);
                    if let Some(done) = self.read_direct(store.as_deref(), extent, buffer)? {
                        return Ok(done);
                    }
                }
                Mode::Rescue => drop(self.wait(state)),
                Mode::Stored(store) => {
                    drop(state);
                    return self.read_stored(&*store, extent, buffer);
                }
                Mode::Failed => return Err(unreadable(extent)),
            }
        }
    }

    fn alignment(&self) -> usize {
        self.setup.source.alignment()
    }
}

fn unreadable(extent: Extent) -> BlockError {
    BlockError::new(BlockErrorKind::Io, Operation::Read).at(extent)
}

/// Returns the part of `buffer`, which holds `whole`, that holds `part`.
fn part_of(buffer: &mut [u8], whole: Extent, part: Extent) -> &mut [u8] {
    // OK to cast: offsets within a buffer in memory.
    let from = (part.start() - whole.start()) as usize;
    &mut buffer[from..from + part.len() as usize]
}
