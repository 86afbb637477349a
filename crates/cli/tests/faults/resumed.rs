//! Backups that end before they are done, and go on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cardkeep_block::WriteAt;
use cardkeep_testkit::{Fault, Mount, Random, Tool, is_big_matrix};
use rustix::process::Signal;

use crate::failing::{Failing, content};
use crate::program::Running;

/// The seed of the moments.
const SEED: u64 = 0x5eed_0f05;
const NAMES: [&str; 4] = ["card.img.zst", "card.img", "card.img.xz", "card.img.gz"];

/// Stops backups at moments spread over the requests of the whole run, and goes on with each until it is done.
fn check(test: &str, signal: Signal, moments: u64) {
    let mut random = Random::new(SEED);
    let Some(card) = Failing::new(test) else {
        return;
    };
    let medium = card.disk.medium();
    for name in NAMES {
        let before = medium.requests().len();
        let whole_image = card.path(&format!("whole-{name}"));
        card.back_up(&whole_image, &[]).expect(0);
        let whole = (medium.requests().len() - before) as u64;
        let expected = fs::read(&whole_image).unwrap();
        for index in 0..moments {
            let moment = (whole * index + random.below(whole)) / moments;
            let image = card.path(&format!("{index}-{name}"));
            let gate = medium.hold_after(moment);
            let mut running = card.start(&image, &[]);
            running.signal_at(&gate, signal);
            let answer = running.wait();
            let what = format!("{name} stopped at {moment} of {whole}: {answer:?}");
            assert!(image.exists() == (answer.code == 0), "{what}");
            if answer.code != 0 {
                let is_left = Path::new(&format!("{}.partial", image.display())).exists();
                if is_left {
                    // Nobody loses it by mistake.
                    card.back_up(&image, &[]).expect(2).says(&["--resume"]);
                }
                card.back_up(&image, &["--resume"]).expect(0);
            }
            assert!(fs::read(&image).unwrap() == expected, "{what}");
            card.assert_nothing_left(&image);
        }
    }
}

#[test]
fn a_killed_backup_goes_on_to_the_same_image() {
    let moments = if is_big_matrix() { 5 } else { 2 };
    check(
        "a_killed_backup_goes_on_to_the_same_image",
        Signal::KILL,
        moments,
    );
}

#[test]
fn an_interrupted_backup_goes_on_to_the_same_image() {
    let moments = if is_big_matrix() { 3 } else { 1 };
    check(
        "an_interrupted_backup_goes_on_to_the_same_image",
        Signal::INT,
        moments,
    );
}

/// Catches: starting from the beginning when a card is put back.
#[test]
fn a_card_that_was_torn_out_goes_on_where_it_was() {
    let test = "a_card_that_was_torn_out_goes_on_where_it_was";
    for name in ["card.img", "card.img.zst"] {
        let Some(card) = Failing::new(test) else {
            return;
        };
        let used: u64 = card.used.iter().map(|extent| extent.len()).sum();
        card.disk.declare(Fault::GoneAfter(used * 3 / 4));
        let image = card.path(name);
        let answer = card.back_up(&image, &[]).expect(5).says(&["--resume"]);
        assert!(
            !answer.stderr.contains("can't be read:"),
            "called lost: {answer:?}"
        );
        assert!(!image.exists());
        card.disk.heal();
        let answer = card.back_up(&image, &["--resume"]);
        let answer = if answer.code == 9 {
            answer.expect(9)
        } else {
            answer.expect(0)
        };
        assert_eq!(card.judge(&image, &answer), []);
        if name.ends_with(".zst") {
            let again = answer.json()["read_bytes"].as_u64().unwrap();
            assert!(again < used * 3 / 4, "{again} of {used} bytes were read");
        }
        card.assert_nothing_left(&image);
    }
}

