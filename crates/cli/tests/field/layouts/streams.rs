//! Originals that can only be read in order: nothing of them moves, and the plan says why and what to
//! do.

use cardkeep_testkit::skip_unless_tools;

use super::card::{Known, MIB, blank, fill, format_root, len_of, part, partition};
use crate::desk::Desk;

const UNPACK: &str = "unpack it first, or let `cardkeep shrink` make an .img.zst of it";
const STORE: &str = "store it in a file first, unpacked or as .img.zst";

/// A root with 4 MiB behind it, of 45 MiB in all, also as `card.img.gz`.
fn packed_card(desk: &Desk) {
    let layout = "label: dos\nlabel-id: 0x5c3a0001\nstart=2048, size=81920, type=83\n\
                  start=83968, size=8192, type=da";
    partition(desk, "card.img", 45, layout);
    format_root(desk, "card.img", 1, "-L root");
    fill(desk, "card.img", 2);
    desk.sh("gzip -1 -k card.img");
}

/// The ways to pack it that can only be read in order.
const PACKED: [&str; 5] = [
    "card.img.gz",
    "card.img.xz",
    "card.img.bz2",
    "card.img.zst",
    "card.zip",
];
const TOOLS: [&str; 7] = ["mke2fs", "sfdisk", "gzip", "xz", "bzip2", "zstd", "zip"];

#[test]
fn a_plan_says_why_nothing_of_a_stream_moves_and_what_to_do() {
    let name = "a_plan_says_why_nothing_of_a_stream_moves_and_what_to_do";
    if skip_unless_tools(name, &TOOLS) {
        return;
    }
    let desk = Desk::new();
    packed_card(&desk);
    desk.sh(
        "xz -0 -k card.img; bzip2 -1 -k card.img; zstd -q -1 card.img; zip -q -1 card.zip card.img",
    );
    for packed in PACKED {
        blank(&desk, "card", 70 * MIB);
        let said = desk
            .expect(0, &["restore", packed, "card", "--dry-run"])
            .stderr;
        let why = "partition 2 lies behind partition 1 and would have to move";
        assert!(said.contains(why) && said.contains(UNPACK), "{said}");
        let call = ["restore", packed, "card", "--dry-run", "--expand"];
        let said = desk.expect(3, &call).stderr;
        assert!(said.contains(why) && said.contains(UNPACK), "{said}");
        blank(&desk, "card", 40 * MIB);
        let said = desk
            .expect(3, &["restore", packed, "card", "--dry-run"])
            .stderr;
        let why = "it can only be read in order";
        assert!(said.contains(why) && said.contains(UNPACK), "{said}");
    }
}

#[test]
fn a_plan_says_why_nothing_of_a_pipe_moves_and_what_to_do() {
    let name = "a_plan_says_why_nothing_of_a_pipe_moves_and_what_to_do";
    if skip_unless_tools(name, &TOOLS) {
        return;
    }
    let desk = Desk::new();
    packed_card(&desk);
    let piped = |code: u32, options: &str| {
        desk.sh(&format!(
            "c=0; '{}' restore - card --yes {options} <card.img.gz 2>&1 || c=$?; [ $c = {code} ]",
            env!("CARGO_BIN_EXE_cardkeep")
        ))
    };
    let why = "the content of a pipe is not known beforehand";
    blank(&desk, "card", 70 * MIB);
    let said = piped(0, "");
    assert!(said.contains(why) && said.contains(STORE), "{said}");
    let said = piped(3, "--expand");
    assert!(said.contains(why) && said.contains(STORE), "{said}");
    blank(&desk, "card", 40 * MIB);
    let said = piped(3, "");
    assert!(said.contains("too small") && said.contains(STORE), "{said}");
}

/// What the plan advises helps.
#[test]
fn what_a_plan_advises_for_a_stream_lets_it_be_resized() {
    let name = "what_a_plan_advises_for_a_stream_lets_it_be_resized";
    if skip_unless_tools(name, &TOOLS) {
        return;
    }
    let desk = Desk::new();
    packed_card(&desk);
    let known = Known {
        desk: &desk,
        name: "card.img",
        resized: 1,
        whole: &[2],
    };
    desk.expect(0, &["shrink", "card.img.gz", "made.img.zst"]);
    desk.sh("gzip -dc card.img.gz >unpacked.img");
    let old = part(&desk, "card.img", 1).len;
    for from in ["made.img.zst", "unpacked.img"] {
        for len in [40 * MIB, 70 * MIB] {
            blank(&desk, "card", len);
            desk.expect(0, &["restore", from, "card", "--yes"]);
            let root = known.judge("card");
            assert_eq!(root.len > old, len > len_of(&desk, "card.img"), "{from}");
        }
    }
}

/// Catches: a stream of which something else keeps its partitions is advised to be unpacked.
#[test]
fn unpacking_is_not_advised_where_it_does_not_help() {
    let name = "unpacking_is_not_advised_where_it_does_not_help";
    if skip_unless_tools(name, &TOOLS) {
        return;
    }
    let desk = Desk::new();
    partition(
        &desk,
        "data.img",
        30,
        "label: dos\nstart=2048, size=40960, type=da",
    );
    fill(&desk, "data.img", 1);
    desk.sh("gzip -1 data.img");
    blank(&desk, "card", 60 * MIB);
    let said = desk
        .expect(0, &["restore", "data.img.gz", "card", "--dry-run"])
        .stderr;
    assert!(said.contains("holds no ext2, ext3 or ext4"), "{said}");
    assert!(!said.contains(UNPACK), "{said}");
}
