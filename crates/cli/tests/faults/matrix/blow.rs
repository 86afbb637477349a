//! What happens to a backup of a card, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Tool};
use rustix::process::Signal;

use super::outcome::{Outcome, assert_sound};
use super::page::{Row, moments, part_of_run};
use super::stage::{Stage, strike_at};
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
    /// How long an undisturbed backup takes.
    whole: Duration,
    /// When it is struck, as a part of the whole.
    part: f64,
}

impl Trial<'_> {
    /// Strikes the backup, and returns what it answered, and where it was.
    fn strike(&self, random: &mut Random) -> (Answer, Option<Stage>) {
        self.spoil(random);
        let served = self.card.disk.medium().bytes_served();
        let mut running = self.card.start(&self.image, &[]);
        let stage = self.blow.signal().map(|signal| {
            let moment = self.whole.mul_f64(self.part);
            strike_at(&mut running, signal, moment, || {
                let read = self.card.disk.medium().bytes_served() - served;
                Stage::of_backup(&self.image, read >= self.card.used_bytes())
            })
        });
        (running.wait(), stage)
    }

    /// Lets the card fail.
    fn spoil(&self, random: &mut Random) {
        let disk = &self.card.disk;
        let place = |random: &mut Random| self.card.used_place(random.below(50) as usize, 512);
        match self.blow {
            Blow::TornOut => {
                let bytes = (self.card.used_bytes() as f64 * self.part) as u64;
                disk.declare(Fault::GoneAfter(bytes));
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
        let what = format!("{:?} at {:.2}: {answer:?}", self.blow, self.part);
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

/// Strikes backups to an image of this name at all moments of a row.
pub(crate) fn check(
    card: &Failing,
    (blow, name): (Blow, &str),
    random: &mut Random,
    row: &mut Row,
) {
    let started = Instant::now();
    let undisturbed = card.path(&format!("undisturbed-{name}"));
    card.back_up(&undisturbed, &["--force"]).expect(0);
    let whole = started.elapsed();
    // A raw image has holes.
    let image_bytes = match fs::metadata(&undisturbed).unwrap().len() {
        len if len == card.sound.len() as u64 => card.used_bytes(),
        len => len,
    };
    for index in 0..moments() {
        let mut part = part_of_run(index, random);
        let place = card.path("disk");
        let is_full = matches!(blow, Blow::DiskFull);
        let image = if is_full {
            let bytes = (image_bytes as f64 * part) as u64;
            folder_of(&place, bytes.max(4096), "");
            place.join(name)
        } else {
            card.path(&format!("{index}-{blow:?}-{name}"))
        };
        if blow.signal().is_some() {
            part *= BEYOND_THE_END;
        }
        let trial = Trial {
            card,
            blow,
            image,
            whole,
            part,
        };
        let (answer, stage) = trial.strike(random);
        if is_full {
            folder_of(&place, 1 << 30, "remount,");
        }
        row.add(trial.judge(&answer), stage);
        card.disk.heal();
        if is_full {
            Tool::new("umount").arg(&place).run();
        }
        slow_down(card);
    }
}

/// The moments of signals reach so far, in parts of an undisturbed run.
const BEYOND_THE_END: f64 = 1.1;

/// Makes reading the card take a while, so that there are moments to strike at.
pub(crate) fn slow_down(card: &Failing) {
    card.disk.declare(Fault::Slow {
        extent: Extent::between(0, 1 << 40),
        delay: Duration::from_millis(8),
    });
}
