//! Every fault at many moments of a backup: the outcome is a good image, one whose losses are named, or
//! none under that name but one to go on with.
//!
//! With `CARDKEEP_RELIABILITY=FILE` it is twenty moments each, and the table of what came of them is
//! written to that file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, Tool, is_big_matrix};
use rustix::process::Signal;

use crate::failing::{Failing, content};
use crate::program::Answer;

const SEED: u64 = 0x5eed_0f06;
const NAMES: [&str; 3] = ["card.img.zst", "card.img", "card.img.gz"];
const VARIABLE: &str = "CARDKEEP_RELIABILITY";

/// What happens to a backup.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Killed,
    Interrupted,
    Held,
    TornOut,
    BadSectors,
    FlakySectors,
    DiskFull,
}

const BLOWS: [(Blow, &str); 7] = [
    (Blow::Killed, "killed (SIGKILL)"),
    (Blow::Interrupted, "Ctrl-C"),
    (Blow::Held, "held for a moment (SIGSTOP, SIGCONT)"),
    (Blow::TornOut, "card torn out"),
    (Blow::BadSectors, "bad sectors on the card"),
    (Blow::FlakySectors, "sectors that fail some times"),
    (Blow::DiskFull, "destination full"),
];

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Good,
    LossNamed,
    Resumed,
}

fn moments() -> u32 {
    match std::env::var_os(VARIABLE) {
        Some(_) => 20,
        None if is_big_matrix() => 3,
        None => 1,
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
    /// Strikes the backup, and returns what it answered.
    fn strike(&self, random: &mut Random) -> Answer {
        let moment = self.whole.mul_f64(self.part);
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
        let mut running = self.card.start(&self.image, &[]);
        match self.blow {
            Blow::Killed => {
                std::thread::sleep(moment);
                running.signal(Signal::KILL);
            }
            Blow::Interrupted => {
                std::thread::sleep(moment);
                running.signal(Signal::INT);
            }
            Blow::Held => {
                std::thread::sleep(moment);
                running.signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(100));
                running.signal(Signal::CONT);
            }
            _ => {}
        }
        running.wait()
    }

    /// Judges what is there, and goes on where there is no image; panics at a bad one.
    fn judge(&self, answer: &Answer) -> Outcome {
        let what = format!("{:?} at {:.2}: {answer:?}", self.blow, self.part);
        match answer.code {
            0 => {
                self.assert_sound(&what);
                Outcome::Good
            }
            9 => match self.card.judge(&self.image, answer).is_empty() {
                true => Outcome::Good,
                false => Outcome::LossNamed,
            },
            _ => {
                assert!(!self.image.exists(), "an image after {what}");
                self.card.disk.heal();
                let again = self.card.back_up(&self.image, &["--resume"]);
                assert!(matches!(again.code, 0 | 9), "{what}, then {again:?}");
                self.assert_sound(&format!("{what}, then {again:?}"));
                Outcome::Resumed
            }
        }
    }

    fn assert_sound(&self, what: &str) {
        let copy = self
            .card
            .path("judged")
            .with_extension(extension(&self.image));
        fs::copy(&self.image, &copy).unwrap();
        self.card
            .assert_holds(&unpacked(&copy), &[], &format!("a bad image after {what}"));
    }
}

fn extension(image: &Path) -> String {
    let name = image.file_name().unwrap().to_string_lossy();
    name.split_once('.').unwrap().1.to_owned()
}

fn unpacked(image: &Path) -> Vec<u8> {
    if image.extension() == Some("gz".as_ref()) {
        Tool::new("gzip").args(["-d", "-f"]).arg(image).run();
        return fs::read(image.with_extension("")).unwrap();
    }
    content(image)
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

fn check(card: &Failing, (blow, name): (Blow, &str), random: &mut Random) -> Vec<Outcome> {
    let started = Instant::now();
    let undisturbed = card.path(&format!("undisturbed-{name}"));
    card.back_up(&undisturbed, &["--force"]).expect(0);
    let whole = started.elapsed();
    // A raw image has holes.
    let image_bytes = match fs::metadata(&undisturbed).unwrap().len() {
        len if len == card.sound.len() as u64 => card.used_bytes(),
        len => len,
    };
    let count = moments();
    let mut outcomes = Vec::new();
    for index in 0..count {
        let part = (f64::from(index) + random.below(1000) as f64 / 1000.0) / f64::from(count);
        let place = card.path("disk");
        let is_full = matches!(blow, Blow::DiskFull);
        let image = if is_full {
            let bytes = (image_bytes as f64 * part) as u64;
            folder_of(&place, bytes.max(4096), "");
            place.join(name)
        } else {
            card.path(&format!("{index}-{blow:?}-{name}"))
        };
        let trial = Trial {
            card,
            blow,
            image,
            whole,
            part,
        };
        let answer = trial.strike(random);
        if is_full {
            folder_of(&place, 1 << 30, "remount,");
        }
        outcomes.push(trial.judge(&answer));
        card.disk.heal();
        if is_full {
            Tool::new("umount").arg(&place).run();
        }
        slow_down(card);
    }
    outcomes
}

/// Makes reading the card take a while, so that there are moments to strike at.
fn slow_down(card: &Failing) {
    card.disk.declare(Fault::Slow {
        extent: Extent::between(0, 1 << 40),
        delay: Duration::from_millis(8),
    });
}

#[test]
fn whatever_strikes_a_backup_no_bad_image_has_a_good_name() {
    let test = "whatever_strikes_a_backup_no_bad_image_has_a_good_name";
    let Some(card) = Failing::new(test) else {
        return;
    };
    slow_down(&card);
    let mut random = Random::new(SEED);
    let mut table = String::new();
    for (blow, said) in BLOWS {
        for name in NAMES {
            let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
            for outcome in check(&card, (blow, name), &mut random) {
                *counts.entry(outcome).or_default() += 1;
            }
            let count = |outcome| counts.get(&outcome).copied().unwrap_or(0);
            writeln!(
                table,
                "| {said} | `{}` | {} | {} | {} | {} | 0 |",
                &name[4..],
                counts.values().sum::<usize>(),
                count(Outcome::Good),
                count(Outcome::LossNamed),
                count(Outcome::Resumed),
            )
            .unwrap();
            let must_strike = matches!(blow, Blow::TornOut | Blow::BadSectors | Blow::DiskFull);
            let is_struck = counts.keys().any(|outcome| *outcome != Outcome::Good);
            assert!(is_struck || !must_strike, "{said} did not strike {name}");
        }
    }
    if let Some(file) = std::env::var_os(VARIABLE) {
        fs::write(file, format!("{HEAD}{table}")).unwrap();
    }
}

const HEAD: &str = "# Reliability

What came of backups that were struck at random moments, spread over the whole run. This page is written by the
test `whatever_strikes_a_backup_no_bad_image_has_a_good_name`:

```sh
sudo CARDKEEP_RELIABILITY=$PWD/docs/reliability.md cargo test -p cardkeep-cli --test faults whatever_strikes
```

The card is the built-in sample card on a device that fails as it is told. *Good*: the image is whole at once,
byte for byte that of the sound card. *Losses named*: an image whose every lost sector is listed, all other bytes
right. *Resumed*: no file had the image's name, and `--resume` made the very image. *Bad* is anything else, and
fails the test.

| what happens | image | moments | good | losses named | resumed | bad |
|---|---|---:|---:|---:|---:|---:|
";
