//! Cards smaller than the original, and cards with other sectors.

use std::fs::File;
use std::path::PathBuf;

use cardkeep_block::Extent;
use cardkeep_testkit::{Likeness, Loop, SectorSize, Tool};

use crate::card::{Card, MIB, STALE_TARGET, Table, format_ext};
use crate::fat;
use crate::life;
use crate::original::{Original, Rest, is_filled, restore, skipped, write};
use crate::program::{Answer, cardkeep, cardkeep_reading};

/// Restores onto a card of `len` bytes.
fn onto(original: &Original, len: u64) -> (Card, Answer) {
    let target = original.target(len);
    let device = target.device();
    let answer = restore(&original.card.file(), device.path(), &[]);
    drop(device);
    (target, answer)
}

/// Asserts that nothing was written to a target.
fn assert_untouched(target: &Card) {
    let found = std::fs::read(target.file()).unwrap();
    assert!(is_filled(&found, STALE_TARGET), "the card was written to");
}

/// Catches: a partition table that names sectors which the card lacks, a backup GPT that is not at
/// its end, a partition with another identity, and a filesystem cut off.
fn check_smaller(test: &str, table: Table) {
    if skipped(test) {
        return;
    }
    let original = Original::with_slack(table);
    // Nothing but the gap behind the last partition is cut; or its slack too.
    for len in [original.len() - 2 * MIB, original.len() - 7 * MIB + 512] {
        let (target, answer) = onto(&original, len);
        answer.expect(0);
        original.judge(&target, Rest::LeftAlone);
    }
}

#[test]
fn a_card_with_an_mbr_fits_a_smaller_one() {
    check_smaller("a_card_with_an_mbr_fits_a_smaller_one", Table::Mbr);
}

#[test]
fn a_card_with_a_gpt_fits_a_smaller_one() {
    check_smaller("a_card_with_a_gpt_fits_a_smaller_one", Table::Gpt);
}

/// Catches: a number taken from the first partition that does not fit instead of the last, and a
/// card that was wiped before it was found too small.
#[test]
fn a_filesystem_that_does_not_fit_is_refused_with_what_is_missing() {
    let test = "a_filesystem_that_does_not_fit_is_refused_with_what_is_missing";
    if skipped(test) {
        return;
    }
    for (table, gpt_bytes) in [(Table::Mbr, 0), (Table::Gpt, 33 * 512)] {
        // Neither is ext: none can be made smaller.
        let card = Card::new(table, &[40, 48]);
        fat::format(&card, 0, &["-F", "32", "-s", "1"]);
        fat::format(&card, 1, &["-F", "32", "-s", "1"]);
        let end = card.partitions()[1].end();
        for len in [80 * MIB, 30 * MIB, 3 * MIB] {
            let target = Card::stale(len, STALE_TARGET, Vec::new());
            let device = target.device();
            let answer = restore(&card.file(), device.path(), &[]);
            drop(device);
            let said = answer.expect(3).stderr;
            let missing = end + gpt_bytes - len;
            let expected = format!("the card is {missing} bytes too small");
            assert!(said.contains(&expected), "not {expected}:\n{said}");
            assert_untouched(&target);
        }
    }
}

/// What comes through a pipe is never left half on a card as if it were whole.
///
/// Catches: zeros behind the card's end taken for nothing, although a filesystem ends there.
#[test]
fn a_pipe_that_does_not_fit_is_refused_before_the_card_is_touched() {
    let test = "a_pipe_that_does_not_fit_is_refused_before_the_card_is_touched";
    if skipped(test) {
        return;
    }
    let card = Card::new(Table::Mbr, &[40]);
    format_ext(card.partition(0).path(), &["-t", "ext4"]);
    card.write(41 * MIB, &[0; 3 * MIB as usize]);
    let image = card.beside("whole.img");
    let device = card.device();
    let arguments = ["backup".as_ref(), device.path(), &image, "--quiet".as_ref()];
    cardkeep(arguments).expect(0);
    drop(device);
    let target = Card::stale(39 * MIB, STALE_TARGET, Vec::new());
    let cut = std::fs::read(&image).unwrap().split_off(39 << 20);
    assert!(is_filled(&cut, 0), "what is cut off shows that it is");
    let device = target.device();
    let arguments: Vec<PathBuf> = vec!["restore".into(), "-".into(), device.path().into()];
    let arguments = arguments.into_iter().chain(["--yes".into()]);
    let stdin = File::open(&image).unwrap().into();
    cardkeep_reading(stdin, arguments).expect(3);
    drop(device);
    let found = std::fs::read(target.file()).unwrap();
    assert!(is_filled(&found, STALE_TARGET), "it was written");
}

