//! Cards with several partitions, as a Raspberry Pi has them, and what lies between.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cardkeep_testkit::{Likeness, Loop, Mount, Tool, skip, skip_unless_root, skip_unless_tools};

use crate::card::{Card, MIB, Table, format_ext};
use crate::fat;
use crate::image::{State, back_up};
use crate::life;
use crate::program::cardkeep;

const TOOLS: [&str; 4] = ["mke2fs", "e2fsck", "mkswap", "sgdisk"];

fn skipped(test: &str) -> bool {
    skip_unless_root(test)
        || skip_unless_tools(test, &TOOLS)
        || skip_unless_tools(test, &fat::TOOLS)
}

/// Makes boot (FAT), root (ext4), swap, and one partition of which nothing is known.
fn pi_card(table: Table) -> Card {
    let card = Card::new(table, &[48, 96, 16, 4]);
    fat::format(&card, 0, &["-F", "16"]);
    let device = card.partition(1);
    format_ext(device.path(), &["-t", "ext4", "-O", "^64bit,^huge_file"]);
    life::age(device.path(), "noatime", 2, 400);
    Tool::new("mkswap")
        .args(["-q"])
        .arg(card.partition(2).path())
        .run();
    card
}

/// Catches: partitions found at the wrong place, a table or the gap before the first partition
/// not copied, an unknown partition taken for free, and swap's header lost.
fn check(table: Table) {
    let card = pi_card(table);
    card.write(700 * 1024, b"a boot loader of another board");
    let image = back_up(&card, &[], 0);
    let partitions = card.partitions();
    let used = |index: usize| image.bytes_in(State::Used, partitions[index]);
    assert!(used(2) < MIB, "swap takes {} bytes", used(2));
    assert_eq!(used(3), 4 * MIB, "an unknown partition is used");
    assert!(used(0) + used(1) < 90 * MIB, "free blocks are copied");
    let copy = image.rebuilt(&card);
    let dump = |card: &Card| {
        let said = Tool::new("sfdisk").arg("--dump").arg(card.file()).run();
        said.replace(&card.file().display().to_string(), "card")
    };
    assert_eq!(dump(&card), dump(&copy));
    let read = |card: &Card| std::fs::read(card.file()).unwrap();
    let (one, two) = (read(&card), read(&copy));
    assert_eq!(
        one[..MIB as usize],
        two[..MIB as usize],
        "the area before the first partition"
    );
    if table == Table::Gpt {
        Tool::new("sgdisk").arg("--verify").arg(copy.file()).run();
        assert_eq!(
            one[one.len() - 33 * 512..],
            two[two.len() - 33 * 512..],
            "the backup table"
        );
    }
    let at = |index: usize| {
        let extent = partitions[index];
        extent.start() as usize..extent.end() as usize
    };
    assert_eq!(one[at(3)], two[at(3)], "the unknown partition");
    let swap = at(2).start..at(2).start + 4096;
    assert_eq!(one[swap.clone()], two[swap], "the swap header");
    fat::assert_same_files(&card, &copy, 0);
    fat::free_bytes(copy.partition(0).path());
    let (one, two) = (card.partition(1), copy.partition(1));
    life::assert_same_files(&one, &two, "ro", Likeness::Inodes);
    life::assert_ext_is_clean(copy.partition(1).path());
}

#[test]
fn a_card_with_an_mbr_comes_back() {
    if !skipped("a_card_with_an_mbr_comes_back") {
        check(Table::Mbr);
    }
}

#[test]
fn a_card_with_logical_partitions_comes_back() {
    if !skipped("a_card_with_logical_partitions_comes_back") {
        check(Table::MbrLogical);
    }
}

#[test]
fn a_card_with_a_gpt_comes_back() {
    if !skipped("a_card_with_a_gpt_comes_back") {
        check(Table::Gpt);
    }
}

/// `zstd` alone restores a bootable card: used bytes are right, everything else reads as zero.
///
/// Catches: frames out of order, a frame left out, stale bytes of a reused buffer.
#[test]
fn plain_zstd_restores_the_image() {
    if skipped("plain_zstd_restores_the_image") {
        return;
    }
    let card = pi_card(Table::Mbr);
    let image = back_up(&card, &[], 0);
    let raw = std::fs::read(image.decompressed()).unwrap();
    let original = std::fs::read(card.file()).unwrap();
    assert_eq!(raw.len(), original.len());
    for (state, extent) in &image.runs {
        let range = extent.start() as usize..extent.end() as usize;
        match state {
            State::Used => assert!(raw[range.clone()] == original[range], "{extent}"),
            State::Zero | State::Free => {
                assert!(
                    raw[range].iter().all(|&byte| byte == 0),
                    "{extent} is not zero"
                );
            }
        }
    }
}

