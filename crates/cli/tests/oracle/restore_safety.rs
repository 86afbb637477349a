//! What must not be written, and who has to agree before anything is.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use cardkeep_testkit::{Likeness, Loop, Mount, Tool, skip, skip_unless_root, skip_unless_tools};

use crate::card::{Card, MIB, STALE_TARGET, Table, format_ext};
use crate::life;
use crate::original::{is_filled, restore};
use crate::program::cardkeep;

fn skipped(test: &str) -> bool {
    skip_unless_root(test) || skip_unless_tools(test, &["mke2fs", "sfdisk", "addpart"])
}

/// A small card to be restored.
fn small() -> Card {
    let card = Card::new(Table::Mbr, &[8]);
    format_ext(card.partition(0).path(), &["-t", "ext4"]);
    card
}

fn bytes(card: &Card) -> Vec<u8> {
    std::fs::read(card.file()).unwrap()
}

/// Asserts that a card holds what the small one holds.
fn assert_restored(card: &Card, target: &Card) {
    let (one, two) = (bytes(card), bytes(target));
    assert!(one[..MIB as usize] == two[..MIB as usize]);
    let partition = card.partitions()[0];
    let (one, two) = (
        card.partition(0),
        Loop::attach_extent(&target.file(), partition),
    );
    life::assert_ext_is_clean(two.path());
    life::assert_same_files(&one, &two, "ro", Likeness::Inodes);
}

/// Returns a card with an ext4, larger than the small one.
fn in_use() -> Card {
    let card = Card::new(Table::Mbr, &[24]);
    format_ext(card.partition(0).path(), &["-t", "ext4"]);
    card
}

/// Catches: a guard that looks at the device's mounts but not at those of its partitions, and an
/// image that is wiped together with the card it lies on.
#[test]
fn a_card_that_holds_the_image_or_is_mounted_is_refused() {
    let test = "a_card_that_holds_the_image_or_is_mounted_is_refused";
    if skipped(test) {
        return;
    }
    let (card, target) = (small(), in_use());
    let (device, part) = Loop::with_partition(&target.file(), target.partitions()[0]);
    // Where cards are mounted by themselves: that alone is no reason to refuse.
    for parent in [std::env::temp_dir(), "/mnt".into()] {
        let mount = Mount::below(&parent, &part, "noatime").unwrap();
        let image = mount.path().join("card.img");
        std::fs::copy(card.file(), &image).unwrap();
        let answer = restore(&image, device.path(), &[]).expect(3);
        let lies_on_it = answer.stderr.contains("lies on it");
        assert_eq!(lies_on_it, parent == Path::new("/mnt"), "{answer:?}");
        let still = std::fs::read(&image).unwrap() == bytes(&card);
        assert!(still, "the image has changed");
    }
    let mount = Mount::new(&part, "noatime").unwrap();
    let answer = restore(&card.file(), device.path(), &[]).expect(3);
    assert!(answer.stderr.contains("mounted at"), "{answer:?}");
    drop(mount);
}

/// Where cards are mounted by themselves they are unmounted and written.
#[test]
fn a_card_that_the_desktop_mounted_is_unmounted_and_written() {
    let test = "a_card_that_the_desktop_mounted_is_unmounted_and_written";
    if skipped(test) {
        return;
    }
    let (card, target) = (small(), in_use());
    let (device, part) = Loop::with_partition(&target.file(), target.partitions()[0]);
    let mount = Mount::below(Path::new("/mnt"), &part, "noatime").unwrap();
    restore(&card.file(), device.path(), &[]).expect(0);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(
        !mounts.contains(part.to_str().unwrap()),
        "it is still mounted"
    );
    drop((mount, device));
    assert_restored(&card, &target);
}

/// Catches: a partition written as if it were the card.
#[test]
fn a_partition_is_not_a_card() {
    let test = "a_partition_is_not_a_card";
    if skipped(test) {
        return;
    }
    let (card, target) = (small(), in_use());
    let before = bytes(&target);
    {
        let (_device, part) = Loop::with_partition(&target.file(), target.partitions()[0]);
        let answer = restore(&card.file(), &part, &[]).expect(2);
        assert!(answer.stderr.contains("partition 1"), "{answer:?}");
    }
    assert!(bytes(&target) == before, "it was written");
}

