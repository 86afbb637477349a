//! A machine on the bench, the sample card, and the judge.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cardkeep_testkit::{Answer, Guest, Insertion, Job, Machine, Tool};
use serde_json::Value;
use tempfile::TempDir;

/// No hand changes a card sooner. What the kernel has queued of one write fails in that time; were there none,
/// it could reach the next card, and nobody above the kernel could call it back.
const HAND: Duration = Duration::from_millis(700);

/// A card that is read for some seconds: as slow as no real one.
pub(crate) const SLOW: Insertion = Insertion {
    read_speed: Some(1_000_000),
    write_speed: None,
    is_locked: false,
};
/// A card without a speed of its own.
pub(crate) const QUICK: Insertion = Insertion {
    read_speed: None,
    write_speed: None,
    is_locked: false,
};

/// A machine with an SD slot, and cards to put into it.
pub(crate) struct Bench {
    pub(crate) guest: Guest,
    folder: TempDir,
    /// What an image of the sample card holds.
    sound: Vec<u8>,
}

impl Bench {
    /// Starts the machine with the sample card in its slot; `None` where the test has to return at once, aloud.
    fn new(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let sample = folder.path().join("sample.img");
        here(["sample".as_ref(), sample.as_path()]);
        let sound = folder.path().join("sound.img");
        here([
            "backup".as_ref(),
            sample.as_path(),
            &sound,
            "--quiet".as_ref(),
        ]);
        let in_slot = folder.path().join("slot.img");
        fs::copy(&sample, &in_slot).unwrap();
        Some(Self {
            guest: Machine::new().with_slot(&in_slot).boot(test)?,
            sound: fs::read(sound).unwrap(),
            folder,
        })
    }

    /// Returns a new card with the sample card's content.
    pub(crate) fn sample(&self, name: &str) -> PathBuf {
        let card = self.folder.path().join(name);
        fs::copy(self.folder.path().join("sample.img"), &card).unwrap();
        card
    }

    /// Returns a new card of `mib` MiB full of what another one left there.
    pub(crate) fn used_up(&self, name: &str, mib: usize) -> PathBuf {
        let card = self.folder.path().join(name);
        fs::write(&card, vec![0x5A; mib << 20]).unwrap();
        card
    }

    /// Plugs a reader in, and returns the path of its card in the machine.
    pub(crate) fn plug(&mut self, name: &str, card: &Path, insertion: Insertion) -> String {
        self.guest.plug(name, card, insertion);
        self.path_of(name)
    }

    /// Returns the path of the card in a reader, once the machine's kernel has it.
    pub(crate) fn path_of(&mut self, name: &str) -> String {
        for _ in 0..100 {
            let devices = self.list();
            let device = devices.iter().find(|device| device["serial"] == name);
            if let Some(device) = device.filter(|device| device["media_present"] == true) {
                return device["path"].as_str().unwrap().to_owned();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("no reader {name}: {:?}", self.list());
    }

    /// Returns the devices that the program lists.
    pub(crate) fn list(&mut self) -> Vec<Value> {
        let said = self.guest.run("cardkeep list --json").expect(0);
        let list: Value = serde_json::from_str(&said.stdout).unwrap();
        list["devices"].as_array().unwrap().clone()
    }

    /// Runs the program in the machine.
    pub(crate) fn cardkeep(&mut self, words: &str) -> Answer {
        self.guest.run(&format!("cardkeep {words}"))
    }

    /// Starts the program in the machine, and waits until it has copied some of the card.
    pub(crate) fn start(&mut self, words: &str) -> Job {
        let job = self.guest.start(&format!("cardkeep {words} --json"));
        let guest = &self.guest;
        guest.wait_until("a part is copied", || {
            assert!(!guest.has_ended(job), "{}", guest.stderr(job));
            is_copying(&guest.stderr(job))
        });
        job
    }

    /// Puts another card into a reader while `job` uses the one that is in it, and has somebody look at it
    /// over and over until that has ended: opened by anybody, the reader serves the new card to
    /// whoever has it open.
    pub(crate) fn change_card(&mut self, reader: &str, other: &Path, job: Job) -> Answer {
        self.guest.take_out(reader);
        std::thread::sleep(HAND);
        self.guest.put_in(reader, other, QUICK);
        while !self.guest.has_ended(job) {
            self.list();
        }
        self.guest.wait(job)
    }

    /// Returns a file of the folder that the machine shares.
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.guest.shared().join(name)
    }

    /// Asserts that a raw or zstd image in the shared folder holds the sample card, as `zstd` reads it.
    pub(crate) fn assert_whole(&self, name: &str) {
        let mut image = self.shared(name);
        if name.ends_with(".zst") {
            let raw = self.folder.path().join("unpacked.img");
            let words = ["-q", "-d", "-f", "-o"];
            Tool::new("zstd").args(words).arg(&raw).arg(image).run();
            image = raw;
        }
        let found = fs::read(image).unwrap();
        let wrong = (0..self.sound.len()).find(|&at| found.get(at) != self.sound.get(at));
        assert_eq!(wrong, None, "{name} is not the card");
        assert_eq!(found.len(), self.sound.len(), "{name}");
    }
}

/// Tells whether an event says that some of the card was read or written.
fn is_copying(events: &str) -> bool {
    let events = events.lines();
    let mut events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.any(|event| event["phase"] == "copy" && event["bytes_per_second"] != 0)
}

/// Runs a test on a bench of its own. Where the emulator itself crashed it is run once more, and says so:
/// tearing out what is busy strikes bugs of QEMU's, too.
#[expect(clippy::print_stderr, reason = "a second trial must not go unseen")]
pub(crate) fn on_bench(test: &str, trial: impl Fn(&mut Bench)) {
    for is_last in [false, true] {
        let Some(mut bench) = Bench::new(test) else {
            return;
        };
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| trial(&mut bench))) else {
            return;
        };
        let crash = bench.guest.crash();
        if is_last || crash.is_none() {
            resume_unwind(panic);
        }
        eprintln!("{test} is run once more: the emulator crashed, {crash:?}");
    }
}

/// Runs the program on this machine.
pub(crate) fn here<'a>(words: impl IntoIterator<Item = &'a Path>) {
    let output = Command::new(env!("CARGO_BIN_EXE_cardkeep"))
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said:?}");
}