/// Makes a card with sectors of 4096 bytes: FAT and ext4 as large as `partitions` says.
fn card_of_large_sectors() -> Card {
    let partitions = vec![
        Extent::between(MIB, 41 * MIB),
        Extent::between(41 * MIB, 73 * MIB),
    ];
    let card = Card::stale(76 * MIB, 0x5A, partitions);
    {
        let device = Loop::with_sectors(&card.file(), SectorSize::Bytes4096);
        let script =
            "label: dos\nlabel-id: 0x5049424b\nstart=256, size=10240\nstart=10496, size=8192\n";
        Tool::new("sfdisk")
            .args(["--quiet", "--no-reread", "--wipe", "never"])
            .arg(device.path())
            .run_with(script);
    }
    Tool::new("mkfs.vfat")
        .args(["-S", "4096", "-F", "16", "-s", "1"])
        .arg(card.partition(0).path())
        .run();
    {
        let device = card.partition(1);
        format_ext(device.path(), &["-t", "ext4", "-b", "4096"]);
        life::age(device.path(), "noatime", 1, 200);
    }
    card
}

/// Catches: requests that are not aligned to the card's sectors, and sectors counted as 512 bytes.
#[test]
fn a_card_with_sectors_of_4096_bytes_comes_back_on_its_kind_only() {
    let test = "a_card_with_sectors_of_4096_bytes_comes_back_on_its_kind_only";
    if skipped(test) {
        return;
    }
    let card = card_of_large_sectors();
    let image = card.beside("large.img.zst");
    let of_large = Loop::with_sectors(&card.file(), SectorSize::Bytes4096);
    cardkeep(["backup".as_ref(), of_large.path(), &image]).expect(0);
    for command in ["restore", "clone"] {
        let target = Card::stale(80 * MIB, STALE_TARGET, card.partitions().to_vec());
        let device = Loop::with_sectors(&target.file(), SectorSize::Bytes4096);
        let from = if command == "clone" {
            of_large.path()
        } else {
            &image
        };
        write(command, from, device.path(), &[]).expect(0);
        drop(device);
        fat::free_bytes(target.partition(0).path());
        life::assert_ext_is_clean(target.partition(1).path());
        let (one, two) = (card.partition(1), target.partition(1));
        life::assert_same_files(&one, &two, "ro", Likeness::Inodes);
        let found = std::fs::read(target.file()).unwrap();
        let left = found.iter().filter(|&&byte| byte == STALE_TARGET).count();
        assert!(left > 20 << 20, "only {left} bytes were left alone");
    }
    let target = Card::stale(80 * MIB, STALE_TARGET, Vec::new());
    let answer = restore(&image, target.device().path(), &[]).expect(3);
    assert!(answer.stderr.contains("sectors of 4096"), "{answer:?}");
    assert_untouched(&target);
}

#[test]
fn an_image_with_sectors_of_512_bytes_is_refused_by_a_card_with_larger_ones() {
    let test = "an_image_with_sectors_of_512_bytes_is_refused_by_a_card_with_larger_ones";
    if skipped(test) {
        return;
    }
    let card = Card::new(Table::Mbr, &[8]);
    let target = Card::stale(16 * MIB, STALE_TARGET, Vec::new());
    {
        let device = Loop::with_sectors(&target.file(), SectorSize::Bytes4096);
        let answer = restore(&card.file(), device.path(), &[]).expect(3);
        assert!(answer.stderr.contains("sectors of 512"), "{answer:?}");
    }
    assert_untouched(&target);
}
