//! What happens to a backup of a card, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Tool};
use rustix::process::Signal;

use super::outcome::{Outcome, assert_sound};
use super::page::{Row, moments, part_of_run};
use super::stage::{Moment, Schedule, Stage, strike_at};
use crate::failing::Failing;
use crate::program::Answer;

/// What happens to a backup.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    Killed,
    Interrupted,
    Held,
    TornOut,
    BadSectors,
    FlakySectors,
    DiskFull,
}

pub(crate) const BLOWS: [(Blow, &str); 7] = [
    (Blow::Killed, "killed (SIGKILL)"),
    (Blow::Interrupted, "Ctrl-C"),
    (Blow::Held, "held for a moment (SIGSTOP, SIGCONT)"),
    (Blow::TornOut, "card torn out"),
    (Blow::BadSectors, "bad sectors on the card"),
    (Blow::FlakySectors, "sectors that fail some times"),
    (Blow::DiskFull, "destination full"),
];

impl Blow {
    /// Tells whether it must show in at least one moment.
    pub(crate) const fn must_strike(self) -> bool {
        matches!(self, Self::TornOut | Self::BadSectors | Self::DiskFull)
    }

    const fn signal(self) -> Option<Signal> {
        match self {
            Self::Killed => Some(Signal::KILL),
            Self::Interrupted => Some(Signal::INT),
            Self::Held => Some(Signal::STOP),
            _ => None,
        }
    }
}

/// A backup of a card that is struck.
struct Trial<'a> {
    card: &'a Failing,
    blow: Blow,
    image: PathBuf,
    /// When a signal strikes it, or the card is gone; other blows have no moment.
    moment: Option<Moment>,
}

impl Trial<'_> {
    /// Strikes the backup, and returns what it answered, and where it was.
    fn strike(&self, random: &mut Random) -> (Answer, Option<Stage>) {
        self.spoil(random);
        let stage = stage_of(self.card, &self.image);
        let mut running = self.card.start(&self.image, &[]);
        match (self.moment, self.blow.signal()) {
            (Some(moment), Some(signal)) => {
                let stage = strike_at(&mut running, signal, moment, stage);
                (running.wait(), Some(stage))
            }
            (Some(_), None) => {
                let answer = running.wait();
                (answer, Some(stage()))
            }
            (None, _) => (running.wait(), None),
        }
    }

    /// Lets the card fail.
    fn spoil(&self, random: &mut Random) {
        let disk = &self.card.disk;
        let place = |random: &mut Random| self.card.used_place(random.below(50) as usize, 512);
        match self.blow {
            Blow::TornOut => {
                if let Some(moment) = self.moment {
                    disk.declare(Fault::GoneAfter(moment.position() as u64));
                }
            }
            Blow::BadSectors => {
                for _ in 0..=random.below(3) {
                    disk.declare(Fault::Unreadable(place(random)));
                }
            }
            Blow::FlakySectors => {
                for _ in 0..=random.below(3) {
                    disk.declare(Fault::Flaky {
                        extent: place(random),
                        failures: 1 + random.below(3) as u32,
                    });
                }
            }
            Blow::Killed | Blow::Interrupted | Blow::Held | Blow::DiskFull => {}
        }
    }

    /// Judges what is there, and goes on where there is no image; panics at a bad one.
    fn judge(&self, answer: &Answer) -> Outcome {
        let what = format!("{:?} at {:?}: {answer:?}", self.blow, self.moment);
        match answer.code {
            0 => {
                assert_sound(self.card, &self.image, &what);
                Outcome::Good
            }
            9 => match self.card.judge(&self.image, answer).is_empty() {
                true => Outcome::Good,
                false => Outcome::LossNamed,
            },
            // Killed once it has its name.
            -1 if self.image.exists() => {
                assert_sound(self.card, &self.image, &what);
                Outcome::Good
            }
            _ => {
                assert!(!self.image.exists(), "an image after {what}");
                self.card.disk.heal();
                let again = self.card.back_up(&self.image, &["--resume"]);
                assert!(matches!(again.code, 0 | 9), "{what}, then {again:?}");
                assert_sound(self.card, &self.image, &format!("{what}, then {again:?}"));
                Outcome::Resumed
            }
        }
    }
}

