//! One card that fails while it is written or read back.

use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Request, Times};
use serde_json::Value;

use crate::original::{CARD_BYTES, MIB, Original};
use crate::program::{Answer, cardkeep, restore};
use crate::target::Target;

/// Restores onto a card with this fault.
fn run(original: &Original, fault: Fault, options: &[&str]) -> (Target, Answer) {
    let target = Target::with(fault);
    let answer = cardkeep(restore(original.image(), target.path(), options));
    (target, answer)
}

/// Asserts that a restore onto a card with this fault fails with this code and these words, in
/// text and in JSON, and that the card is not bootable.
fn check_failure(original: &Original, fault: Fault, code: i32, words: &[&str]) -> Target {
    let (target, answer) = run(original, fault, &["--json"]);
    let answer = answer.expect(code);
    let error = &answer.errors()[0];
    assert_eq!(error["exit_code"], code);
    let told = error.to_string();
    let result = &answer.json()["targets"][0];
    assert_eq!(result["ok"], false);
    assert_eq!(result["message"], error["message"]);
    target.assert_given_up(original);

    let (target, answer) = run(original, fault, &[]);
    answer.expect(code).says(words);
    for word in words {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    target.assert_given_up(original);
    target
}

/// Asserts that a restore onto a card with this fault succeeds, with this code.
fn check_success(original: &Original, fault: Fault, code: i32) -> Value {
    let (target, answer) = run(original, fault, &["--json"]);
    let report = answer.expect(code).json();
    assert_eq!(report["targets"][0]["verified"], true);
    target.assert_restored(original);
    report
}

#[test]
fn a_healthy_card_gets_all_of_the_image() {
    let Some(original) = Original::new("a_healthy_card_gets_all_of_the_image") else {
        return;
    };
    let report = check_success(&original, Fault::GoneAfter(u64::MAX), 0);
    assert_eq!(report["targets"][0]["mended_frames"], 0);
}

#[test]
fn a_card_that_can_t_be_written_in_one_place_is_given_up() {
    let test = "a_card_that_can_t_be_written_in_one_place_is_given_up";
    let Some(original) = Original::new(test) else {
        return;
    };
    let place = original.used_place(20);
    let bad = |times| Fault::Unwritable {
        extent: place,
        times,
    };
    let words = ["can't be written", "--resume"];
    let target = check_failure(&original, bad(Times::Always), 5, &words);

    // The card has found a spare sector, as cards do: the restore goes on.
    target.disk.heal();
    cardkeep(restore(original.image(), target.path(), &["--resume"])).expect(0);
    target.assert_restored(&original);

    // What fails once is tried again.
    check_success(&original, bad(Times::First(1)), 0);
}

#[test]
fn a_card_that_spoils_a_bit_is_mended_or_given_up() {
    let test = "a_card_that_spoils_a_bit_is_mended_or_given_up";
    let Some(original) = Original::new(test) else {
        return;
    };
    let place = original.used_place(30);
    let spoiling = |times| Fault::FlipsOnWrite {
        offset: place.start() + 700,
        mask: 0x10,
        times,
    };
    let sector = format!("{}", place.start() + 512);
    let words = [
        "does not keep what is written to it",
        "one bit is flipped: try another reader",
        "in partition 2",
        &sector,
        "expected digest",
        "found",
    ];
    check_failure(&original, spoiling(Times::Always), 5, &words);

    let report = check_success(&original, spoiling(Times::First(1)), 9);
    assert_eq!(report["targets"][0]["mended_frames"], 1);
    let trouble = &report["troubles"][0];
    assert_eq!(
        trouble["message"],
        "it read back wrong; after a rewrite it is right"
    );
    let start = trouble["start"].as_u64().unwrap();
    let len = trouble["len"].as_u64().unwrap();
    assert!((start..start + len).contains(&place.start()));
}

#[test]
fn a_card_that_drops_a_write_is_mended_or_given_up() {
    let test = "a_card_that_drops_a_write_is_mended_or_given_up";
    let Some(original) = Original::new(test) else {
        return;
    };
    let dropping = |times| Fault::DropsWrites {
        extent: original.used_place(40),
        times,
    };
    let words = [
        "does not keep what is written to it",
        "holds something other than what was written",
        "in partition 2",
    ];
    check_failure(&original, dropping(Times::Always), 5, &words);
    let report = check_success(&original, dropping(Times::First(1)), 9);
    assert_eq!(report["targets"][0]["mended_frames"], 1);
}

#[test]
fn a_card_that_spoils_its_first_mib_is_left_without_one() {
    let test = "a_card_that_spoils_its_first_mib_is_left_without_one";
    let Some(original) = Original::new(test) else {
        return;
    };
    // A byte of the partition table: it is written once, and once more.
    let spoiling = |times| Fault::FlipsOnWrite {
        offset: 0x1BE,
        mask: 0x80,
        times,
    };
    let words = ["does not keep what is written to it", "written to it last"];
    let (target, answer) = run(&original, spoiling(Times::Always), &["--no-probe"]);
    answer.expect(5).says(&words);
    // Zeros were written over it, and it spoils these too: but nothing else is there.
    let mut first = target.bytes()[..512].to_vec();
    first[0x1BE] &= 0x7F;
    assert_eq!(first, [0; 512]);
    target.assert_free_is_untouched(&original);
}

#[test]
fn a_card_torn_out_goes_on_when_it_is_back() {
    let test = "a_card_torn_out_goes_on_when_it_is_back";
    let Some(original) = Original::new(test) else {
        return;
    };
    let words = [
        "disappeared while it was written",
        "put it back",
        "--resume",
    ];
    // After a few writes it is a flush that finds it out.
    let soon = (1..=6).map(Fault::GoneAfterWrites);
    let later = [Fault::GoneAfterWrites(20), Fault::GoneAfter(30 << 20)];
    for fault in soon.chain(later) {
        let target = Target::with(fault);
        let options = ["--no-probe"];
        let answer = cardkeep(restore(original.image(), target.path(), &options));
        answer.expect(5).says(&words);
        target.assert_given_up(&original);
        target.disk.heal();
        cardkeep(restore(original.image(), target.path(), &["--resume"])).expect(0);
        target.assert_restored(&original);
    }
}

#[test]
fn a_slow_card_only_takes_longer() {
    let Some(original) = Original::new("a_slow_card_only_takes_longer") else {
        return;
    };
    let slow = Fault::SlowWrites {
        extent: Extent::between(0, CARD_BYTES),
        delay: Duration::from_millis(20),
    };
    let report = check_success(&original, slow, 0);
    assert!(report["seconds"].as_f64().unwrap() > 0.5);
}

#[test]
fn a_write_protected_card_is_told_and_left_alone() {
    let test = "a_write_protected_card_is_told_and_left_alone";
    let Some(original) = Original::new(test) else {
        return;
    };
    let target = Target::with(Fault::WriteProtected);
    for options in [&["--no-probe"][..], &[]] {
        let answer = cardkeep(restore(original.image(), target.path(), options));
        assert!([4, 5].contains(&answer.code), "{}", answer.stderr);
        let is_left = target
            .bytes()
            .iter()
            .all(|&byte| byte == crate::target::STALE);
        assert!(is_left, "a protected card was written");
    }
}

#[test]
fn a_card_that_can_t_be_read_back_is_not_trusted() {
    let test = "a_card_that_can_t_be_read_back_is_not_trusted";
    let Some(original) = Original::new(test) else {
        return;
    };
    let place = original.used_place(60);
    let words = ["can't be read", "--resume"];
    check_failure(&original, Fault::Unreadable(place), 5, &words);
    let flaky = Fault::Flaky {
        extent: place,
        failures: 1,
    };
    // The one failure may strike somebody else's read: the system looks at devices, too.
    let struck = (0..3).find_map(|_| {
        let (target, answer) = run(&original, flaky, &["--json"]);
        (answer.code != 0).then_some((target, answer))
    });
    let (target, answer) = struck.expect("a failure that strikes the restore");
    let report = answer.expect(9).json();
    assert_eq!(report["targets"][0]["verified"], true);
    assert_eq!(report["targets"][0]["mended_frames"], 1);
    target.assert_restored(&original);
}

#[test]
fn a_card_that_can_t_flush_is_not_trusted() {
    let test = "a_card_that_can_t_flush_is_not_trusted";
    let Some(original) = Original::new(test) else {
        return;
    };
    let target = Target::with(Fault::FlushFails(Times::Always));
    let answer = cardkeep(restore(original.image(), target.path(), &["--no-probe"]));
    answer.expect(5).says(&["can't be written"]);
    target.assert_given_up(&original);
    // All is written, and the flush before it is read back fails.
    let arguments = |target: &Target| restore(original.image(), target.path(), &["--no-probe"]);
    let undisturbed = Target::new();
    cardkeep(arguments(&undisturbed)).expect(0);
    let requests = undisturbed.disk.medium().requests();
    // The head is written once more, after that.
    let is_body = |own: &Request| own.kind.is_write() && own.extent.start() >= MIB;
    let last_write = requests.iter().rposition(is_body);
    // Some requests before it: the system may ask for a few of its own, and nothing is flushed there.
    let amid = last_write.unwrap() as u64 - 20;
    let target = Target::new();
    let gate = target.disk.medium().hold_after(amid);
    let mut running = crate::program::Running::start(arguments(&target));
    assert!(gate.wait(|| running.is_done()), "it was over too soon");
    target.disk.declare(Fault::FlushFails(Times::First(1)));
    gate.open();
    running.wait().expect(5).says(&["can't be written"]);
    target.assert_given_up(&original);
}

#[test]
fn a_card_that_ends_early_is_told_as_such() {
    let test = "a_card_that_ends_early_is_told_as_such";
    let Some(original) = Original::new(test) else {
        return;
    };
    let ends = Fault::EndsAt(50 << 20);
    let (target, answer) = run(&original, ends, &["--no-probe"]);
    answer.expect(5).says(&["can't be written"]);
    target.assert_not_bootable();
    target.assert_free_is_untouched(&original);
    let (target, answer) = run(&original, ends, &[]);
    answer
        .expect(5)
        .says(&["can't be trusted", "smaller than it says"]);
    let is_left = target
        .bytes()
        .iter()
        .all(|&byte| byte == crate::target::STALE);
    assert!(is_left, "what the probe had overwritten is not back");
}
