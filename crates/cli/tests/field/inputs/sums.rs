//! Checksums and block maps: of the file, of its content, of what comes from a pipe.

use std::fs;

use super::{Content, check_refused, desk, is_untouched, renew, restore};
use crate::desk::Desk;
use cardkeep_testkit::skip_unless_tools;

/// The card in every container, with the block map that bmaptool makes of it.
const MAPPED: &str = "fallocate -d card.img; bmaptool -q create card.img -o card.img.bmap
gzip -1 -k card.img; xz -0 --block-size=4MiB -k card.img; cat card.img | zstd -q -1 > card.img.zst
zstd -q -1 card.img -o two.zst; zip -q -1 card.img.zip card.img";

const PACKED: [&str; 5] = [
    "card.img",
    "card.img.gz",
    "card.img.xz",
    "card.img.zst",
    "card.img.zip",
];

fn sum(desk: &Desk, name: &str) -> String {
    desk.sh(&format!("sha256sum {name} | cut -c1-64 | tr -d '\\n'"))
}

#[test]
fn a_block_map_beside_an_image_is_held_against_its_content() {
    if skip_unless_tools("a_block_map_beside_an_image", &["bmaptool"]) {
        return;
    }
    let desk = desk();
    desk.sh(MAPPED);
    for name in PACKED {
        let plan = desk.expect(0, &["restore", name, "target", "--dry-run", "--no-expand"]);
        let said = "checksums that card.img.bmap states";
        assert!(
            plan.stdout.contains(said) || plan.stderr.contains(said),
            "{plan:?}"
        );
        let verified = desk.expect(0, &["verify", name]);
        assert!(verified.stdout.contains(said), "{}", verified.stdout);
    }
    desk.expect(
        0,
        &[
            "backup",
            "card.img",
            "own.img.zst",
            "--everything",
            "--quiet",
        ],
    );
    desk.sh("cp card.img.bmap own.bmap");
    desk.expect(0, &["verify", "own.img.zst"]);
    // A byte in the FAT, which is mapped; the whole file is sound otherwise.
    desk.sh(
        "printf x | dd of=card.img bs=1 seek=1048700 conv=notrunc status=none
for name in gz xz zst zip; do rm card.img.$name; done
gzip -1 -k card.img; xz -0 --block-size=4MiB -k card.img; cat card.img | zstd -q -1 > card.img.zst
zip -q -1 card.img.zip card.img",
    );
    for name in PACKED {
        let expected = ["is not what card.img.bmap says", "another SHA-256"];
        check_refused(&desk, Content::file(name), 6, &expected);
        assert!(is_untouched(&desk), "{name} was written");
        let said = desk.expect(6, &["verify", name]).stderr;
        assert!(said.contains(expected[0]), "{name}: {said}");
    }
    desk.sh("rm own.img.zst own.bmap");
    desk.expect(
        0,
        &[
            "backup",
            "card.img",
            "own.img.zst",
            "--everything",
            "--quiet",
        ],
    );
    desk.sh("cp card.img.bmap own.bmap");
    desk.expect(6, &["verify", "own.img.zst"]);
    desk.expect(6, &["verify", "own.img.zst", "--against", "card.img"]);
}

#[test]
fn a_block_map_that_is_damaged_or_of_another_kind_says_so() {
    if skip_unless_tools("a_block_map_that_is_damaged", &["bmaptool"]) {
        return;
    }
    let desk = desk();
    desk.sh("fallocate -d card.img; bmaptool -q create card.img -o sound");
    let sound = fs::read_to_string(desk.path("sound")).unwrap();
    let bmap = |text: &str| fs::write(desk.path("card.bmap"), text).unwrap();
    bmap(&sound.replace("<BlockSize> 4096", "<BlockSize> 8192"));
    check_refused(
        &desk,
        Content::file("card.img"),
        7,
        &["card.bmap is damaged"],
    );
    bmap(&sound[..sound.len() / 2]);
    check_refused(
        &desk,
        Content::file("card.img"),
        7,
        &["card.bmap is damaged"],
    );
    bmap(&format!("<!DOCTYPE b [<!ENTITY a \"b\">]>{sound}"));
    let dry = ["restore", "card.img", "target", "--dry-run"];
    assert!(!desk.expect(0, &dry).stdout.contains("card.bmap"));
    bmap(&sound.replace("> sha256 <", "> sha1 <"));
    let said = desk.expect(0, &dry);
    let note = "card.bmap is not used: the block map has no SHA-256";
    assert!((said.stdout + &said.stderr).contains(note));
    // A picture, or anything else with that ending.
    bmap("BM6");
    desk.expect(0, &dry);
    // Another version of the image.
    bmap(&sound);
    desk.sh("truncate -s 25M card.img");
    check_refused(
        &desk,
        Content::file("card.img"),
        6,
        &["of an image of 25165824 bytes"],
    );
    assert!(is_untouched(&desk));
}

