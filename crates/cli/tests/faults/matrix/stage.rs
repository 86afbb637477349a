//! How far a run was when it was struck.

use std::path::Path;
use std::time::{Duration, Instant};

use cardkeep_testkit::Random;
use rustix::process::Signal;

use super::outcome::Outcome;
use super::page::{Row, moments, page, part_of_run};
use crate::program::Running;

/// How far a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The card was looked at; nothing was copied yet.
    Mapping,
    Copying,
    /// All was read or written once: it was read back, made durable, named.
    Finishing,
    Over,
}

pub(crate) const STAGES: [Stage; 4] = [
    Stage::Mapping,
    Stage::Copying,
    Stage::Finishing,
    Stage::Over,
];

impl Stage {
    /// Tells it of a backup, by what is there. Bytes read to find out what is on the card count as
    /// read, so that the end of copying is told a little early.
    pub(crate) fn of_backup(image: &Path, is_all_read: bool) -> Self {
        let partial = format!("{}.partial", image.display());
        match (Path::new(&partial).exists(), is_all_read) {
            _ if image.exists() => Self::Over,
            (false, _) => Self::Mapping,
            (true, false) => Self::Copying,
            (true, true) => Self::Finishing,
        }
    }

    /// Tells it of a restore, by what the card was given.
    pub(crate) const fn of_restore(written: u64, used: u64) -> Self {
        match written {
            0 => Self::Mapping,
            _ if written < used => Self::Copying,
            _ => Self::Finishing,
        }
    }
}

/// The stages that a run can be struck in.
const STRUCK: [Stage; 3] = [Stage::Mapping, Stage::Copying, Stage::Finishing];
/// In time the moments of the last stage reach so far, in parts of it: a run may take longer than the one before.
const BEYOND_THE_END: f64 = 1.2;
/// Some moments lie in other stages than they were meant for.
const TRIES_PER_MOMENT: u32 = 4;

/// Where an undisturbed run goes from one stage to the next, in seconds, bytes or requests.
pub(crate) struct Schedule {
    begins: [f64; STAGES.len()],
    /// How far the last stage reaches, in parts of it.
    reach: f64,
}

/// A moment of a run, in what its schedule counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) stage: Stage,
    begin: f64,
    /// How far into the stage.
    offset: f64,
}

impl Moment {
    /// Returns how far it is from the beginning of the run.
    pub(crate) const fn position(&self) -> f64 {
        self.begin + self.offset
    }

    /// Returns the request that is the next at this moment, of those that its schedule counts.
    pub(crate) fn next_of<'a, T>(&self, requests: &'a [T]) -> &'a T {
        // OK to cast: as many as are in memory.
        &requests[(self.position() as usize).min(requests.len() - 1)]
    }
}

impl Schedule {
    /// Watches an undisturbed run to its end, in seconds from `started` on.
    pub(crate) fn in_time(running: &mut Running, stage: impl Fn() -> Stage) -> Self {
        let started = Instant::now();
        let own = Self::of(running, stage, || started.elapsed().as_secs_f64());
        Self {
            reach: BEYOND_THE_END,
            ..own
        }
    }

    /// Watches an undisturbed run to its end, in what `position` counts.
    pub(crate) fn of(
        running: &mut Running,
        stage: impl Fn() -> Stage,
        position: impl Fn() -> f64,
    ) -> Self {
        let mut begins: [Option<f64>; STAGES.len()] = [None; STAGES.len()];
        while begins.last() == Some(&None) {
            let stage = if running.is_done() {
                Stage::Over
            } else {
                stage()
            };
            let position = position();
            for begin in &mut begins[..=stage as usize] {
                begin.get_or_insert(position);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Self {
            begins: begins.map(Option::unwrap),
            reach: 1.0,
        }
    }

    /// Returns how long a stage is.
    fn len(&self, stage: Stage) -> f64 {
        self.begins[stage as usize + 1] - self.begins[stage as usize]
    }

    /// Returns the moment that lies at this part of a stage.
    fn moment(&self, stage: Stage, part: f64) -> Moment {
        let is_last = stage == Stage::Finishing;
        let part = if is_last { part * self.reach } else { part };
        Moment {
            stage,
            begin: self.begins[stage as usize],
            offset: part * self.len(stage),
        }
    }

    /// Strikes runs at as many moments of each stage as a row has; in the suite's own run, at as many in all.
    /// A stage in which nothing is counted can't be struck.
    pub(crate) fn strike_all(
        &self,
        random: &mut Random,
        row: &mut Row,
        mut strike: impl FnMut(Moment, &mut Random) -> (Outcome, Stage),
    ) {
        let stages = STRUCK.into_iter().filter(|&stage| self.len(stage) > 0.0);
        let stages: Vec<Stage> = stages.collect();
        let first = random.below(stages.len() as u64) as usize;
        for (index, &stage) in stages.iter().enumerate() {
            let is_turn = |turn: u32| (first + turn as usize) % stages.len() == index;
            let tries = match page() {
                Some(_) => moments() * TRIES_PER_MOMENT,
                None => (0..moments()).filter(|&turn| is_turn(turn)).count() as u32,
            };
            for index in 0..tries {
                let part = part_of_run(index % moments(), random);
                let (outcome, found) = strike(self.moment(stage, part), random);
                row.add(outcome, Some(found));
                if row.count(stage) >= moments() {
                    break;
                }
            }
        }
    }
}

/// Sends a signal at a moment, and lets a run that it stops go on after a while. Returns how far the run
/// was, as `stage` tells.
pub(crate) fn strike_at(
    running: &mut Running,
    signal: Signal,
    moment: Moment,
    stage: impl Fn() -> Stage,
) -> Stage {
    while stage() < moment.stage && !running.is_done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_secs_f64(moment.offset));
    let is_over = running.is_done();
    let stage = if is_over { Stage::Over } else { stage() };
    running.signal(signal);
    if signal == Signal::STOP {
        std::thread::sleep(Duration::from_millis(100));
        running.signal(Signal::CONT);
    }
    stage
}