/// `--everything` keeps each byte, stale ones too.
#[test]
fn everything_is_everything() {
    if skipped("everything_is_everything") {
        return;
    }
    let card = pi_card(Table::Mbr);
    let image = back_up(&card, &["--everything"], 0);
    let raw = std::fs::read(image.decompressed()).unwrap();
    assert!(
        raw == std::fs::read(card.file()).unwrap(),
        "the image differs from the card"
    );
}

/// The same card and options give the same bytes.
#[test]
fn two_backups_of_one_card_are_equal() {
    if skipped("two_backups_of_one_card_are_equal") {
        return;
    }
    let card = pi_card(Table::Gpt);
    let read = |options: &[&str]| std::fs::read(back_up(&card, options, 0).path).unwrap();
    let first = read(&[]);
    assert!(first == read(&["--force"]), "the images differ");
}

/// `verify` believes a whole image and finds a flipped bit anywhere in it.
///
/// Catches: a verification that looks at lengths or at the frames' headers alone.
#[test]
fn verify_finds_a_flipped_bit() {
    if skipped("verify_finds_a_flipped_bit") {
        return;
    }
    let card = pi_card(Table::Mbr);
    let image = back_up(&card, &[], 0);
    let verify = || cardkeep(["verify".as_ref(), image.path.as_os_str()]);
    verify().expect(0);
    let whole = std::fs::read(&image.path).unwrap();
    for place in [
        whole.len() / 7,
        whole.len() / 2,
        whole.len() - whole.len() / 9,
    ] {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        std::fs::write(&image.path, bytes).unwrap();
        let code = verify().code;
        assert!(
            [6, 7].contains(&code),
            "byte {place} of {} flipped: {code}",
            whole.len()
        );
    }
    std::fs::write(&image.path, &whole[..whole.len() / 2]).unwrap();
    assert!([6, 7].contains(&verify().code), "half an image passes");
}

/// `verify --against` compares the image with the card it came from.
#[test]
fn verify_against_the_card_finds_a_changed_byte() {
    if skipped("verify_against_the_card_finds_a_changed_byte") {
        return;
    }
    let card = pi_card(Table::Mbr);
    let image = back_up(&card, &[], 0);
    let verify = || {
        let device = card.device();
        let path = |path: &std::path::Path| path.as_os_str().to_owned();
        cardkeep([
            "verify".into(),
            path(&image.path),
            "--against".into(),
            path(device.path()),
        ])
    };
    verify().expect(0);
    // Within the unknown partition, so that it is certainly used.
    card.write(card.partitions()[3].start() + 12_345, b"!");
    verify().expect(6);
}

/// A card in use is refused, and nothing is left behind.
#[test]
fn a_mounted_card_is_refused() {
    if skipped("a_mounted_card_is_refused") {
        return;
    }
    let card = Card::new(Table::Mbr, &[32]);
    let device = card.partition(0);
    format_ext(device.path(), &["-t", "ext4"]);
    let mount = Mount::new(device.path(), "noatime").unwrap();
    let image = card.beside("refused.img.zst");
    let answer = cardkeep([
        "backup".as_ref(),
        device.path().as_os_str(),
        image.as_os_str(),
    ]);
    drop(mount);
    assert!([3, 4].contains(&answer.code), "{answer:?}");
    assert!(!image.exists());
}

/// A backup that is stopped says so and leaves nothing that looks like an image.
///
/// Catches: a signal that ends the program before it can clean up, and an image that has its
/// final name before it is whole.
#[test]
fn a_stopped_backup_leaves_no_image() {
    let test = "a_stopped_backup_leaves_no_image";
    if skipped(test) {
        return;
    }
    let card = Card::new(Table::Mbr, &[96]);
    let Ok(device) = Loop::throttled(&card.file(), 8) else {
        return skip(test, "the blkio cgroup, version 1");
    };
    let image = card.beside("stopped.img.zst");
    let mut child = Command::new(env!("CARGO_BIN_EXE_cardkeep"))
        .args(["backup", "--quiet", "--everything"])
        .args([device.path(), &image])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(child.try_wait().unwrap(), None, "it should be busy");
    Tool::new("kill")
        .args(["-INT", &child.id().to_string()])
        .run();
    let stopped = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(8));
    assert!(
        stopped.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        stopped.elapsed()
    );
    assert!(!image.exists());
}
