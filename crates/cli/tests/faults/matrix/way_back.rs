//! What happens to a restore, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Times};
use rustix::process::Signal;

use super::outcome::Outcome;
use super::page::{Row, moments, part_of_run};
use super::stage::{Moment, Schedule, Stage, strike_at};
use crate::image_source::Shelf;
use crate::killed::{left_on, slow_card};
use crate::original::Original;
use crate::program::{Answer, Running, cardkeep, restore};
use crate::target::Target;

/// What happens to a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woe {
    Killed,
    Interrupted,
    Held,
    TornOut,
    WriteErrors,
    ImageUnreadable,
    ImageGone,
}

pub(crate) const WOES: [(Woe, &str); 7] = [
    (Woe::Killed, "killed (SIGKILL)"),
    (Woe::Interrupted, "Ctrl-C"),
    (Woe::Held, "held for a moment (SIGSTOP, SIGCONT)"),
    (Woe::TornOut, "card torn out"),
    (Woe::WriteErrors, "a place of the card can't be written"),
    (Woe::ImageUnreadable, "the image can't be read in a place"),
    (Woe::ImageGone, "the image's disk pulled out"),
];

impl Woe {
    /// Tells whether it must show in at least one of so many moments. A signal may come after the end, and
    /// a place may be one that is not needed.
    pub(crate) const fn must_strike(self, moments: u32) -> bool {
        match self {
            Self::Held => false,
            Self::TornOut | Self::WriteErrors => true,
            _ => moments > 1,
        }
    }

    const fn signal(self) -> Option<Signal> {
        match self {
            Self::Killed => Some(Signal::KILL),
            Self::Interrupted => Some(Signal::INT),
            Self::Held => Some(Signal::STOP),
            _ => None,
        }
    }

    const fn is_of_image(self) -> bool {
        matches!(self, Self::ImageUnreadable | Self::ImageGone)
    }
}

/// A restore that is struck.
struct Trial<'a> {
    original: &'a Original,
    woe: Woe,
    image: &'a Path,
    course: &'a Course,
    when: When,
    /// Whether the card is asked for its size first, which wipes its beginning, too.
    options: &'a [&'a str],
}

/// When a restore is struck.
#[derive(Clone, Copy, Debug)]
enum When {
    /// By a signal, or by a card that is gone.
    At(Moment),
    /// As a part of the whole.
    Part(f64),
}

/// What an undisturbed restore does.
pub(crate) struct Course {
    seconds: Schedule,
    /// The same in bytes that the card took and gave.
    bytes: Schedule,
    writes: Vec<Extent>,
}

impl Course {
    /// Restores undisturbed, to learn what there is to disturb.
    pub(crate) fn of(original: &Original, image: &Path) -> Self {
        let watched = |target: &Target, schedule: &dyn Fn(&mut Running) -> Schedule| {
            let mut running = Running::start(restore(image, target.path(), &[]));
            let schedule = schedule(&mut running);
            running.wait().expect(0);
            schedule
        };
        let target = slow_card();
        let before = target.disk.medium().requests().len();
        let stage = || stage_of(original, &target);
        let seconds = watched(&target, &|running| Schedule::in_time(running, stage));
        let requests = target.disk.medium().requests().split_off(before);
        let writes = requests.iter().filter(|own| own.kind.is_write());
        let other = slow_card();
        let medium = other.disk.medium();
        let moved = || (medium.bytes_served() + medium.bytes_written()) as f64;
        let stage = || stage_of(original, &other);
        Self {
            seconds,
            bytes: watched(&other, &|running| Schedule::of(running, stage, moved)),
            writes: writes.map(|own| own.extent).collect(),
        }
    }
}

fn stage_of(original: &Original, target: &Target) -> Stage {
    let used = original.used.iter().map(|extent| extent.len()).sum();
    Stage::of_restore(target.disk.medium().bytes_written(), used)
}