#[test]
fn a_card_that_the_system_swaps_to_is_refused() {
    let test = "a_card_that_the_system_swaps_to_is_refused";
    if skipped(test) || skip_unless_tools(test, &["mkswap", "swapon", "swapoff"]) {
        return;
    }
    let (card, target) = (small(), Card::stale(24 * MIB, 0, Vec::new()));
    let device = target.device();
    Tool::new("mkswap").arg("-q").arg(device.path()).run();
    let (code, said) = Tool::new("swapon").arg(device.path()).outcome();
    if code != Some(0) {
        return skip(test, &format!("a system that swaps: {said}"));
    }
    let answer = restore(&card.file(), device.path(), &[]);
    Tool::new("swapoff").arg(device.path()).run();
    assert!(answer.expect(3).stderr.contains("swaps to"));
}

/// Catches: a card written that is not the one meant, or that nobody agreed to.
#[test]
fn nothing_is_written_without_consent() {
    let test = "nothing_is_written_without_consent";
    if skipped(test) {
        return;
    }
    let (card, target) = (small(), Card::stale(16 * MIB, STALE_TARGET, Vec::new()));
    let device = target.device();
    let answer = restore(&card.file(), device.path(), &["--expect-serial", "0123"]).expect(3);
    assert!(answer.stderr.contains("0123"), "{answer:?}");
    let image = card.file();
    let unasked = ["restore".as_ref(), image.as_path(), device.path()];
    let answer = cardkeep(unasked).expect(3);
    assert!(answer.stderr.contains("--yes"), "{answer:?}");
    let unnamed = ["restore".as_ref(), image.as_path(), "--yes".as_ref()];
    cardkeep(unnamed).expect(2);
    restore(&card.file(), device.path(), &["--dry-run"]).expect(0);
    assert_eq!(device.bytes_written().unwrap(), 0);
    drop(device);
    assert!(is_filled(&bytes(&target), STALE_TARGET), "it was written");
}

/// Runs a restore on a terminal of its own, where somebody types `answer`.
fn typed(card: &Card, target: &Path, answer: &str) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_cardkeep");
    let command = format!(
        "{program} restore --no-expand {} {}",
        card.file().display(),
        target.display()
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = format!("{answer}\n");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said)
}

/// Catches: a `y` that is typed without reading taken for consent.
#[test]
fn a_card_is_written_when_its_name_is_typed_and_not_else() {
    let test = "a_card_is_written_when_its_name_is_typed_and_not_else";
    if skipped(test) || skip_unless_tools(test, &["script"]) {
        return;
    }
    let (card, target) = (small(), Card::stale(16 * MIB, STALE_TARGET, Vec::new()));
    let device = target.device();
    for answer in ["y", "yes", "", "loop", "16"] {
        let (code, said) = typed(&card, device.path(), answer);
        assert_eq!(code, Some(3), "`{answer}` was typed:\n{said}");
        assert!(said.contains("will be lost"), "nobody was asked:\n{said}");
    }
    assert_eq!(device.bytes_written().unwrap(), 0);
    let name = device.path().file_name().unwrap().to_str().unwrap();
    let (code, said) = typed(&card, device.path(), name);
    assert_eq!(code, Some(0), "{said}");
    drop(device);
    assert_restored(&card, &target);
}

/// Files stand in for cards, and links for what they lead to.
///
/// Catches: an image truncated or overwritten by itself under another name.
#[test]
fn a_file_is_a_card_unless_it_is_the_image() {
    let test = "a_file_is_a_card_unless_it_is_the_image";
    if skipped(test) {
        return;
    }
    let (card, target) = (small(), Card::stale(16 * MIB, STALE_TARGET, Vec::new()));
    let before = bytes(&card);
    let (soft, hard) = (card.beside("soft"), card.beside("hard"));
    symlink(card.file(), &soft).unwrap();
    std::fs::hard_link(card.file(), &hard).unwrap();
    for same in [card.file(), soft, hard] {
        restore(&card.file(), &same, &[]).expect(3);
        restore(&same, &card.file(), &[]).expect(3);
    }
    assert!(bytes(&card) == before, "the image was written to");
    restore(&card.file(), &target.file(), &[]).expect(0);
    assert_eq!(bytes(&target).len(), 16 << 20, "it has another size now");
    assert_restored(&card, &target);
    let device = target.device();
    // What serves as a device is not written behind its back.
    restore(&card.file(), &target.file(), &[]).expect(3);
    let link = card.beside("link");
    symlink(device.path(), &link).unwrap();
    restore(&card.file(), &link, &["--delta"]).expect(0);
    let answer = restore(device.path(), &link, &[]).expect(3);
    assert!(answer.stderr.contains("it is being read"), "{answer:?}");
}
