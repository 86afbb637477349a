//! Texts from outside, outputs that fail, signals, and odd calls.

mod documented;
mod hostile;
mod odd;
mod signals;
mod streams;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use cardkeep_testkit::{Answer, Mount, skip_unless_root, skip_unless_tools};
use rustix::process::{Pid, Signal, kill_process};

use crate::desk::Desk;

/// Makes the sample card `s.img`, its image `s.img.zst`, and an empty card `card.img`.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.sample("s.img");
    desk.expect(0, &["backup", "s.img", "s.img.zst", "--quiet"]);
    let len = std::fs::metadata(desk.path("s.img")).unwrap().len();
    let card = File::create(desk.path("card.img")).unwrap();
    card.set_len(len).unwrap();
    desk
}

/// Asserts that an image of the card is whole, and what was restored of it.
fn assert_restored(desk: &Desk) {
    desk.expect(0, &["verify", "s.img.zst", "--against", "card.img"]);
}

/// A restore that waits for its image: what is piped to it decides when it goes on.
struct Waiting {
    child: std::process::Child,
    image: Vec<u8>,
}

impl Waiting {
    /// Starts a restore from a pipe, and gives it the first half of an image.
    fn start(desk: &Desk) -> Self {
        desk.sample("s.img");
        let card = File::create(desk.path("card.img")).unwrap();
        card.set_len(140 << 20).unwrap();
        drop(card);
        let image = std::fs::read(desk.path("s.img")).unwrap();
        let mut child = desk
            .command(&["restore", "-", "card.img", "--yes", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let half = &image[..image.len() / 2];
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), half).unwrap();
        Self { child, image }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Gives it the other half, and returns what it said.
    fn finish(mut self) -> Answer {
        let mut pipe = self.child.stdin.take().unwrap();
        let half = self.image.split_off(self.image.len() / 2);
        // It may have been told to stop.
        std::io::Write::write_all(&mut pipe, &half).ok();
        drop(pipe);
        self.child.wait_with_output().unwrap().into()
    }
}

impl Waiting {
    /// As [`Waiting::finish`], of standard error alone, in lines.
    fn finish_with(self, stderr: impl Read + Send + 'static) -> Vec<String> {
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines();
            lines.map(Result::unwrap).collect::<Vec<_>>()
        });
        self.finish().expect(0);
        reader.join().unwrap()
    }
}

#[test]
fn who_asks_by_a_signal_is_told_how_far_it_is() {
    let desk = Desk::new();
    let mut waiting = Waiting::start(&desk);
    let stderr = waiting.child.stderr.take().unwrap();
    waiting.signal(Signal::USR1);
    let mut rest = waiting.finish_with(stderr);
    rest.retain(|line| line.contains("\"event\":\"progress\""));
    assert!(!rest.is_empty());
}

#[test]
fn signals_that_nobody_sends_on_purpose_end_nothing() {
    let desk = Desk::new();
    let waiting = Waiting::start(&desk);
    for signal in [Signal::USR2, Signal::ALARM, Signal::VTALARM, Signal::PROF] {
        waiting.signal(signal);
    }
    waiting.finish().expect(0);
}

#[test]
fn a_hang_up_that_was_ignored_at_the_start_stays_so() {
    let test = "a_hang_up_that_was_ignored_at_the_start_stays_so";
    if skip_unless_tools(test, &["nohup", "bash"]) {
        return;
    }
    let desk = Desk::new();
    desk.sample("s.img");
    let program = env!("CARGO_BIN_EXE_cardkeep");
    // The signal comes while the program waits for what the pipe brings.
    let said = desk.sh(&format!(
        "truncate -s 140M card.img; mkfifo pipe
         nohup '{program}' restore - card.img --yes --quiet <pipe >said 2>&1 & running=$!
         exec 7>pipe
         head -c 60000000 s.img >&7
         kill -HUP $running
         tail -c +60000001 s.img >&7
         exec 7>&-
         wait $running && echo whole"
    ));
    assert_eq!(said, "whole\n");
}

#[test]
fn media_that_claim_to_be_longer_than_any_are_refused() {
    let test = "media_that_claim_to_be_longer_than_any_are_refused";
    if skip_unless_root(test) {
        return;
    }
    let desk = Desk::new();
    let mount = Mount::in_memory(64 << 20);
    let file = mount.path().join("huge.img");
    for bits in [49, 61, 62] {
        File::create(&file).unwrap().set_len(1 << bits).unwrap();
        for command in ["info", "verify", "backup"] {
            let answer = desk.command(&[command]).arg(&file).output().unwrap();
            Answer::from(answer).expect(5).says(&["it claims to have"]);
        }
    }
}

#[test]
fn a_reader_that_ends_early_is_named() {
    let desk = Desk::new();
    desk.sample("s.img");
    let mut child = desk
        .command(&["backup", "s.img", "-", "--format", "raw", "--quiet"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 4096];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut first).unwrap();
    drop(pipe);
    let answer = Answer::from(child.wait_with_output().unwrap());
    answer.expect(4).says(&["the output was closed too early"]);
}

#[test]
fn a_file_that_is_missing_is_no_card_that_is_missing() {
    let desk = Desk::new();
    for command in ["info", "verify", "backup"] {
        let answer = desk.run(&[command, "no-such"]);
        assert!(answer.code == 2, "{answer:?}");
        assert!(!answer.stderr.contains("no card"), "{answer:?}");
    }
}
