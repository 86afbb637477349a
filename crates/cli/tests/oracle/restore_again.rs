//! Cards that hold something already, cards made from cards, and several cards at once.

use cardkeep_testkit::{Loop, Mount};
use serde_json::Value;

use crate::card::{Card, MIB, Table};
use crate::life;
use crate::original::{Original, Rest, is_filled, restore, skipped, write};
use crate::program::cardkeep;

/// Returns a number of the answer about the first card.
fn number(answer: &Value, name: &str) -> u64 {
    answer["targets"][0][name].as_u64().unwrap()
}

/// What matters is right, whatever lies in between.
fn judge_filled(original: &Original, target: &Card) {
    let found = std::fs::read(target.file()).unwrap();
    original.judge_filled(&found, Rest::LeftAlone);
    original.judge_table(target);
    original.judge_files(target);
}

/// Catches: a difference that is not seen, one that is seen where there is none, zeros taken for
/// nothing to compare, and a card that is wiped although it is right already.
#[test]
fn a_used_card_becomes_the_original_again_by_writing_little() {
    let test = "a_used_card_becomes_the_original_again_by_writing_little";
    if skipped(test) {
        return;
    }
    for table in [Table::Mbr, Table::Gpt] {
        let original = Original::pi(table);
        let image = original.card.beside("image.img.zst");
        let source = original.card.device();
        cardkeep(["backup".as_ref(), source.path(), &image]).expect(0);
        let target = original.target(original.len() + 5 * MIB);
        restore(&image, target.device().path(), &[]).expect(0);
        life::age(target.partition(1).path(), "noatime", 77, 60);
        let device = target.device();
        let done = restore(&image, device.path(), &["--delta"]).expect(0);
        let (filled, written) = (
            number(&done.json(), "filled_bytes"),
            number(&done.json(), "written_bytes"),
        );
        assert!(written > 0 && written < filled / 2, "{written} of {filled}");
        drop(device);
        judge_filled(&original, &target);
        let device = target.device();
        // Asking the card for its size writes to it, whatever is restored.
        let options = ["--delta", "--no-probe"];
        let done = restore(&image, device.path(), &options).expect(0);
        assert_eq!(number(&done.json(), "written_bytes"), 0);
        assert_eq!(number(&done.json(), "found_bytes"), filled);
        assert_eq!(device.bytes_written().unwrap(), 0, "the card is the same");
    }
}

/// Catches: anything of the other card that survives where it matters.
#[test]
fn a_wholly_different_card_becomes_the_original() {
    let test = "a_wholly_different_card_becomes_the_original";
    if skipped(test) {
        return;
    }
    let (original, other) = (Original::pi(Table::Mbr), Original::pi(Table::Gpt));
    for option in ["--delta", "--resume"] {
        let target = other.card.copy();
        restore(&original.card.file(), target.device().path(), &[option]).expect(0);
        judge_filled(&original, &target);
    }
}

/// Catches: what a restore from an image catches, for cards that are read as they are.
#[test]
fn a_clone_is_the_card() {
    if skipped("a_clone_is_the_card") {
        return;
    }
    for table in [Table::Mbr, Table::Gpt] {
        let original = Original::pi(table);
        let source = original.card.device();
        let target = original.target(original.len() + 5 * MIB);
        let device = target.device();
        write("clone", source.path(), device.path(), &[]).expect(0);
        drop(device);
        original.judge(&target, Rest::LeftAlone);
        let device = target.device();
        let done = write("clone", source.path(), device.path(), &["--delta"]).expect(0);
        assert_eq!(number(&done.json(), "written_bytes"), 0);
        assert_eq!(source.bytes_written().unwrap(), 0, "the source was written");
    }
}

#[test]
fn a_card_is_not_cloned_onto_itself_nor_while_it_is_in_use() {
    let test = "a_card_is_not_cloned_onto_itself_nor_while_it_is_in_use";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let (source, part) = Loop::with_partition(&original.card.file(), original.card.partitions()[1]);
    write("clone", source.path(), source.path(), &[]).expect(3);
    let target = original.target(original.len());
    assert_eq!(source.bytes_written().unwrap(), 0);
    let mount = Mount::new(&part, "noatime").unwrap();
    write("clone", source.path(), target.device().path(), &[]).expect(3);
    drop(mount);
    let found = std::fs::read(target.file()).unwrap();
    assert!(is_filled(&found, 0xA5), "the target was written");
}

/// Catches: cards of several sizes that get the same backup of a partition table, a frame that one
/// of them misses, and results that are mixed up.
#[test]
fn several_cards_are_each_as_if_alone() {
    if skipped("several_cards_are_each_as_if_alone") {
        return;
    }
    for table in [Table::Mbr, Table::Gpt] {
        let original = Original::pi(table);
        let len = original.len();
        let targets = [len, len + 3 * MIB, len + 8 * MIB].map(|len| original.target(len));
        let devices = targets.each_ref().map(Card::device);
        let paths = devices
            .each_ref()
            .map(|device| device.path().to_str().unwrap());
        let options = ["--to", paths[1], "--to", paths[2]];
        let done = restore(&original.card.file(), devices[0].path(), &options).expect(0);
        let done = done.json();
        for (place, path) in paths.iter().enumerate() {
            assert_eq!(done["targets"][place]["path"], *path);
            assert_eq!(done["targets"][place]["verified"], true);
        }
        drop(devices);
        for target in &targets {
            original.judge(target, Rest::LeftAlone);
        }
    }
}

/// Catches: a card that is written before the others were looked at.
#[test]
fn one_guarded_card_among_several_keeps_all_from_being_written() {
    let test = "one_guarded_card_among_several_keeps_all_from_being_written";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let (free, guarded) = (original.target(original.len()), original.card.copy());
    let (device, part) = Loop::with_partition(&guarded.file(), guarded.partitions()[1]);
    let mount = Mount::new(&part, "ro").unwrap();
    let options = ["--to", device.path().to_str().unwrap()];
    let answer = restore(&original.card.file(), free.device().path(), &options).expect(3);
    assert!(answer.stderr.contains("mounted at"), "{answer:?}");
    drop(mount);
    drop(device);
    let found = std::fs::read(free.file()).unwrap();
    assert!(is_filled(&found, 0xA5), "the free card was written");
    let bytes = |card: &Card| std::fs::read(card.file()).unwrap();
    assert!(bytes(&guarded) == bytes(&original.card));
}
