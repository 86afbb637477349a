//! Cards that can't be read everywhere: what can be read is in the image, and what is not has a name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cardkeep_block::{Extent, ReadAt, WriteAt};
use cardkeep_testkit::{Fault, Tool, skip_unless_tools};

use crate::failing::Failing;
use crate::program::{Answer, cardkeep};

const NAMES: [&str; 2] = ["card.img", "card.img.zst"];

/// Catches: a job that ends with the first bad sector, stale bytes in place of lost ones, good
/// sectors lost beside bad ones, and a loss without a name.
#[test]
fn bad_sectors_cost_just_themselves_and_are_named() {
    let test = "bad_sectors_cost_just_themselves_and_are_named";
    for name in NAMES {
        let Some(card) = Failing::new(test) else {
            return;
        };
        let bad: Vec<Extent> = (0..4).map(|index| card.used_place(index, 1024)).collect();
        for &extent in &bad {
            card.disk.declare(Fault::Unreadable(extent));
        }
        let image = card.path(name);
        let answer = card.back_up(&image, &["--retries", "0"]).expect(9);
        let lost = card.judge(&image, &answer);
        assert_eq!(lost, bad, "{name}: {}", answer.json()["lost"]);
        let places = answer.json()["lost"].clone();
        let is_named =
            |place: &serde_json::Value| !place["path"].is_null() || !place["what"].is_null();
        assert!(places.as_array().unwrap().iter().all(is_named), "{places}");
        if name.ends_with(".zst") {
            // A restore of it says so, too.
            let target = card.path("target.img");
            fs::File::create(&target)
                .unwrap()
                .set_len(card.sound.len() as u64)
                .unwrap();
            let words = ["restore".into(), image.clone(), target, "--yes".into()];
            cardkeep::<std::path::PathBuf>(words)
                .expect(9)
                .says(&["could not be read when the image was made"]);
        }
        // The image is sound in itself, and that is not all there is to say.
        told(&image, &["verify".as_ref()], 9).says(&["could not be read when the image was made"]);
        let map = fs::read_to_string(format!("{}.map", image.display())).unwrap();
        assert!(map.contains('-'), "{map}");
    }
}

/// Catches: reading what nobody needs, and trouble about it.
#[test]
fn bad_sectors_in_free_space_cost_nothing() {
    let test = "bad_sectors_in_free_space_cost_nothing";
    for name in NAMES {
        let Some(card) = Failing::new(test) else {
            return;
        };
        let mut end = 0;
        for extent in &card.used {
            // What is read through is short.
            if extent.start() - end > 256 << 10 {
                let free = Extent::between(end + (64 << 10), extent.start() - (64 << 10));
                card.disk.declare(Fault::Unreadable(free));
            }
            end = extent.end();
        }
        let image = card.path(name);
        let answer = card.back_up(&image, &[]).expect(0);
        assert_eq!(card.judge(&image, &answer), []);
        card.assert_nothing_left(&image);
    }
}

/// Catches: giving up what a second try reads, and not telling that one was needed.
#[test]
fn what_reads_at_a_later_try_is_not_lost() {
    let test = "what_reads_at_a_later_try_is_not_lost";
    for name in NAMES {
        let Some(card) = Failing::new(test) else {
            return;
        };
        for index in 0..3 {
            card.disk.declare(Fault::Flaky {
                extent: card.used_place(index, 512),
                failures: 3,
            });
        }
        let image = card.path(name);
        let answer = card.back_up(&image, &["--retries", "5"]).expect(9);
        assert_eq!(card.judge(&image, &answer), []);
        assert!(answer.json()["health"]["errors"].as_u64().unwrap() >= 3);
        card.assert_nothing_left(&image);
    }
}

/// Catches: an image with holes under a good name where none was wanted, and what was read lost.
#[test]
fn without_leave_to_skip_there_is_no_image_but_all_is_kept() {
    let test = "without_leave_to_skip_there_is_no_image_but_all_is_kept";
    for name in NAMES {
        let Some(card) = Failing::new(test) else {
            return;
        };
        let bad = card.used_place(3, 512);
        card.disk.declare(Fault::Unreadable(bad));
        let image = card.path(name);
        let answer = card.back_up(&image, &["--skip-errors=never", "--retries", "0"]);
        answer.expect(5).says(&["--resume"]);
        assert!(!image.exists(), "{name}");
        card.disk.heal();
        let answer = card.back_up(&image, &["--resume"]);
        let answer = if answer.code == 9 {
            answer.expect(9)
        } else {
            answer.expect(0)
        };
        assert_eq!(card.judge(&image, &answer), []);
        let used: u64 = card.used.iter().map(|extent| extent.len()).sum();
        let again = answer.json()["read_bytes"].as_u64().unwrap();
        assert!(again <= used, "{name}: {again} of {used} bytes were read");
        card.assert_nothing_left(&image);
    }
}

