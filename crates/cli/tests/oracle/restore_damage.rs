//! Images that were cut off or changed after they were made.

use std::path::{Path, PathBuf};
use std::process::Command;

use cardkeep_testkit::{Random, Tool, tool};

use crate::card::{Card, MIB, STALE_TARGET, Table, format_ext};
use crate::original::{is_filled, restore, skipped};
use crate::program::cardkeep;

/// What is left of the target when the image turns out to be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// All of it: the image was read to its end first.
    Untouched,
    /// Nothing that could boot.
    NotBootable,
}

/// Makes a card that begins with what can't be compressed: in a run of equal bytes, a changed bit
/// may mean the same.
fn card() -> Card {
    let card = Card::new(Table::Mbr, &[16]);
    let options = ["-t", "ext4", "-d", "/usr/share/doc/bash"];
    format_ext(card.partition(0).path(), &options);
    let mut noise = vec![0; 256 * 1024];
    Random::new(3).fill(&mut noise);
    card.write(512, &noise);
    card
}

/// Packs a card with a program that writes to stdout, or into a zip archive.
fn packed(card: &Card, program: &str, options: &[&str]) -> Option<PathBuf> {
    let image = card.beside(program);
    let found = tool(program)?;
    if program == "zip" {
        let words = ["-q", "-1", "-j"];
        let image = card.beside("card.zip");
        Tool::new("zip")
            .args(words)
            .arg(&image)
            .arg(card.file())
            .run();
        return Some(image);
    }
    let status = Command::new(found)
        .args(options)
        .stdin(std::fs::File::open(card.file()).unwrap())
        .stdout(std::fs::File::create(&image).unwrap())
        .status();
    assert!(status.unwrap().success(), "{program} {options:?}");
    Some(image)
}

/// Restores a damaged image onto a stale card, and looks at what became of that.
fn judge(image: &Path, left: Left, case: &str) {
    let target = Card::stale(24 * MIB, STALE_TARGET, Vec::new());
    {
        let device = target.device();
        let answer = restore(image, device.path(), &[]);
        assert!([6, 7].contains(&answer.code), "{case}: {answer:?}");
    }
    let found = std::fs::read(target.file()).unwrap();
    let is_untouched = is_filled(&found, STALE_TARGET);
    match left {
        Left::Untouched => assert!(is_untouched, "{case}: the card was written to"),
        Left::NotBootable => assert!(
            is_untouched || is_filled(&found[..MIB as usize], 0),
            "{case}: the card looks bootable"
        ),
    }
}

/// Catches: a damaged image restored as if it were whole, and a card that was erased for an image
/// of which it could have been known before that it is damaged.
#[test]
fn a_damaged_image_harms_no_card_or_leaves_none_that_boots() {
    let test = "a_damaged_image_harms_no_card_or_leaves_none_that_boots";
    if skipped(test) {
        return;
    }
    let card = card();
    let ours = card.beside("ours.img.zst");
    {
        let device = card.device();
        cardkeep(["backup".as_ref(), device.path(), &ours]).expect(0);
    }
    let theirs = [
        ("gzip", &["-1"][..], Left::Untouched),
        ("bzip2", &["-1"], Left::Untouched),
        ("zstd", &["-T0", "-1", "--check"], Left::Untouched),
        ("zip", &[], Left::Untouched),
        ("xz", &["-T0", "-0", "--block-size=4MiB"], Left::NotBootable),
    ];
    let mut images = vec![(ours, Left::NotBootable)];
    for (program, options, left) in theirs {
        match packed(&card, program, options) {
            Some(image) => images.push((image, left)),
            None => cardkeep_testkit::skip(test, program),
        }
    }
    for (image, left) in images {
        let whole = std::fs::read(&image).unwrap();
        let name = image.display();
        // Within the first frame or block, which every restore needs.
        let mut bytes = whole.clone();
        bytes[20_000] ^= 0x10;
        std::fs::write(&image, &bytes).unwrap();
        judge(&image, left, &format!("{name} with a flipped bit"));
        for len in [whole.len() / 2, whole.len() - 1] {
            std::fs::write(&image, &whole[..len]).unwrap();
            // Without its index no image can be read but from its beginning.
            judge(&image, Left::Untouched, &format!("{name} cut at {len}"));
        }
    }
}

/// Catches: a pipe that broke taken for one that ended.
#[test]
fn a_pipe_that_breaks_leaves_no_bootable_card() {
    let test = "a_pipe_that_breaks_leaves_no_bootable_card";
    if skipped(test) {
        return;
    }
    let card = card();
    for (program, options) in [("gzip", ["-1"]), ("xz", ["-0"]), ("zstd", ["-1"])] {
        let Some(image) = packed(&card, program, &options) else {
            cardkeep_testkit::skip(test, program);
            continue;
        };
        let whole = std::fs::read(&image).unwrap();
        std::fs::write(&image, &whole[..whole.len() / 2]).unwrap();
        let target = Card::stale(24 * MIB, STALE_TARGET, Vec::new());
        let device = target.device();
        let stdin = std::fs::File::open(&image).unwrap().into();
        let words = [
            "restore".as_ref(),
            "-".as_ref(),
            device.path(),
            "--yes".as_ref(),
        ];
        crate::program::cardkeep_reading(stdin, words).expect(7);
        drop(device);
        let found = std::fs::read(target.file()).unwrap();
        // What fails before anything is written costs nothing.
        let is_untouched = is_filled(&found, STALE_TARGET);
        assert!(
            is_untouched || is_filled(&found[..MIB as usize], 0),
            "{program}: it looks bootable"
        );
    }
}