impl Trial<'_> {
    /// Strikes the restore, judges what it left, and goes on with it.
    fn run(&self) -> (Outcome, Option<Stage>) {
        let target = match self.when {
            When::At(_) => slow_card(),
            When::Part(_) => crate::killed::card_that_looks_bootable(),
        };
        match (self.woe, self.when) {
            (Woe::TornOut, When::At(moment)) => target
                .disk
                .declare(Fault::GoneAfter(moment.position() as u64)),
            (Woe::WriteErrors, When::Part(part)) => target.disk.declare(Fault::Unwritable {
                // OK to cast: less than their number.
                extent: self.course.writes[(self.course.writes.len() as f64 * part) as usize],
                times: Times::Always,
            }),
            _ => {}
        }
        let (answer, stage) = match self.when {
            When::Part(part) if self.woe.is_of_image() => {
                (self.run_from_failing(&target, part), None)
            }
            _ => self.run_struck(&target),
        };
        (self.judge(&target, &answer), stage)
    }

    fn run_struck(&self, target: &Target) -> (Answer, Option<Stage>) {
        let mut running = Running::start(restore(self.image, target.path(), self.options));
        let stage = || stage_of(self.original, target);
        match (self.when, self.woe.signal()) {
            (When::At(moment), Some(signal)) => {
                let stage = strike_at(&mut running, signal, moment, stage);
                (running.wait(), Some(stage))
            }
            (When::At(_), None) => {
                let answer = running.wait();
                (answer, Some(stage()))
            }
            (When::Part(_), _) => (running.wait(), None),
        }
    }

    /// Restores from a disk that fails.
    fn run_from_failing(&self, target: &Target, part: f64) -> Answer {
        let len = fs::metadata(self.image).unwrap().len();
        // A raw image has holes, where there is nothing to be read.
        let place = match self.image == self.original.raw() {
            true => self.original.used_place((part * 100.0) as usize).start(),
            false => (len as f64 * part) as u64 / 4096 * 4096,
        };
        let shelf = Shelf::holding(self.image, place.min(len - 4096) as usize);
        let path = shelf.mount.path().join("image");
        match self.woe {
            Woe::ImageUnreadable => shelf.disk.declare(Fault::Unreadable(shelf.block)),
            _ => shelf
                .disk
                .declare(Fault::GoneAfter((len as f64 * part) as u64)),
        }
        cardkeep(restore(path, target.path(), self.options))
    }

    /// Judges what is on the card, and makes it right by a second restore; panics at a bad one.
    fn judge(&self, target: &Target, answer: &Answer) -> Outcome {
        let what = format!(
            "{:?} of {:?} at {:?}: {answer:?}",
            self.woe, self.image, self.when
        );
        if matches!(answer.code, 0 | 9) {
            self.original.assert_complete(&target.file());
            return Outcome::Good;
        }
        // A card that is whole may be called bad: it vanished before it said that all is kept.
        left_on(target, self.original, &what);
        target.disk.heal();
        cardkeep(restore(self.image, target.path(), &["--resume"])).expect(0);
        self.original.assert_complete(&target.file());
        Outcome::Resumed
    }
}

/// Strikes restores of one image at all moments of a row.
pub(crate) fn check(
    original: &Original,
    (woe, image, course): (Woe, &Path, &Course),
    random: &mut Random,
    row: &mut Row,
) {
    let mut count: usize = 0;
    let mut strike = |when| {
        count += 1;
        let trial = Trial {
            original,
            woe,
            image,
            course,
            when,
            options: [&["--no-probe"][..], &[]][count % 2],
        };
        trial.run()
    };
    let schedule = match woe {
        Woe::Killed | Woe::Interrupted | Woe::Held => &course.seconds,
        Woe::TornOut => &course.bytes,
        Woe::WriteErrors | Woe::ImageUnreadable | Woe::ImageGone => {
            for index in 0..moments() {
                let (outcome, stage) = strike(When::Part(part_of_run(index, random)));
                row.add(outcome, stage);
            }
            return;
        }
    };
    schedule.strike_all(random, row, |moment, _| {
        let (outcome, stage) = strike(When::At(moment));
        (outcome, stage.unwrap())
    });
}

/// Returns the images that are restored, by how they are told apart.
pub(crate) fn images(original: &Original) -> [(PathBuf, &'static str); 3] {
    [
        (original.image(), "`.img.zst`"),
        (original.raw(), "`.img`"),
        (original.gzipped(), "`.img.gz`"),
    ]
}