/// Raspberry Pi Imager's lists have the sum of the content (`extract_sha256`).
#[test]
fn a_checksum_may_be_that_of_the_file_or_of_its_content() {
    let desk = desk();
    desk.sh(
        "gzip -1 -k card.img; xz -0 --block-size=4MiB -k card.img; zip -q -1 card.img.zip card.img",
    );
    let of_content = sum(&desk, "card.img");
    let wrong = "0".repeat(64);
    for name in ["card.img.gz", "card.img.xz", "card.img.zip"] {
        for given in [of_content.clone(), sum(&desk, name)] {
            let verified = desk.expect(0, &["verify", name, "--sha256", &given]);
            let is_content = given == of_content;
            let said = if is_content {
                "content has"
            } else {
                "file has"
            };
            assert!(verified.stdout.contains(said), "{}", verified.stdout);
            let options = ["--no-expand", "--everything", "--sha256", &given];
            let answer = restore(&desk, name, false, &options);
            assert_eq!(answer.code, 0, "{}", answer.stderr);
            renew(&desk);
        }
        let answer = restore(&desk, name, false, &["--sha256", &wrong]);
        assert_eq!(answer.code, 6, "{}", answer.stderr);
        let both = format!("of the file and {of_content} of its content");
        assert!(answer.stderr.contains(&both), "{}", answer.stderr);
        assert!(is_untouched(&desk));
    }
    // What broke on its way need not be understood.
    desk.sh("truncate -s 1M card.img.gz; head -c 1M /dev/urandom > card.img.xz");
    for name in ["card.img.gz", "card.img.xz"] {
        let answer = restore(&desk, name, false, &["--sha256", &of_content]);
        assert_eq!(answer.code, 6, "{}", answer.stderr);
    }
}

/// The sum is known at the end: a card that got something else must not look like one that didn't.
#[test]
fn a_checksum_of_what_comes_from_a_pipe_is_compared_before_the_card_can_be_used() {
    let desk = desk();
    desk.sh("gzip -1 -k card.img; cp card.img.gz padded.img.gz; head -c 70000 /dev/zero >> padded.img.gz");
    let wrong = "0".repeat(64);
    for (name, given) in [
        ("card.img.gz", "card.img.gz"),
        ("card.img.gz", "card.img"),
        ("card.img", "card.img"),
        ("padded.img.gz", "padded.img.gz"),
    ] {
        let options = [
            "--no-expand",
            "--everything",
            "--sha256",
            &sum(&desk, given),
        ];
        let answer = restore(&desk, name, true, &options);
        assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
        desk.sh("cmp -n $(stat -c %s card.img) card.img target");
        let answer = restore(&desk, name, true, &["--sha256", &wrong]);
        assert_eq!(answer.code, 6, "{name}: {}", answer.stderr);
        let said = "doesn't have the SHA-256 that was given";
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
        desk.sh("cmp -n 512 target /dev/zero");
    }
    let program = env!("CARGO_BIN_EXE_cardkeep");
    let given = sum(&desk, "card.img");
    desk.sh(&format!(
        "'{program}' restore <(cat card.img.gz) target --yes --quiet --everything --sha256 {given}
cmp -n $(stat -c %s card.img) card.img target"
    ));
}
