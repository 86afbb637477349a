//! Restores that end, or are held, before they are done.

use std::path::PathBuf;
use std::time::Duration;

use cardkeep_block::{Extent, WriteAt};
use cardkeep_testkit::{Fault, Random, is_big_matrix};
use rustix::process::Signal;

use crate::original::{CARD_BYTES, Original};
use crate::program::{Answer, Running, cardkeep, restore};
use crate::target::{STALE, Target};

/// The seed of the moments.
const SEED: u64 = 0x5eed_0f02;

/// What a card was before anybody wrote to it: something that looks bootable.
fn first_sector_before() -> [u8; 512] {
    let mut sector = [STALE; 512];
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

/// Makes a card that looks bootable.
pub(crate) fn card_that_looks_bootable() -> Target {
    let target = Target::new();
    let medium = target.disk.medium();
    medium.inner().write_at(0, &first_sector_before()).unwrap();
    target
}

/// Makes such a card on which a restore takes one or two seconds.
pub(crate) fn slow_card() -> Target {
    let target = card_that_looks_bootable();
    let extent = Extent::between(0, CARD_BYTES);
    target.disk.declare(Fault::SlowWrites {
        extent,
        delay: Duration::from_millis(20),
    });
    target.disk.declare(Fault::Slow {
        extent,
        delay: Duration::from_millis(5),
    });
    target
}

/// What a stopped restore has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Not one byte of the card differs from what it was.
    Unchanged,
    /// Nothing takes it for bootable.
    NotBootable,
    /// All that matters is there.
    Complete,
}

/// Looks at what a stopped restore has left; panics where it is none of what it may be.
pub(crate) fn left_on(target: &Target, original: &Original, what: &str) -> Left {
    let bytes = target.bytes();
    let (first, rest) = bytes.split_at(512);
    if first == first_sector_before() {
        let changed = rest.iter().position(|&byte| byte != STALE);
        assert_eq!(
            changed, None,
            "the card looks like the old one but isn't: {what}"
        );
        return Left::Unchanged;
    }
    if first == &original.content[..512] {
        original.assert_complete(&target.file());
        return Left::Complete;
    }
    let is_bootable = first[510..] == [0x55, 0xAA];
    assert!(!is_bootable, "the card looks bootable: {what}");
    Left::NotBootable
}

/// How restores are started here: the image, and the options.
fn ways(original: &Original) -> [(PathBuf, &'static [&'static str]); 4] {
    [
        (original.image(), &["--no-probe"]),
        (original.image(), &[]),
        (original.gzipped(), &["--no-probe"]),
        (original.image(), &["--delta"]),
    ]
}

/// Stops restores by `signal` at so many moments each way to restore, spread over the requests of the whole run, lets `judge`
/// look at what each answered and left, and finishes them.
fn check_stopped(
    original: &Original,
    signal: Signal,
    moments: u64,
    judge: impl Fn(&Answer, &Left),
) -> Vec<Left> {
    let mut random = Random::new(SEED);
    let mut all = Vec::new();
    for (image, options) in ways(original) {
        let undisturbed = card_that_looks_bootable();
        cardkeep(restore(&image, undisturbed.path(), options)).expect(0);
        let whole = undisturbed.disk.medium().requests().len() as u64;
        drop(undisturbed);
        for index in 0..moments {
            let moment = (whole * index + random.below(whole)) / moments;
            let target = card_that_looks_bootable();
            let gate = target.disk.medium().hold_after(moment);
            let mut running = Running::start(restore(&image, target.path(), options));
            running.signal_at(&gate, signal);
            let answer = running.wait();
            let left = left_on(
                &target,
                original,
                &format!("stopped at {moment} of {whole}"),
            );
            judge(&answer, &left);
            cardkeep(restore(&image, target.path(), &["--resume"])).expect(0);
            original.assert_complete(&target.file());
            // Killed while it asks the card for its size, it leaves marks that nobody clears.
            if options.contains(&"--no-probe") || answer.code != -1 {
                target.assert_free_is_untouched(original);
            }
            all.push(left);
        }
    }
    all
}

#[test]
fn a_killed_restore_leaves_no_card_that_only_looks_bootable() {
    let test = "a_killed_restore_leaves_no_card_that_only_looks_bootable";
    let Some(original) = Original::new(test) else {
        return;
    };
    let moments = if is_big_matrix() { 6 } else { 2 };
    let all = check_stopped(&original, Signal::KILL, moments, |answer, left| {
        // The run may end before its last moment comes.
        let is_over = answer.code == 0 && *left == Left::Complete;
        assert!(answer.code == -1 || is_over, "{answer:?}");
    });
    assert!(all.contains(&Left::NotBootable), "{all:?}");
}

#[test]
fn an_interrupted_restore_says_how_to_go_on() {
    let test = "an_interrupted_restore_says_how_to_go_on";
    let Some(original) = Original::new(test) else {
        return;
    };
    let moments = if is_big_matrix() { 3 } else { 1 };
    let all = check_stopped(&original, Signal::INT, moments, |answer, left| {
        match (answer.code, left) {
            (0, Left::Complete) => {}
            (8, Left::NotBootable) => assert!(answer.stderr.contains("--resume"), "{answer:?}"),
            (8, Left::Unchanged) => assert!(!answer.stderr.contains("--resume"), "{answer:?}"),
            // Before it listens to signals it has done nothing.
            (-1, Left::Unchanged) => {}
            _ => panic!("{left:?} after {answer:?}"),
        }
    });
    assert!(all.contains(&Left::NotBootable), "{all:?}");
}

#[test]
fn a_restore_that_was_held_goes_on() {
    let Some(original) = Original::new("a_restore_that_was_held_goes_on") else {
        return;
    };
    let target = card_that_looks_bootable();
    let gate = target.disk.medium().hold_after(20);
    let mut running = Running::start(restore(original.image(), target.path(), &[]));
    assert!(gate.wait(|| running.is_done()), "it did not ask the card");
    running.signal(Signal::STOP);
    gate.open();
    let before = target.disk.medium().requests().len();
    running.signal(Signal::CONT);
    running.wait().expect(0);
    assert!(target.disk.medium().requests().len() > before);
    target.assert_restored(&original);
}
