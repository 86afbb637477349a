//! What happens to a restore, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Times};
use rustix::process::Signal;

use super::outcome::Outcome;
use super::page::{Row, moments, part_of_run};
use super::stage::{Stage, strike_at};
use crate::image_source::Shelf;
use crate::killed::{left_on, slow_card};
use crate::original::Original;
use crate::program::{Answer, Running, cardkeep, restore};
use crate::target::Target;

/// The moments of signals reach so far, in parts of an undisturbed run.
const BEYOND_THE_END: f64 = 1.1;

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
    part: f64,
    /// Whether the card is asked for its size first, which wipes its beginning, too.
    options: &'a [&'a str],
}

/// What an undisturbed restore does.
pub(crate) struct Course {
    whole: Duration,
    writes: Vec<Extent>,
}

impl Course {
    /// Restores undisturbed, to learn what there is to disturb.
    pub(crate) fn of(image: &Path) -> Self {
        let target = slow_card();
        let before = target.disk.medium().requests().len();
        let started = Instant::now();
        cardkeep(restore(image, target.path(), &[])).expect(0);
        let whole = started.elapsed();
        let requests = target.disk.medium().requests().split_off(before);
        let writes = requests.iter().filter(|own| own.kind.is_write());
        Self {
            whole,
            writes: writes.map(|own| own.extent).collect(),
        }
    }
}

impl Trial<'_> {
    /// Strikes the restore, judges what it left, and goes on with it.
    fn run(&self) -> (Outcome, Option<Stage>) {
        let target = match self.woe.signal() {
            Some(_) => slow_card(),
            None => crate::killed::card_that_looks_bootable(),
        };
        let at = (self.course.writes.len() as f64 * self.part) as usize;
        match self.woe {
            Woe::TornOut => target.disk.declare(Fault::GoneAfterWrites(at as u64)),
            Woe::WriteErrors => target.disk.declare(Fault::Unwritable {
                extent: self.course.writes[at],
                times: Times::Always,
            }),
            _ => {}
        }
        let (answer, stage) = match self.woe.is_of_image() {
            true => (self.run_from_failing(&target), None),
            false => self.run_struck(&target),
        };
        (self.judge(&target, &answer), stage)
    }

    fn run_struck(&self, target: &Target) -> (Answer, Option<Stage>) {
        let mut running = Running::start(restore(self.image, target.path(), self.options));
        let used = self.original.used.iter().map(|extent| extent.len()).sum();
        let stage = self.woe.signal().map(|signal| {
            let moment = self.course.whole.mul_f64(self.part);
            let medium = target.disk.medium();
            let stage = || Stage::of_restore(medium.bytes_written(), used);
            strike_at(&mut running, signal, moment, stage)
        });
        (running.wait(), stage)
    }

    /// Restores from a disk that fails.
    fn run_from_failing(&self, target: &Target) -> Answer {
        let len = fs::metadata(self.image).unwrap().len();
        // A raw image has holes, where there is nothing to be read.
        let place = match self.image == self.original.raw() {
            true => self
                .original
                .used_place((self.part * 100.0) as usize)
                .start(),
            false => (len as f64 * self.part) as u64 / 4096 * 4096,
        };
        let shelf = Shelf::holding(self.image, place.min(len - 4096) as usize);
        let path = shelf.mount.path().join("image");
        match self.woe {
            Woe::ImageUnreadable => shelf.disk.declare(Fault::Unreadable(shelf.block)),
            _ => shelf
                .disk
                .declare(Fault::GoneAfter((len as f64 * self.part) as u64)),
        }
        cardkeep(restore(path, target.path(), self.options))
    }

    /// Judges what is on the card, and makes it right by a second restore; panics at a bad one.
    fn judge(&self, target: &Target, answer: &Answer) -> Outcome {
        let what = format!(
            "{:?} of {:?} at {:.2}: {answer:?}",
            self.woe, self.image, self.part
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
    for index in 0..moments() {
        let mut part = part_of_run(index, random);
        if woe.signal().is_some() {
            part *= BEYOND_THE_END;
        }
        let trial = Trial {
            original,
            woe,
            image,
            course,
            part,
            options: [&["--no-probe"][..], &[]][index as usize % 2],
        };
        let (outcome, stage) = trial.run();
        row.add(outcome, stage);
    }
}

/// Returns the images that are restored, by how they are told apart.
pub(crate) fn images(original: &Original) -> [(PathBuf, &'static str); 3] {
    [
        (original.image(), "`.img.zst`"),
        (original.raw(), "`.img`"),
        (original.gzipped(), "`.img.gz`"),
    ]
}