/// What ddrescue began is gone on with, and the other way round.
#[test]
fn ddrescue_and_cardkeep_go_on_with_each_other() {
    let test = "ddrescue_and_cardkeep_go_on_with_each_other";
    if skip_unless_tools(test, &["ddrescue", "ddrescuelog"]) {
        return;
    }
    let Some(card) = Failing::new(test) else {
        return;
    };
    let bad = card.used_place(2, 4096);
    card.disk.declare(Fault::Unreadable(bad));
    let (ours, theirs) = (card.path("ours.img"), card.path("theirs.img"));
    let map_of = |image: &std::path::Path| format!("{}.map", image.display());
    Tool::new("ddrescue")
        .args(["-q", "-n"])
        .arg(card.disk.path())
        .arg(&theirs)
        .arg(map_of(&theirs))
        .run();
    card.back_up(&ours, &["--retries", "0"]).expect(9);
    card.disk.heal();
    let served = card.disk.medium().bytes_served();
    let answer = card.back_up(&theirs, &["--resume"]).expect(0);
    let again = card.disk.medium().bytes_served() - served;
    assert!(again < 12 << 20, "{again} bytes were read again");
    assert_eq!(answer.json()["lost"], serde_json::json!([]));
    for extent in &card.used {
        let place = extent.start() as usize..extent.end() as usize;
        assert!(
            fs::read(&theirs).unwrap()[place.clone()] == card.sound[place],
            "{extent}"
        );
    }
    Tool::new("ddrescue")
        .args(["-q", "-r1"])
        .arg(card.disk.path())
        .arg(&ours)
        .arg(map_of(&ours))
        .run();
    Tool::new("ddrescuelog").arg("-D").arg(map_of(&ours)).run();
    assert!(fs::read(&ours).unwrap() == card.sound);
}

/// A slow place is read after the others, and shows in the report.
#[test]
fn the_report_shows_where_a_card_is_slow_and_what_it_lost() {
    let test = "the_report_shows_where_a_card_is_slow_and_what_it_lost";
    let Some(card) = Failing::new(test) else {
        return;
    };
    let slow = card.used_place(5, 4096);
    card.disk.declare(Fault::Slow {
        extent: slow,
        delay: Duration::from_millis(700),
    });
    card.disk
        .declare(Fault::Unreadable(card.used_place(9, 512)));
    let image = card.path("card.img.zst");
    let report = card.path("card.html");
    let option = format!("--report={}", report.display());
    let answer = card
        .back_up(&image, &[&option, "--retries", "0"])
        .expect(9)
        .json();
    let slowest = &answer["health"]["slowest"][0];
    assert!(slowest["seconds"].as_f64().unwrap() > 0.6, "{slowest}");
    let page = fs::read_to_string(&report).unwrap();
    assert!(page.contains("<svg") && page.contains("#c0392b"), "{page}");
    let place = answer["lost"][0]["start"].to_string();
    assert!(page.contains(&format!("<td>{place}</td>")), "{page}");
    // It is not replaced unasked.
    card.back_up(&card.path("other.img.zst"), &[&option])
        .expect(2);
}

/// Returns what `words` say of an image that lacks something.
fn told(image: &Path, words: &[&Path], code: i32) -> Answer {
    let words = words.iter().map(|word| word.as_os_str());
    let answer = cardkeep(words.chain([image.as_os_str(), "--json".as_ref()]));
    answer.expect(code)
}

