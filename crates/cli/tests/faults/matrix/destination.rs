//! What happens to the disk that an image is written to, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Times, Unflushed};

use super::blow::slow_down;
use super::disk::{Disk, Journal};
use super::outcome::{Outcome, assert_sound};
use super::page::{Row, moments};
use super::stage::{Moment, Schedule, Stage};
use crate::failing::Failing;
use crate::program::Answer;

/// All of a disk.
const EVERYWHERE: Extent = Extent::between(0, 1 << 40);
/// Long enough for a fault to be declared between two writes.
const WRITE_DELAY: Duration = Duration::from_millis(2);

/// What happens to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// One place can't be written.
    BadPlace,
    /// A write fails, a few times, and later ones don't.
    WriteError,
    /// As that, while a card is read that fails too, so that a store and a map are kept.
    WriteErrorOfRescue,
    FlushError,
    PulledOut,
    PowerCut(Cut),
    /// The power fails, while a card is read that fails too, so that a store and a map are kept.
    PowerCutOfRescue(Cut),
    /// The power fails after the program said that it is done.
    PowerCutAfterwards(Cut),
}

/// What a power cut leaves of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Lost,
    Torn,
    Scattered,
}

pub(crate) const MISHAPS: [(Mishap, &str); 12] = [
    (Mishap::BadPlace, "a place of the disk can't be written"),
    (Mishap::WriteError, "writes fail a few times"),
    (
        Mishap::WriteErrorOfRescue,
        "writes fail a few times while a failing card is read",
    ),
    (Mishap::FlushError, "a flush fails once"),
    (Mishap::PulledOut, "disk pulled out"),
    (Mishap::PowerCut(Cut::Lost), "power cut, all unflushed lost"),
    (
        Mishap::PowerCut(Cut::Torn),
        "power cut, the last write torn",
    ),
    (
        Mishap::PowerCut(Cut::Scattered),
        "power cut, any unflushed sectors lost",
    ),
    (
        Mishap::PowerCutOfRescue(Cut::Lost),
        "power cut while a failing card is read, all unflushed lost",
    ),
    (
        Mishap::PowerCutOfRescue(Cut::Scattered),
        "power cut while a failing card is read, any unflushed sectors lost",
    ),
    (
        Mishap::PowerCutAfterwards(Cut::Lost),
        "power cut after the end, all unflushed lost",
    ),
    (
        Mishap::PowerCutAfterwards(Cut::Scattered),
        "power cut after the end, any unflushed sectors lost",
    ),
];

impl Mishap {
    fn journal(self) -> Journal {
        match self {
            Self::BadPlace | Self::FlushError => Journal::None,
            Self::WriteError | Self::WriteErrorOfRescue => Journal::None,
            _ => Journal::Kept,
        }
    }

    /// Tells whether it must show in at least one of so many moments. A cut after the end must not, and a
    /// write that fails may be the filesystem's own.
    pub(crate) fn must_strike(self, moments: u32) -> bool {
        match self {
            Self::PowerCutAfterwards(_) => false,
            _ if self.journal() == Journal::None => moments > 1,
            _ => true,
        }
    }
}

/// What an undisturbed backup does to the disk.
struct Course {
    /// In flushes where one of them fails, else in writes.
    schedule: Schedule,
    writes: Vec<Extent>,
}

/// A backup onto a disk that is struck.
#[derive(Clone, Copy)]
struct Trial<'a> {
    card: &'a Failing,
    mishap: Mishap,
    name: &'a str,
    /// When it is struck; `None` after the end.
    moment: Option<Moment>,
}

