//! What happens to a restore, and what came of it.

use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Request, Times};
use rustix::process::Signal;

use super::outcome::Outcome;
use super::page::Row;
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
    moment: Moment,
    /// Whether the card is asked for its size first, which wipes its beginning, too.
    options: &'a [&'a str],
}

/// What an undisturbed restore does.
struct Course {
    /// In what the moments of the woe are told by.
    schedule: Schedule,
    /// What it asks of the device that fails.
    requests: Vec<Extent>,
}

impl Course {
    /// Restores undisturbed, to learn what there is to disturb.
    fn of(original: &Original, image: &Path, woe: Woe) -> Self {
        let target = slow_card();
        let shelf = woe.is_of_image().then(|| Shelf::holding(image, 0));
        let image = shelf.as_ref().map_or(image.to_owned(), Shelf::image);
        let device = shelf.as_ref().map_or(&target.disk, |shelf| &shelf.disk);
        let medium = device.medium();
        // What lies on the card is not looked at for being read only.
        let is_counted = |own: &Request| woe.is_of_image() || own.kind.is_write();
        let before = medium.requests().len();
        let asked = || {
            medium
                .requests()
                .split_off(before)
                .into_iter()
                .filter(is_counted)
        };
        let moved = || medium.bytes_served() + medium.bytes_written();
        let moved_before = moved();
        let mut running = Running::start(restore(image, target.path(), &[]));
        let stage = || stage_of(original, &target);
        let schedule = match woe {
            Woe::Killed | Woe::Interrupted | Woe::Held => Schedule::in_time(&mut running, stage),
            Woe::TornOut | Woe::ImageGone => {
                Schedule::of(&mut running, stage, || (moved() - moved_before) as f64)
            }
            Woe::WriteErrors | Woe::ImageUnreadable => {
                Schedule::of(&mut running, stage, || asked().count() as f64)
            }
        };
        running.wait().expect(0);
        Self {
            schedule,
            requests: asked().map(|own| own.extent).collect(),
        }
    }
}

fn stage_of(original: &Original, target: &Target) -> Stage {
    let used = original.used.iter().map(|extent| extent.len()).sum();
    Stage::of_restore(target.disk.medium().bytes_written(), used)
}

impl Trial<'_> {
    /// Strikes the restore, judges what it left, and goes on with it.
    fn run(&self, random: &mut Random) -> (Outcome, Stage) {
        let target = slow_card();
        let shelf = self
            .woe
            .is_of_image()
            .then(|| Shelf::holding(self.image, 0));
        let image = shelf.as_ref().map_or(self.image.to_owned(), Shelf::image);
        let device = shelf.as_ref().map_or(&target.disk, |shelf| &shelf.disk);
        let next = || *self.moment.next_of(&self.course.requests);
        match self.woe {
            Woe::TornOut | Woe::ImageGone => {
                device.declare(Fault::GoneAfter(self.moment.position() as u64));
            }
            Woe::WriteErrors => device.declare(Fault::Unwritable {
                extent: next(),
                times: Times::Always,
            }),
            Woe::ImageUnreadable => device.declare(Fault::Unreadable(block_of(next(), random))),
            Woe::Killed | Woe::Interrupted | Woe::Held => {}
        }
        let mut running = Running::start(restore(image, target.path(), self.options));
        let stage = || stage_of(self.original, &target);
        let (answer, stage) = match self.woe.signal() {
            Some(signal) => {
                let stage = strike_at(&mut running, signal, self.moment, stage);
                (running.wait(), stage)
            }
            // It does not end there: the rest is written first.
            None if self.woe == Woe::WriteErrors => (running.wait(), self.moment.stage),
            None => (running.wait(), stage()),
        };
        (self.judge(&target, &answer), stage)
    }

    /// Judges what is on the card, and makes it right by a second restore; panics at a bad one.
    fn judge(&self, target: &Target, answer: &Answer) -> Outcome {
        let what = format!(
            "{:?} of {:?} at {:?}: {answer:?}",
            self.woe, self.image, self.moment
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

/// Returns a block of 4 KiB of what is read at once.
fn block_of(read: Extent, random: &mut Random) -> Extent {
    let block = random.below(read.len().div_ceil(4096).max(1));
    let start = (read.start() / 4096 + block) * 4096;
    Extent::between(start, start + 4096)
}

/// Strikes restores of one image at all moments of a row.
pub(crate) fn check(original: &Original, woe: Woe, image: &Path, random: &mut Random) -> Row {
    let mut row = Row::default();
    let course = Course::of(original, image, woe);
    let mut count: usize = 0;
    course
        .schedule
        .strike_all(random, &mut row, |moment, random| {
            count += 1;
            let trial = Trial {
                original,
                woe,
                image,
                course: &course,
                moment,
                options: [&["--no-probe"][..], &[]][count % 2],
            };
            trial.run(random)
        });
    row
}

/// Returns the images that are restored, by how they are told apart.
pub(crate) fn images(original: &Original) -> [(PathBuf, &'static str); 3] {
    [
        (original.image(), "`.img.zst`"),
        (original.raw(), "`.img`"),
        (original.gzipped(), "`.img.gz`"),
    ]
}