/// Starts a backup, and waits until it says that it waits for the card.
fn start_until_away(card: &Failing, image: &Path, options: &[&str]) -> Running {
    let mut running = card.start(image, options);
    while !running.has_told("\"message\":\"/dev/") {
        assert!(!running.is_done(), "it did not wait");
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}

/// Takes the card away for a while, by a fault after so many bytes, and checks that nothing is lost.
fn assert_read_on(test: &str, names: &[&str], fault: fn(u64) -> Fault, options: &[&str]) {
    for name in names {
        let Some(card) = Failing::new(test) else {
            return;
        };
        card.disk.declare(fault(card.used_bytes() / 2));
        let image = card.path(name);
        let mut running = start_until_away(&card, &image, options);
        assert!(!running.is_done(), "it did not wait");
        card.disk.heal();
        let answer = running.wait().expect(9).says(&["is back"]);
        assert_eq!(card.judge(&image, &answer), []);
        card.assert_nothing_left(&image);
    }
}

/// Catches: giving up on a reader that was reset, and taking another card for the one that vanished.
#[test]
fn a_card_that_comes_back_is_read_on() {
    let test = "a_card_that_comes_back_is_read_on";
    let names = ["card.img", "card.img.zst", "card.img.gz"];
    assert_read_on(test, &names, Fault::GoneAfter, &["--wait-for-card=60"]);
}

/// Catches: calling all sectors bad of a card that is out of its reader, and giving up on it, where the reader
/// does not say that it is empty.
#[test]
fn a_card_that_only_fails_while_it_is_away_is_read_on() {
    let test = "a_card_that_only_fails_while_it_is_away_is_read_on";
    let options = ["--wait-for-card=60", "--retries=0"];
    assert_read_on(
        test,
        &["card.img", "card.img.zst"],
        Fault::MuteAfter,
        &options,
    );
}

/// Catches: a smaller image that is bound to the card as it was opened.
#[test]
fn a_card_that_comes_back_while_it_is_made_smaller_is_read_on() {
    let test = "a_card_that_comes_back_while_it_is_made_smaller_is_read_on";
    let Some(card) = Failing::new(test) else {
        return;
    };
    let small = card.path("small.img");
    card.back_up(&small, &["--shrink"]).expect(0);
    card.disk
        .declare(Fault::GoneAfter(card.used_bytes() * 3 / 4));
    let image = card.path("card.img");
    let mut running = start_until_away(&card, &image, &["--shrink", "--wait-for-card=60"]);
    assert!(!running.is_done(), "it did not wait");
    card.disk.heal();
    running.wait().expect(9).says(&["is back"]);
    assert!(fs::read(&image).unwrap() == fs::read(&small).unwrap());
    card.assert_nothing_left(&image);
}

/// Catches: two cards, or two states of one, mixed in one image.
#[test]
fn a_card_that_was_used_meanwhile_is_not_gone_on_with() {
    let test = "a_card_that_was_used_meanwhile_is_not_gone_on_with";
    for name in ["card.img", "card.img.zst"] {
        let Some(card) = Failing::new(test) else {
            return;
        };
        card.disk
            .declare(Fault::Unreadable(card.used_place(4, 512)));
        let image = card.path(name);
        card.back_up(&image, &["--skip-errors=never", "--retries", "0"])
            .expect(5);
        card.disk.heal();
        // The superblock's time of the last write, as any mount changes it.
        let ext = card.sound.len() as u64;
        let place = card
            .used
            .iter()
            .find(|extent| extent.start() > 40 << 20)
            .unwrap();
        assert!(place.end() < ext);
        let inner = card.disk.medium().inner();
        inner
            .write_at(place.start() + 1024 + 0x30, &[1, 2, 3, 4])
            .unwrap();
        let answer = card.back_up(&image, &["--resume"]);
        answer
            .expect(3)
            .says(&["changed since the backup was interrupted"]);
        assert!(!image.exists());
    }
}

/// Catches: asking for room for what is on the disk already.
#[test]
fn a_raw_image_goes_on_where_there_is_room_for_the_rest_of_it() {
    let test = "a_raw_image_goes_on_where_there_is_room_for_the_rest_of_it";
    let Some(card) = Failing::new(test) else {
        return;
    };
    let used = card.used_bytes();
    let disk = Mount::in_memory(used * 4 / 3);
    card.disk.declare(Fault::GoneAfter(used * 3 / 4));
    let image = disk.path().join("card.img");
    card.back_up(&image, &[]).expect(5);
    card.disk.heal();
    card.back_up(&image, &["--resume"]).expect(0);
    assert!(fs::read(&image).unwrap() == card.sound);
}

/// A disk that is full is no reason to read the card again.
#[test]
fn what_was_written_before_a_disk_was_full_is_kept() {
    let test = "what_was_written_before_a_disk_was_full_is_kept";
    let Some(card) = Failing::new(test) else {
        return;
    };
    if cardkeep_testkit::skip_unless_tools(test, &["mount", "umount"]) {
        return;
    }
    let place = card.path("small");
    fs::create_dir(&place).unwrap();
    let mount = |size: &str, extra: &str| {
        Tool::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("{extra}size={size}"), "tmpfs"])
            .arg(&place)
            .run();
    };
    mount("60k", "");
    let image = place.join("card.img.zst");
    let answer = card.back_up(&image, &[]);
    let grown = answer.code == 4;
    mount("200m", "remount,");
    let again = card.back_up(&image, &["--resume"]);
    let found = (again.code == 0).then(|| {
        let copy = card.path("copy.img.zst");
        fs::copy(&image, &copy).unwrap();
        content(&copy)
    });
    Tool::new("umount").arg(&place).run();
    assert!(grown, "{answer:?}");
    assert!(answer.stderr.contains("--resume"), "{answer:?}");
    assert!(found == Some(card.sound.clone()), "{again:?}");
}

#[test]
fn what_a_disk_held_before_is_not_taken_for_a_partial_images_zeros() {
    let test = "what_a_disk_held_before_is_not_taken_for_a_partial_images_zeros";
    let Some(card) = Failing::new(test) else {
        return;
    };
    card.disk.declare(Fault::GoneAfter(card.used_bytes() / 2));
    let image = card.path("card.img");
    card.back_up(&image, &[]).expect(5);
    card.disk.heal();
    // As a stick without holes has it that was pulled out: the length, but not its zeros.
    let partial = card.path("card.img.partial");
    let mut bytes = fs::read(&partial).unwrap();
    assert_eq!(bytes.len(), card.sound.len());
    let mut end = 0;
    for used in &card.used {
        bytes[end..used.start() as usize].fill(0x5A);
        end = used.end() as usize;
    }
    bytes[end..].fill(0x5A);
    fs::write(&partial, &bytes).unwrap();
    card.back_up(&image, &["--resume"]).expect(0);
    assert!(fs::read(&image).unwrap() == card.sound);
}
