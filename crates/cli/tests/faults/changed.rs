//! Cards that are not what they were when a backup was interrupted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cardkeep_block::{Extent, WriteAt};
use cardkeep_testkit::{Loop, Mount, Random, Tool, is_big_matrix, skip_unless_tools};
use rustix::process::Signal;
use serde_json::Value;

use crate::failing::Failing;
use crate::matrix::blow::slow_down;
use crate::matrix::outcome::unpacked;
use crate::program::{Answer, cardkeep};

const SEED: u64 = 0x5eed_0f09;

/// What is done to a card meanwhile.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// A file of the boot partition is edited, and gets not a byte longer.
    FileEdited,
    /// A file is put into the partition of this number.
    FilePut(usize),
    /// A filesystem is mounted, and nothing is done.
    Mounted(usize),
    /// Another card of that size is put in.
    OtherCard,
}

const USES: [Use; 5] = [
    Use::FileEdited,
    Use::FilePut(0),
    Use::FilePut(1),
    Use::Mounted(1),
    Use::OtherCard,
];

/// Returns where the partitions lie.
fn partitions(card: &Failing) -> Vec<Extent> {
    let words = ["info".as_ref(), card.disk.path(), "--json".as_ref()];
    let info = cardkeep::<&Path>(words).expect(0).json();
    let list = info["contents"]["partitions"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    list.iter()
        .map(|part| {
            let start = number(&part["start"]);
            Extent::between(start, start + number(&part["len"]))
        })
        .collect()
}

/// Uses a card as its owner would.
fn change(card: &Failing, partitions: &[Extent], what: Use) {
    match what {
        Use::FileEdited => {
            let list = mtool("mdir", card, partitions[0], &["-b", "::"]);
            let name = list
                .lines()
                .find(|name| name.contains('.'))
                .expect("a file");
            let file = card.path("edited");
            let path = [name, file.to_str().unwrap()];
            mtool("mcopy", card, partitions[0], &path);
            let mut bytes = fs::read(&file).unwrap();
            bytes[0] ^= 1;
            fs::write(&file, bytes).unwrap();
            mtool("mcopy", card, partitions[0], &["-o", path[1], path[0]]);
        }
        Use::FilePut(0) => {
            let file = card.path("new");
            fs::write(&file, [7; 30_000]).unwrap();
            mtool(
                "mcopy",
                card,
                partitions[0],
                &[file.to_str().unwrap(), "::"],
            );
        }
        Use::FilePut(index) => {
            let (mount, _device) = mounted(card, partitions[index]);
            fs::write(mount.path().join("NEW"), [7; 30_000]).unwrap();
        }
        Use::Mounted(index) => drop(mounted(card, partitions[index])),
        Use::OtherCard => {
            let inner = card.disk.medium().inner();
            // Its own id in the partition table, and other files.
            inner.write_at(0x1B8, &[9, 9, 9, 9]).unwrap();
            let place = card.used_place(4, 4096);
            inner.write_at(place.start(), &[5; 4096]).unwrap();
        }
    }
}

fn mounted(card: &Failing, partition: Extent) -> (Mount, Loop) {
    let device = Loop::attach_extent(card.disk.path(), partition);
    let mount = Mount::new(device.path(), "rw").unwrap();
    (mount, device)
}

/// Runs one of the mtools on a FAT partition of the card.
fn mtool(name: &str, card: &Failing, partition: Extent, arguments: &[&str]) -> String {
    let place = format!("{}@@{}", card.disk.path().display(), partition.start());
    Tool::new(name).args(["-i", &place]).args(arguments).run()
}

/// Interrupts a backup somewhere, changes the card, and goes on.
fn run(name: &str, what: Use, random: &mut Random) -> Option<Answer> {
    let card = Failing::new("a_card_that_was_changed_is_refused_or_copied_as_it_is")?;
    let partitions = partitions(&card);
    let image = card.path(name);
    slow_down(&card);
    let partial = format!("{}.partial", image.display());
    let mut running = card.start(&image, &[]);
    while !Path::new(&partial).exists() && !running.is_done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(random.below(250)));
    running.signal(Signal::KILL);
    if running.wait().code == 0 {
        return None;
    }
    card.disk.heal();
    change(&card, &partitions, what);
    let answer = card.back_up(&image, &["--resume"]);
    if answer.code == 3 {
        let answer = answer.says(&["changed since the backup was interrupted"]);
        assert!(!image.exists(), "{answer:?}");
        card.back_up(&image, &["--force"]).expect(0);
        return Some(answer);
    }
    let answer = answer.expect(0);
    assert_as_it_is(&card, &image, what);
    Some(answer)
}

/// Asserts that an image holds what an image made anew does.
fn assert_as_it_is(card: &Failing, image: &Path, what: Use) {
    let anew = card.path("anew.img");
    card.back_up(&anew, &[]).expect(0);
    let (found, expected) = (unpacked(image), fs::read(&anew).unwrap());
    let wrong = (0..expected.len()).find(|&at| found[at] != expected[at]);
    assert_eq!(wrong, None, "two states of a card in one image: {what:?}");
}

/// Catches: two states of a card in one image.
#[test]
fn a_card_that_was_changed_is_refused_or_copied_as_it_is() {
    let test = "a_card_that_was_changed_is_refused_or_copied_as_it_is";
    if skip_unless_tools(test, &["mount", "mcopy", "mdir"]) {
        return;
    }
    let mut random = Random::new(SEED);
    let rounds = if is_big_matrix() { 2 } else { 1 };
    for name in ["card.img.zst", "card.img"] {
        for what in USES {
            for _ in 0..rounds {
                run(name, what, &mut random);
            }
        }
    }
}