impl Trial<'_> {
    fn image(&self, disk: &Disk) -> PathBuf {
        disk.path().join(self.name)
    }

    /// Backs up undisturbed, to learn what there is to disturb.
    fn course(&self) -> Course {
        let disk = Disk::new(self.mishap.journal());
        let medium = disk.failing().medium();
        let before = medium.requests().len();
        self.fail_card();
        let image = self.image(&disk);
        let mut running = self.card.start(&image, &[]);
        let stage = stage_of(self.card, &image);
        let schedule = Schedule::of(&mut running, stage, || self.count(&disk, before) as f64);
        let answer = running.wait();
        assert!(matches!(answer.code, 0 | 9), "{answer:?}");
        self.mend_card();
        let requests = medium.requests().split_off(before);
        let writes = requests.iter().filter(|request| request.kind.is_write());
        Course {
            schedule,
            writes: writes.map(|request| request.extent).collect(),
        }
    }

    /// Returns how many requests there were after the first ones, of the kind that is struck.
    fn count(&self, disk: &Disk, first: usize) -> usize {
        let is_flush = self.mishap == Mishap::FlushError;
        let requests = disk.failing().medium().requests();
        let own = requests[first..].iter();
        own.filter(|own| own.extent.is_empty() == is_flush).count()
    }

    fn mend_card(&self) {
        self.card.disk.heal();
        slow_down(self.card);
    }

    fn fail_card(&self) {
        let fails = Mishap::WriteErrorOfRescue;
        if matches!(self.mishap, Mishap::PowerCutOfRescue(_)) || self.mishap == fails {
            self.card.disk.declare(Fault::Flaky {
                extent: self.card.used_place(1, 512),
                failures: 1,
            });
        }
    }

    /// Backs up while the disk is struck. Returns what it answered, and where it was.
    fn strike(&self, disk: &Disk, course: &Course, random: &mut Random) -> (Answer, Stage) {
        let seed = random.below(1 << 32);
        let cut = |kind, writes| Fault::PowerCutAfterWrites {
            writes,
            unflushed: self.unflushed(kind, seed),
        };
        // Writes, but flushes where one of them fails.
        let due = self.moment.map_or(u64::MAX, |own| own.position() as u64);
        match self.mishap {
            Mishap::BadPlace => disk.declare(Fault::Unwritable {
                extent: self.moment.map(|own| *own.next_of(&course.writes)).unwrap(),
                times: Times::Always,
            }),
            Mishap::PulledOut => disk.declare(Fault::GoneAfterWrites(due)),
            // After the end it is never struck itself, and takes down what is not flushed.
            Mishap::PowerCut(kind)
            | Mishap::PowerCutOfRescue(kind)
            | Mishap::PowerCutAfterwards(kind) => {
                disk.declare(cut(kind, due.saturating_add(1)));
            }
            Mishap::WriteError | Mishap::WriteErrorOfRescue | Mishap::FlushError => {
                disk.declare(Fault::SlowWrites {
                    extent: EVERYWHERE,
                    delay: WRITE_DELAY,
                })
            }
        }
        self.fail_card();
        let (answer, stage) = self.back_up(disk, due);
        if let Mishap::PowerCutAfterwards(kind) = self.mishap {
            disk.declare(cut(kind, 1));
            // Somebody writes something, and the power fails at once.
            fs::write(disk.path().join("other"), [1; 4096]).unwrap();
            fs::File::open(disk.path().join("other"))
                .and_then(|other| other.sync_all())
                .unwrap_err();
        }
        (answer, stage)
    }

    /// Backs up, and looks where that is after so many requests; what strikes it then is declared.
    fn back_up(&self, disk: &Disk, due: u64) -> (Answer, Stage) {
        let before = disk.failing().medium().requests().len();
        let image = self.image(disk);
        let stage = stage_of(self.card, &image);
        let mut running = self.card.start(&image, &[]);
        while (self.count(disk, before) as u64) < due && !running.is_done() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let stage = stage();
        match self.mishap {
            Mishap::FlushError => disk.declare(Fault::FlushFails(Times::First(1))),
            Mishap::WriteError | Mishap::WriteErrorOfRescue => disk.declare(Fault::Unwritable {
                extent: EVERYWHERE,
                times: Times::First(2),
            }),
            _ => {}
        }
        (running.wait(), stage)
    }

    fn unflushed(&self, cut: Cut, seed: u64) -> Unflushed {
        match cut {
            Cut::Lost => Unflushed::Lost,
            Cut::Torn => Unflushed::Torn { sectors: seed % 16 },
            Cut::Scattered => Unflushed::Scattered { seed },
        }
    }

    /// Judges what the disk holds, and goes on where there is no image; panics at a bad one.
    fn judge(&self, disk: Disk, answer: &Answer) -> Outcome {
        let what = format!(
            "{:?} {} at {:?}: {answer:?}",
            self.mishap, self.name, self.moment
        );
        self.mend_card();
        let is_said_done = matches!(answer.code, 0 | 9);
        let disk = match self.mishap.journal() {
            // As the error says. Of an image that is said to be whole nothing may need it.
            Journal::None if !is_said_done => disk.repaired(),
            _ => disk.put_back(),
        };
        let image = self.image(&disk);
        if image.exists() {
            assert_sound(self.card, &image, &what);
            return Outcome::Good;
        }
        assert!(!is_said_done, "no image, but {what}");
        let (outcome, again) = self.go_on(&image);
        let disk = disk.put_back();
        let what = format!("{what}, then {again:?}");
        assert_sound(self.card, &self.image(&disk), &what);
        outcome
    }

    /// Goes on with what was left, or anew where it says that it can't be gone on with.
    fn go_on(&self, image: &Path) -> (Outcome, Answer) {
        let again = self.card.back_up(image, &["--resume"]);
        if matches!(again.code, 0 | 9) {
            return (Outcome::Resumed, again);
        }
        assert!(again.stderr.contains("--force"), "no way out: {again:?}");
        let anew = self.card.back_up(image, &["--force"]);
        assert_eq!(anew.code, 0, "{again:?}, then {anew:?}");
        (Outcome::Anew, anew)
    }
}

/// Tells how far the backup to `image` is that begins now. What is not flushed yet is on no disk, so that the
/// card tells alone, up to the image's name.
fn stage_of<'a>(card: &'a Failing, image: &'a Path) -> impl Fn() -> Stage + 'a {
    let medium = card.disk.medium();
    let served = medium.bytes_served();
    move || match medium.bytes_served() - served {
        _ if image.exists() => Stage::Over,
        read if read < card.used_bytes() => Stage::Copying,
        _ => Stage::Finishing,
    }
}

/// Strikes disks at all moments of a row.
pub(crate) fn check(card: &Failing, mishap: Mishap, name: &str, random: &mut Random) -> Row {
    let whole = Trial {
        card,
        mishap,
        name,
        moment: None,
    };
    let course = whole.course();
    let mut row = Row::default();
    let strike = |moment, random: &mut Random| {
        let trial = Trial { moment, ..whole };
        let disk = Disk::new(mishap.journal());
        let (answer, stage) = trial.strike(&disk, &course, random);
        (trial.judge(disk, &answer), stage)
    };
    if let Mishap::PowerCutAfterwards(_) = mishap {
        for _ in 0..moments() {
            let (outcome, stage) = strike(None, random);
            row.add(outcome, Some(stage));
        }
    } else {
        let at = |moment, random: &mut Random| strike(Some(moment), random);
        course.schedule.strike_all(random, &mut row, at);
    }
    row
}
