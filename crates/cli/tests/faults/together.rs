//! Several runs at one card, or for one image, at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Random, is_big_matrix};
use rustix::process::Signal;

use crate::failing::Failing;
use crate::matrix::blow::slow_down;
use crate::matrix::outcome::assert_sound;
use crate::original::{CARD_BYTES, MIB, Original};
use crate::program::{Answer, Running, cardkeep, restore};
use crate::target::{STALE, Target};

const SEED: u64 = 0x5eed_0f07;

fn rounds() -> u64 {
    if is_big_matrix() { 4 } else { 1 }
}

/// Waits for so long at random.
fn pause(random: &mut Random, millis_max: u64) {
    std::thread::sleep(Duration::from_millis(random.below(millis_max)));
}

#[test]
fn two_backups_of_one_card_are_both_good() {
    let Some(card) = Failing::new("two_backups_of_one_card_are_both_good") else {
        return;
    };
    let mut random = Random::new(SEED);
    for round in 0..rounds() {
        slow_down(&card);
        let images = ["card.img.zst", "card.img"].map(|name| card.path(&format!("{round}-{name}")));
        let first = card.start(&images[0], &[]);
        pause(&mut random, 500);
        let second = card.start(&images[1], &[]);
        for (running, image) in [first, second].into_iter().zip(&images) {
            let answer = running.wait().expect(0);
            assert_sound(&card, image, &format!("{answer:?}"));
            card.assert_nothing_left(image);
        }
    }
}

/// Catches: two runs that write one file, and one that removes the other's.
#[test]
fn of_two_backups_to_one_image_one_is_refused() {
    let Some(card) = Failing::new("of_two_backups_to_one_image_one_is_refused") else {
        return;
    };
    let mut random = Random::new(SEED);
    slow_down(&card);
    let mut refused = 0;
    for name in ["card.img.zst", "card.img"] {
        for options in [&[][..], &["--resume"], &["--force"]] {
            for round in 0..rounds() {
                let image = card.path(&format!("{round}{}-{name}", options.concat()));
                let first = card.start(&image, &[]);
                pause(&mut random, 400);
                let second = card.start(&image, options);
                let answers = [first.wait(), second.wait()];
                let what = format!("{name} {options:?}: {answers:?}");
                let is_done = |answer: &&Answer| answer.code == 0;
                let done = answers.iter().filter(is_done).count();
                assert!(done > 0, "none won: {what}");
                for loser in answers.iter().filter(|answer| !is_done(answer)) {
                    assert!(matches!(loser.code, 2 | 4), "{what}");
                    let hint = [
                        "--resume continues it",
                        "being written by another run",
                        "already exists",
                    ];
                    let is_clear = hint.iter().any(|word| loser.stderr.contains(word));
                    assert!(is_clear, "{what}");
                    refused += 1;
                }
                assert_sound(&card, &image, &what);
                card.assert_nothing_left(&image);
            }
        }
    }
    assert!(refused > 0, "no two runs met");
}

/// A card that takes some seconds to be written.
fn slow_target() -> Target {
    Target::with(Fault::SlowWrites {
        extent: Extent::between(0, CARD_BYTES),
        delay: Duration::from_millis(150),
    })
}

fn backup(card: &Path, image: &Path) -> Vec<PathBuf> {
    let words = ["backup".as_ref(), card, image, "--quiet".as_ref()];
    words.map(Path::to_path_buf).into()
}

/// Asserts that a raw image holds the card as it was before a restore, or after it.
fn assert_one_state(original: &Original, image: &Path) {
    let found = fs::read(image).unwrap();
    let is_old = found.iter().all(|&byte| byte == STALE);
    let is_new = |extent: &Extent| {
        let range = extent.start() as usize..extent.end() as usize;
        found[range.clone()] == original.content[range]
    };
    assert!(is_old || original.used.iter().all(is_new), "a torn image");
}

/// Catches: an image, verified and all, of a card that is half old and half new.
#[test]
fn a_card_that_is_written_is_not_backed_up() {
    let Some(original) = Original::new("a_card_that_is_written_is_not_backed_up") else {
        return;
    };
    let mut random = Random::new(SEED);
    for _ in 0..rounds() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("card.img");
        let target = slow_target();
        let written_before = target.disk.medium().bytes_written();
        let options = ["--no-probe"];
        let mut first = Running::start(restore(original.image(), target.path(), &options));
        let wanted = written_before + MIB + random.below(4 * MIB);
        while target.disk.medium().bytes_written() < wanted {
            assert!(!first.is_done(), "it was over too soon");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Its patience is longer than some restores take.
        let answer = cardkeep(backup(target.path(), &image));
        let is_over = first.is_done();
        first.wait().expect(0);
        target.assert_restored(&original);
        match answer.code {
            0 | 9 => assert_one_state(&original, &image),
            _ => {
                assert!(!is_over, "refused though nobody writes: {answer:?}");
                answer.expect(4).says(&["is in use"]);
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
            }
        }
    }
}

/// Catches: a restore that changes a card under the hands of a backup.
#[test]
fn a_card_that_is_backed_up_is_not_written() {
    let Some(original) = Original::new("a_card_that_is_backed_up_is_not_written") else {
        return;
    };
    let mut random = Random::new(SEED);
    for _ in 0..rounds().min(2) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("card.img");
        let target = Target::new();
        let before = target.bytes();
        let gate = target.disk.medium().hold_after(40 + random.below(40));
        let mut first = Running::start(backup(target.path(), &image));
        assert!(gate.wait(|| first.is_done()), "it was over too soon");
        // Held, it has the card for as long as the restore takes to find that out.
        assert!(first.signal(Signal::STOP), "it was over too soon");
        gate.open();
        let answer = cardkeep(restore(original.image(), target.path(), &[]));
        first.signal(Signal::CONT);
        answer.expect(4).says(&["is in use"]);
        // Nothing on it is known: all of it is copied, and said to be.
        let backed_up = first.wait().expect(9);
        assert!(target.bytes() == before, "it was written");
        assert!(fs::read(&image).unwrap() == before, "{backed_up:?}");
    }
}
