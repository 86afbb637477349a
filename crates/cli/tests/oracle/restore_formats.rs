//! Every format of image, ours and other people's, onto a larger card full of stale bytes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardkeep_testkit::{Tool, tool};

use crate::card::{Card, MIB, Table};
use crate::original::{Original, Rest, restore, skipped};
use crate::program::{cardkeep, cardkeep_reading};

/// How an image comes about.
#[derive(Clone, Copy, Debug)]
enum Maker {
    /// `cardkeep backup` to a file of this name.
    Ours(&'static str),
    /// The card as it is, stale bytes and all.
    Raw,
    /// A program that writes what it makes of its stdin to stdout.
    Theirs(&'static str, &'static [&'static str]),
    /// A zip archive with the card in it.
    Zip,
}

impl Maker {
    /// Makes the image beside the card; `None` where a program is missing.
    fn make(self, card: &Card) -> Option<PathBuf> {
        match self {
            Self::Ours(name) => {
                let image = card.beside(name);
                let device = card.device();
                let arguments = ["backup".as_ref(), device.path(), &image, "--quiet".as_ref()];
                cardkeep(arguments).expect(0);
                Some(image)
            }
            Self::Raw => Some(card.file()),
            Self::Theirs(name, options) => {
                let program = tool(name)?;
                let image = card.beside(name);
                let status = Command::new(program)
                    .args(options)
                    .stdin(piped_from(&card.file()))
                    .stdout(File::create(&image).unwrap())
                    .status();
                assert!(status.unwrap().success(), "{name} {options:?}");
                Some(image)
            }
            Self::Zip => {
                tool("zip")?;
                let image = card.beside("image.zip");
                let words = ["-q", "-1", "-j"];
                Tool::new("zip")
                    .args(words)
                    .arg(&image)
                    .arg(card.file())
                    .run();
                Some(image)
            }
        }
    }
}

/// Returns what `cat` says of a file: a pipe, of which nobody knows how much will come.
fn piped_from(file: &Path) -> Stdio {
    let cat = Command::new("cat").arg(file).stdout(Stdio::piped()).spawn();
    Stdio::from(cat.unwrap().stdout.unwrap())
}

/// Restores what each maker makes, and judges it.
///
/// Catches: content in the wrong order or place, tails of reused buffers, free blocks written
/// (the stale bytes of the original show), zeros not written, and whatever the judgements of
/// `original.rs` name.
fn check(test: &str, table: Table, cases: &[(Maker, Rest)]) {
    if skipped(test) {
        return;
    }
    let original = Original::pi(table);
    for &(maker, rest) in cases {
        let Some(image) = maker.make(&original.card) else {
            cardkeep_testkit::skip(test, &format!("the program of {maker:?}"));
            continue;
        };
        let target = original.target(original.len() + 5 * MIB);
        {
            let device = target.device();
            let done = restore(&image, device.path(), &[]).expect(0).json();
            assert_eq!(done["targets"][0]["verified"], true, "{maker:?}");
        }
        told(&maker, || original.judge(&target, rest));
    }
}

/// Says of which case it is where a judgement panics.
fn told(case: &dyn std::fmt::Debug, judge: impl FnOnce()) {
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(judge));
    assert!(judged.is_ok(), "the case is {case:?}");
}

const XZ_BLOCKS: Maker = Maker::Theirs("xz", &["-T0", "-0", "--block-size=4MiB"]);

#[test]
fn images_that_can_be_read_anywhere_restore_an_mbr_card_exactly() {
    let test = "images_that_can_be_read_anywhere_restore_an_mbr_card_exactly";
    let cases = [
        (Maker::Raw, Rest::LeftAlone),
        (Maker::Ours("ours.img"), Rest::LeftAlone),
        (Maker::Ours("ours.img.zst"), Rest::LeftAlone),
        (Maker::Ours("ours.img.xz"), Rest::LeftAlone),
        (XZ_BLOCKS, Rest::LeftAlone),
    ];
    check(test, Table::Mbr, &cases);
}

#[test]
fn images_that_are_streams_restore_an_mbr_card() {
    let test = "images_that_are_streams_restore_an_mbr_card";
    let cases = [
        (Maker::Ours("ours.img.gz"), Rest::OrZeros),
        (Maker::Theirs("gzip", &["-1"]), Rest::OrCopied),
        (Maker::Theirs("bzip2", &["-1"]), Rest::OrCopied),
        (Maker::Theirs("zstd", &["-T0", "-1"]), Rest::OrCopied),
        (Maker::Theirs("xz", &["-T1", "-0"]), Rest::OrCopied),
        (Maker::Zip, Rest::OrCopied),
    ];
    check(test, Table::Mbr, &cases);
}

#[test]
fn images_of_a_gpt_card_restore_it_onto_a_larger_one() {
    let test = "images_of_a_gpt_card_restore_it_onto_a_larger_one";
    let cases = [
        (Maker::Raw, Rest::LeftAlone),
        (Maker::Ours("ours.img.zst"), Rest::LeftAlone),
        (XZ_BLOCKS, Rest::LeftAlone),
        (Maker::Theirs("gzip", &["-1"]), Rest::OrCopied),
        (Maker::Theirs("zstd", &["-T0", "-1"]), Rest::OrCopied),
    ];
    check(test, Table::Gpt, &cases);
}

/// Nothing is known of a pipe: neither its length nor what will come.
#[test]
fn a_pipe_restores_a_card() {
    if skipped("a_pipe_restores_a_card") {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let cases = [
        (Maker::Raw, Rest::OrCopied),
        (Maker::Ours("ours.img.zst"), Rest::OrZeros),
        (Maker::Theirs("zstd", &["-T0", "-1"]), Rest::OrCopied),
    ];
    for (maker, rest) in cases {
        let image = maker.make(&original.card).unwrap();
        let target = original.target(original.len() + 5 * MIB);
        let device = target.device();
        let arguments = ["restore".as_ref(), "-".as_ref(), device.path()];
        let arguments = arguments.into_iter().chain(["--yes".as_ref()]);
        cardkeep_reading(piped_from(&image), arguments).expect(0);
        drop(device);
        told(&maker, || original.judge(&target, rest));
    }
}

/// A card that was made elsewhere and is as large as this one, through a pipe with a GPT.
#[test]
fn a_pipe_restores_a_gpt_card_of_the_same_size() {
    if skipped("a_pipe_restores_a_gpt_card_of_the_same_size") {
        return;
    }
    let original = Original::pi(Table::Gpt);
    let target = original.target(original.len());
    let device = target.device();
    let arguments = ["restore".as_ref(), "-".as_ref(), device.path()];
    let arguments = arguments.into_iter().chain(["--yes".as_ref()]);
    cardkeep_reading(piped_from(&original.card.file()), arguments).expect(0);
    drop(device);
    original.judge(&target, Rest::OrCopied);
}

/// `--everything` writes each byte, stale ones too.
#[test]
fn everything_writes_every_byte() {
    if skipped("everything_writes_every_byte") {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let makers = [Maker::Raw, Maker::Theirs("gzip", &["-1"]), XZ_BLOCKS];
    for image in makers.map(|maker| maker.make(&original.card).unwrap()) {
        let target = original.target(original.len());
        {
            let device = target.device();
            restore(&image, device.path(), &["--everything"]).expect(0);
        }
        let found = std::fs::read(target.file()).unwrap();
        let expected = std::fs::read(original.card.file()).unwrap();
        assert!(found == expected, "{} is not all there", image.display());
    }
}
