//! What happens to a backup of a card, and what came of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Mount, Random};
use rustix::process::Signal;

use super::outcome::{Outcome, assert_sound};
use super::page::Row;
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

/// What an undisturbed backup does.
struct Course {
    /// In what the moments of the blow are told by.
    schedule: Schedule,
    /// What it reads of the card.
    reads: Vec<Extent>,
}

/// A backup of a card that is struck.
struct Trial<'a> {
    card: &'a Failing,
    blow: Blow,
    image: PathBuf,
    course: &'a Course,
    moment: Moment,
}

impl Trial<'_> {
    /// Strikes the backup, and returns what it answered, and where it was.
    fn strike(&self, random: &mut Random) -> (Answer, Stage) {
        self.spoil(random);
        let stage = stage_of(self.card, &self.image);
        let mut running = self.card.start(&self.image, &[]);
        if let Some(signal) = self.blow.signal() {
            let stage = strike_at(&mut running, signal, self.moment, stage);
            return (running.wait(), stage);
        }
        if let Blow::DiskFull = self.blow {
            while (stored_bytes(&self.image) as f64) < self.moment.position() && !running.is_done()
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            let stage = stage();
            fill(&self.image.with_file_name(FILLER));
            return (running.wait(), stage);
        }
        let answer = running.wait();
        match self.blow {
            // They do not end it.
            Blow::BadSectors | Blow::FlakySectors => (answer, self.moment.stage),
            _ => (answer, stage()),
        }
    }

    /// Lets the card fail.
    fn spoil(&self, random: &mut Random) {
        let disk = &self.card.disk;
        match self.blow {
            Blow::TornOut => disk.declare(Fault::GoneAfter(self.moment.position() as u64)),
            Blow::BadSectors => {
                for place in self.places(random) {
                    disk.declare(Fault::Unreadable(place));
                }
            }
            Blow::FlakySectors => {
                for extent in self.places(random) {
                    disk.declare(Fault::Flaky {
                        extent,
                        failures: 1 + random.below(3) as u32,
                    });
                }
            }
            Blow::Killed | Blow::Interrupted | Blow::Held | Blow::DiskFull => {}
        }
    }

    /// Returns a sector that is read next at the moment, and some others.
    fn places(&self, random: &mut Random) -> Vec<Extent> {
        let read = self.moment.next_of(&self.course.reads);
        let sector = random.below(read.len().div_ceil(512).max(1));
        let start = read.start() / 512 * 512 + sector * 512;
        let others = random.below(3);
        let others = (0..others).map(|_| self.card.used_place(random.below(50) as usize, 512));
        let mut places: Vec<Extent> = others.collect();
        places.push(Extent::between(start, start + 512));
        places
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

/// What others write to the disk.
const FILLER: &str = "filler";
/// Room for the sample card, and little more: what others write fills it at once.
const DISK_BYTES: u64 = 20 << 20;

/// Writes to a new file until its disk is full.
fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).unwrap();
    for piece in [vec![0; 1 << 20], vec![0; 4096]] {
        while file.write_all(&piece).is_ok() {}
    }
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

/// Backs up undisturbed, to learn what there is to disturb.
fn course(card: &Failing, blow: Blow, image: &Path) -> Course {
    let medium = card.disk.medium();
    let (served, before) = (medium.bytes_served(), medium.requests().len());
    let stage = stage_of(card, image);
    let mut running = card.start(image, &[]);
    let schedule = match blow {
        Blow::Killed | Blow::Interrupted | Blow::Held => Schedule::in_time(&mut running, stage),
        Blow::TornOut => Schedule::of(&mut running, stage, || {
            (medium.bytes_served() - served) as f64
        }),
        Blow::BadSectors | Blow::FlakySectors => Schedule::of(&mut running, stage, || {
            (medium.requests().len() - before) as f64
        }),
        Blow::DiskFull => Schedule::of(&mut running, stage, || stored_bytes(image) as f64),
    };
    running.wait().expect(0);
    let reads = medium.requests().split_off(before);
    Course {
        schedule,
        reads: reads.iter().map(|own| own.extent).collect(),
    }
}

/// Strikes backups to an image of this name at all moments of a row.
pub(crate) fn check(card: &Failing, blow: Blow, name: &str, random: &mut Random) -> Row {
    let mut row = Row::default();
    // One that others fill is its own each time.
    let is_filled = matches!(blow, Blow::DiskFull);
    let disk = || is_filled.then(|| Mount::in_memory(DISK_BYTES));
    let image_on = |disk: &Option<Mount>, attempt: &str| match disk {
        Some(disk) => disk.path().join(name),
        None => card.path(&format!("{attempt}-{blow:?}-{name}")),
    };
    let course = course(card, blow, &image_on(&disk(), "undisturbed"));
    let mut count = 0;
    course
        .schedule
        .strike_all(random, &mut row, |moment, random| {
            count += 1;
            let disk = disk();
            let trial = Trial {
                card,
                blow,
                image: image_on(&disk, &count.to_string()),
                course: &course,
                moment,
            };
            let (answer, stage) = trial.strike(random);
            if let Some(disk) = &disk {
                fs::remove_file(disk.path().join(FILLER)).unwrap();
            }
            let outcome = trial.judge(&answer);
            sound_again(card);
            (outcome, stage)
        });
    row
}

/// Returns how many bytes of an image are stored, be it finished or not: a raw one has holes.
fn stored_bytes(image: &Path) -> u64 {
    let partial = PathBuf::from(format!("{}.partial", image.display()));
    let metadata = fs::metadata(partial).or_else(|_| fs::metadata(image));
    metadata.map_or(0, |metadata| metadata.blocks() * 512)
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