/// Catches: an image without a manifest that is taken for whole once its backup has ended, and one whose
/// losses are forgotten by another backup that was to take its place and did not.
#[test]
fn an_image_whose_losses_stand_in_its_map_is_never_taken_for_whole() {
    let test = "an_image_whose_losses_stand_in_its_map_is_never_taken_for_whole";
    let Some(card) = Failing::new(test) else {
        return;
    };
    let said = "could not be read when the image was made";
    let bad = card.used_place(9, 1024);
    for name in ["card.img", "card.img.gz"] {
        card.disk.declare(Fault::Unreadable(bad));
        let image = card.path(name);
        card.back_up(&image, &["--retries", "0"]).expect(9);
        card.disk.heal();
        let target = card.path("target.img");
        fs::write(&target, vec![0; card.sound.len()]).unwrap();
        let restore = |code| {
            let words: [&Path; 5] = [
                "restore".as_ref(),
                &image,
                &target,
                "--yes".as_ref(),
                "--json".as_ref(),
            ];
            cardkeep(words).expect(code)
        };
        restore(9).says(&[said]);
        told(&image, &["verify".as_ref()], 9).says(&[said]);
        if name == "card.img" {
            told(&image, &["info".as_ref()], 9).says(&[said, "partition"]);
        }
        // Going on with it is refused, or ends early.
        let inner = card.disk.medium().inner();
        let place = card.used.iter().find(|used| used.start() > 40 << 20);
        // The superblock's time of the last write, as any mount changes it.
        let place = place.unwrap().start() + 1024 + 0x30;
        let mut old = [0; 4];
        inner.read_at(place, &mut old).unwrap();
        inner.write_at(place, &[1, 2, 3, 4]).unwrap();
        card.back_up(&image, &["--resume"]).expect(3);
        inner.write_at(place, &old).unwrap();
        told(&image, &["verify".as_ref()], 9).says(&[said]);
        if name != "card.img" {
            card.disk.declare(Fault::GoneAfter(card.used_bytes() / 4));
            card.back_up(&image, &["--resume"]).expect(5);
            card.disk.heal();
            told(&image, &["verify".as_ref()], 9).says(&[said]);
        }
        // Another backup begins to take its place.
        card.disk.declare(Fault::GoneAfter(card.used_bytes() / 2));
        card.back_up(&image, &["--force"]).expect(5);
        card.disk.heal();
        restore(9).says(&[said]);
        // And once more, from the beginning.
        card.disk.declare(Fault::GoneAfter(card.used_bytes() / 2));
        card.back_up(&image, &["--force"]).expect(5);
        card.disk.heal();
        told(&image, &["verify".as_ref()], 9).says(&[said]);
        card.back_up(&image, &["--resume"]).expect(0);
        told(&image, &["verify".as_ref()], 0);
        restore(0);
        card.assert_nothing_left(&image);
    }
}

/// Catches: a stretch on which a dying card spends its last minutes while good data waits behind it, and one
/// whose image differs or leaves something behind.
#[test]
fn a_stretch_that_is_slow_is_read_last_and_nothing_is_lost() {
    let test = "a_stretch_that_is_slow_is_read_last_and_nothing_is_lost";
    let Some(card) = Failing::new(test) else {
        return;
    };
    // Behind enough of the sample card to know its speed by: a place in each of four requests in a row.
    for mib in [50, 53, 68, 76] {
        let mut used = card.used.iter().filter(|used| used.end() > mib << 20);
        let place = used.next().unwrap().start().max(mib << 20);
        card.disk.declare(Fault::Slow {
            extent: Extent::between(place, place + 512),
            delay: Duration::from_millis(1500),
        });
    }
    let image = card.path("card.img.zst");
    let answer = card.back_up(&image, &[]).expect(9);
    let answer = answer.says(&["has become slow here"]);
    assert_eq!(card.judge(&image, &answer), []);
    card.assert_nothing_left(&image);
}

/// A sector that reads differently each time is no read error, and no card to trust.
#[test]
fn sectors_that_read_differently_a_second_time_are_told() {
    let test = "sectors_that_read_differently_a_second_time_are_told";
    let Some(card) = Failing::new(test) else {
        return;
    };
    let image = card.path("card.img.zst");
    let medium = card.disk.medium();
    let before = medium.requests().len();
    let answer = card.back_up(&image, &["--verify", "card"]).expect(0).json();
    assert_eq!(answer["unstable"], serde_json::json!([]));
    let whole = (medium.requests().len() - before) as u64;
    // What is read last: the rot must be there before that.
    let last = card.used.iter().rfind(|extent| extent.len() >= 512);
    let start = last.unwrap().start();
    let place = Extent::between(start, start + 512);
    // The rot begins while the card is read a second time, once the image is there.
    let gate = medium.hold_after(whole * 3 / 4);
    let other = card.path("other.img.zst");
    let mut running = card.start(&other, &["--verify", "card"]);
    assert!(gate.wait(|| running.is_done()), "it ended early");
    assert!(other.exists());
    card.disk.declare(Fault::BitFlip {
        offset: place.start() + 7,
        mask: 4,
    });
    gate.open();
    let answer = running.wait();
    let answer = answer.expect(9).says(&["unstable"]);
    let unstable = crate::failing::places(&answer.json()["unstable"]);
    assert_eq!(unstable, [place]);
}
