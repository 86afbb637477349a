//! `cardkeep` from an account that may not open the card: what UDisks2 hands out is used, and
//! nothing but the card is ever read or written.
//!
//! The UDisks2 is a fake on a bus of its own; the card is a loop device, and the account is that of
//! nobody. Needs root, loop devices and dbus-daemon, and says so where these are missing.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

mod stranger;

use std::time::{Duration, Instant};

use cardkeep_testkit::{FakeUdisks, Handing, Mount, Tool, skip_unless_tools};
use rustix::fs::OFlags;

use crate::stranger::{Scene, Which};

/// What the sudo line begins with, which the program ends with where nobody helps.
const SUDO_LINE: &str = "hint: sudo ";
/// How it ends well here: nothing is known of what is on the cards, and it says so.
const WELL: i32 = 9;

#[test]
fn a_card_is_backed_up_through_udisks() {
    let Some(scene) = Scene::new("a_card_is_backed_up_through_udisks") else {
        return;
    };
    let fake = FakeUdisks::start(scene.card(), Handing::Device(scene.card().into()));
    let image = scene.beside("card.img");
    let answer = scene.run(
        &fake.address(),
        &["backup", "--quiet", scene.card_name(), &image],
    );
    answer.expect(WELL);
    assert!(std::fs::read(&image).unwrap() == scene.bytes(Which::Card));
    assert_eq!(scene.bytes_read(Which::Other), 0);
    let answer = scene.run(
        &fake.address(),
        &["verify", "--quiet", &image, "--against", scene.card_name()],
    );
    answer.expect(WELL);
    scene
        .run(&fake.address(), &["info", scene.card_name()])
        .expect(WELL);
    assert!(
        fake.requests()
            .iter()
            .all(|request| request.starts_with("open r "))
    );
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn a_card_is_restored_through_udisks() {
    let Some(scene) = Scene::new("a_card_is_restored_through_udisks") else {
        return;
    };
    let fake = FakeUdisks::start(scene.card(), Handing::Device(scene.card().into()));
    let answer = scene.run(
        &fake.address(),
        &[
            "restore",
            "--quiet",
            "--yes",
            &scene.image(),
            scene.card_name(),
        ],
    );
    answer.expect(0);
    assert!(scene.bytes(Which::Card) == scene.image_bytes());
    // Nobody else may hold it: O_EXCL, O_DIRECT and O_CLOEXEC, of open(2).
    let flags = OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC;
    let writing = format!("open rw {:#x}", flags.bits());
    let requests = fake.requests();
    assert!(requests.contains(&writing), "{requests:?}");
}

#[test]
fn a_card_is_unmounted_through_udisks() {
    let test = "a_card_is_unmounted_through_udisks";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    if skip_unless_tools(test, &["mke2fs"]) {
        return;
    }
    Tool::new("mke2fs")
        .args(["-q", "-t", "ext4"])
        .arg(scene.card())
        .run();
    let mount = Mount::new(scene.card(), "rw").unwrap();
    let fake = FakeUdisks::start(scene.card(), Handing::Device(scene.card().into()));
    let image = scene.beside("card.img");
    let words = ["backup", "--quiet", scene.card_name(), &image];
    let answer = scene.run(&fake.address(), &words);
    answer.expect(3).says(&["mounted read-write"]);
    assert!(!fake.requests().contains(&"unmount".to_owned()));
    let words = [&words[..], &["--unmount"]].concat();
    scene.run(&fake.address(), &words).expect(0);
    assert!(fake.requests().contains(&"unmount".to_owned()));
    drop(mount);
}

#[test]
fn another_device_is_neither_read_nor_written() {
    let Some(scene) = Scene::new("another_device_is_neither_read_nor_written") else {
        return;
    };
    let before = (scene.bytes(Which::Card), scene.bytes(Which::Other));
    let fake = FakeUdisks::start(scene.card(), Handing::Device(scene.other().into()));
    let read = scene.bytes_read(Which::Other);
    let image = scene.beside("card.img");
    let answer = scene.run(
        &fake.address(),
        &["backup", "--quiet", scene.card_name(), &image],
    );
    answer
        .expect(4)
        .says(&["you may not read", "another device", SUDO_LINE]);
    assert!(!std::fs::exists(&image).unwrap());
    for options in [&[][..], &["--no-probe"], &["--delta"], &["--resume"]] {
        let (image, card) = (scene.image(), scene.card_name());
        let words = [&["restore", "--quiet", "--yes", &image, card], options].concat();
        let answer = scene.run(&fake.address(), &words);
        answer
            .expect(4)
            .says(&["you may not write", "another device", SUDO_LINE]);
    }
    assert_eq!(
        scene.bytes_read(Which::Other),
        read,
        "another device was read"
    );
    assert!((scene.bytes(Which::Card), scene.bytes(Which::Other)) == before);
}

#[test]
fn a_card_that_others_may_hold_is_not_written() {
    let Some(scene) = Scene::new("a_card_that_others_may_hold_is_not_written") else {
        return;
    };
    let before = scene.bytes(Which::Card);
    let fake = FakeUdisks::start(scene.card(), Handing::WithoutFlags(scene.card().into()));
    let answer = scene.run(
        &fake.address(),
        &[
            "restore",
            "--quiet",
            "--yes",
            &scene.image(),
            scene.card_name(),
        ],
    );
    answer.expect(4).says(&["another mode than requested"]);
    assert!(scene.bytes(Which::Card) == before);
}

#[test]
fn who_is_not_permitted_is_told_the_sudo_line() {
    let Some(scene) = Scene::new("who_is_not_permitted_is_told_the_sudo_line") else {
        return;
    };
    let before = scene.bytes(Which::Card);
    for (handing, word) in [
        (Handing::Forbidden, "your account isn't authorised"),
        (Handing::NoAgent, "no polkit agent"),
        (Handing::Declined, "was not given"),
    ] {
        let fake = FakeUdisks::start(scene.card(), handing);
        let answer = scene.run(&fake.address(), &["info", scene.card_name()]);
        answer
            .expect(4)
            .says(&["you may not read", word, SUDO_LINE]);
        let answer = scene.run(
            &fake.address(),
            &[
                "restore",
                "--quiet",
                "--yes",
                &scene.image(),
                scene.card_name(),
            ],
        );
        answer
            .expect(4)
            .says(&["you may not write", word, SUDO_LINE]);
    }
    assert!(scene.bytes(Which::Card) == before);
}

#[test]
fn without_udisks_all_is_as_ever_and_at_once() {
    let Some(scene) = Scene::new("without_udisks_all_is_as_ever_and_at_once") else {
        return;
    };
    let bus = FakeUdisks::bus_alone();
    let started = Instant::now();
    let missing = format!("unix:path={}", scene.beside("no-bus"));
    for address in [missing, bus.address()] {
        let answer = scene.run(&address, &["info", scene.card_name()]);
        let answer = answer.expect(4).says(&["you may not read", SUDO_LINE]);
        assert!(!answer.stderr.contains("udisks"), "{}", answer.stderr);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_person_is_told_of_the_question_and_may_stop() {
    let Some(scene) = Scene::new("a_person_is_told_of_the_question_and_may_stop") else {
        return;
    };
    let fake = FakeUdisks::start(scene.card(), Handing::Silence);
    let image = scene.beside("card.img");
    let words = ["backup", "--quiet", scene.card_name(), &image];
    let answer = scene.run_and_stop(&fake.address(), &words, "note: asking the system");
    answer.expect(8).says(&["stopped"]);
}

#[test]
fn a_list_asks_for_nothing() {
    let Some(scene) = Scene::new("a_list_asks_for_nothing") else {
        return;
    };
    let fake = FakeUdisks::start(scene.card(), Handing::Silence);
    let answer = scene.run(&fake.address(), &["list", "--all"]).expect(0);
    assert!(
        answer.stdout.contains(scene.card_name()),
        "{}",
        answer.stdout
    );
    assert_eq!(fake.requests(), Vec::<String>::new());
}