/// Mounts a folder of so many bytes, for disks that get full; makes it larger where it is there.
fn folder_of(place: &Path, bytes: u64, extra: &str) {
    fs::create_dir_all(place).unwrap();
    Tool::new("mount")
        .args([
            "-t",
            "tmpfs",
            "-o",
            &format!("{extra}size={bytes}"),
            "tmpfs",
        ])
        .arg(place)
        .run();
}

/// Tells how far the backup to `image` is that begins now.
fn stage_of<'a>(card: &'a Failing, image: &'a Path) -> impl Fn() -> Stage + 'a {
    let medium = card.disk.medium();
    let served = medium.bytes_served();
    move || {
        let read = medium.bytes_served() - served;
        Stage::of_backup(image, read >= card.used_bytes())
    }
}

/// Backs up undisturbed, to learn where its stages are: in bytes for a card that is torn out, in seconds for
/// all else.
fn schedule(card: &Failing, blow: Blow, image: &Path) -> Schedule {
    let medium = card.disk.medium();
    let served = medium.bytes_served();
    let stage = stage_of(card, image);
    let mut running = card.start(image, &[]);
    let schedule = match blow {
        Blow::TornOut => Schedule::of(&mut running, stage, || {
            (medium.bytes_served() - served) as f64
        }),
        _ => Schedule::in_time(&mut running, stage),
    };
    running.wait().expect(0);
    schedule
}

/// Strikes backups to an image of this name at all moments of a row.
pub(crate) fn check(
    card: &Failing,
    (blow, name): (Blow, &str),
    random: &mut Random,
    row: &mut Row,
) {
    let undisturbed = card.path(&format!("undisturbed-{blow:?}-{name}"));
    let schedule = schedule(card, blow, &undisturbed);
    let mut count = 0;
    let mut image = || {
        count += 1;
        card.path(&format!("{count}-{blow:?}-{name}"))
    };
    let strike = |moment, image, random: &mut Random| {
        let trial = Trial {
            card,
            blow,
            image,
            moment,
        };
        let (answer, stage) = trial.strike(random);
        (trial, answer, stage)
    };
    match blow {
        Blow::Killed | Blow::Interrupted | Blow::Held | Blow::TornOut => {
            schedule.strike_all(random, row, |moment, random| {
                let (trial, answer, stage) = strike(Some(moment), image(), random);
                let outcome = trial.judge(&answer);
                sound_again(card);
                (outcome, stage.unwrap())
            });
        }
        Blow::BadSectors | Blow::FlakySectors => {
            for _ in 0..moments() {
                let (trial, answer, _) = strike(None, image(), random);
                row.add(trial.judge(&answer), None);
                sound_again(card);
            }
        }
        Blow::DiskFull => {
            let image_bytes = stored_bytes(card, &undisturbed);
            let place = card.path("disk");
            for index in 0..moments() {
                let part = part_of_run(index, random);
                let bytes = (image_bytes as f64 * part) as u64;
                folder_of(&place, bytes.max(4096), "");
                let (trial, answer, _) = strike(None, place.join(name), random);
                folder_of(&place, 1 << 30, "remount,");
                row.add(trial.judge(&answer), None);
                sound_again(card);
                Tool::new("umount").arg(&place).run();
            }
        }
    }
}

/// Returns how many bytes of an image are stored: a raw one has holes.
fn stored_bytes(card: &Failing, image: &Path) -> u64 {
    match fs::metadata(image).unwrap().len() {
        len if len == card.sound.len() as u64 => card.used_bytes(),
        len => len,
    }
}

fn sound_again(card: &Failing) {
    card.disk.heal();
    slow_down(card);
}

/// Makes reading the card take a while, so that there are moments to strike at.
pub(crate) fn slow_down(card: &Failing) {
    card.disk.declare(Fault::Slow {
        extent: Extent::between(0, 1 << 40),
        delay: Duration::from_millis(8),
    });
}
