//! What the plan says of sizes: what is resized, why something is not, and what would do.

use super::card::{
    Known, MIB, blank, bytes_of, fill, format_ext, format_fat, format_root, format_swap, len_of,
    part, partition,
};
use crate::desk::Desk;

/// A root with one partition of 20 MiB behind it, on a card of 110 MiB.
fn root_and_one_behind(desk: &Desk, kind: &str) {
    let layout = format!(
        "label: dos\nlabel-id: 0x41be4000\nstart=2048, size=163840, type=83\n\
         start=165888, size=40960, type={kind}"
    );
    partition(desk, "card.img", 110, &layout);
    format_root(desk, "card.img", 1, "-L root");
}

/// Catches: a hibernated system cut down to its header, and one that is resumed on a filesystem that
/// it does not know.
#[test]
fn a_hibernated_system_moves_whole_and_the_plan_warns_against_resuming_it() {
    for mark in ["S1SUSPEND", "ULSUSPEND", "LINHIB0001"] {
        let desk = Desk::new();
        root_and_one_behind(&desk, "82");
        format_swap(&desk, "card.img", 2);
        let swap = part(&desk, "card.img", 2);
        desk.sh(&format!(
            "head -c 9000000 /dev/urandom | dd of=card.img bs=4096 oflag=seek_bytes seek={} \
                 conv=notrunc status=none iflag=fullblock
             printf '%-10s' {mark} | tr ' ' '\\0' | dd of=card.img bs=1 seek={} conv=notrunc status=none",
            swap.start + 4096,
            swap.start + 4086,
        ));
        let answer = desk.expect(0, &["backup", "card.img", "small.img", "--shrink"]);
        assert!(answer.stderr.contains("noresume"), "{}", answer.stderr);
        let known = Known {
            desk: &desk,
            name: "card.img",
            resized: 1,
            whole: &[2],
        };
        known.judge("small.img");
        blank(&desk, "card", len_of(&desk, "card.img") + 30 * MIB);
        let answer = desk.expect(0, &["restore", "card.img", "card", "--yes"]);
        assert!(answer.stderr.contains("noresume"), "{}", answer.stderr);
        known.judge("card");
        let (old, new) = (part(&desk, "card.img", 2), part(&desk, "card", 2));
        assert!(bytes_of(&desk, "card.img", &old) == bytes_of(&desk, "card", &new));
    }
}

/// The system's filesystem is resized although another one is larger; without a system, the largest.
#[test]
fn the_plan_names_the_filesystem_with_the_system_or_else_the_largest_one() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x41be4001\nstart=2048, size=102400, type=83\n\
                  start=104448, size=122880, type=83";
    partition(&desk, "card.img", 120, layout);
    desk.sh("mkdir -p photos; head -c 900000 /dev/urandom >photos/a.jpg");
    format_ext(&desk, "card.img", 2, "photos", "-L photos");
    format_root(&desk, "card.img", 1, "-L root");
    let plan = ["backup", "card.img", "small.img", "--shrink", "--dry-run"];
    let said = desk.expect(0, &plan).stderr;
    assert!(said.contains("Shrinks  partition 1 (root) from"), "{said}");
    assert!(said.contains("partition 2 moves"), "{said}");
    format_ext(&desk, "card.img", 1, "photos", "-L more");
    let said = desk.expect(0, &plan).stderr;
    assert!(
        said.contains("Shrinks  partition 2 (photos) from"),
        "{said}"
    );
}

/// Settings never fill their partition: they are neither grown nor shrunk, and the plan says so.
#[test]
fn settings_alone_are_never_resized() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x41be4002\nstart=8192, size=32768, type=e\n\
                  start=40960, size=65536, type=83";
    partition(&desk, "noobs.img", 52, layout);
    format_fat(&desk, "noobs.img", 1, "-F16 -n RECOVERY");
    desk.sh("mkdir set; echo '{}' >set/installed_os.json");
    format_ext(&desk, "noobs.img", 2, "set", "-L SETTINGS");
    let said = desk.expect(3, &["backup", "noobs.img", "small.img", "--shrink"]);
    assert!(said.stderr.contains("holds settings"), "{}", said.stderr);
    blank(&desk, "card", 90 * MIB);
    let said = desk.expect(0, &["restore", "noobs.img", "card", "--yes"]);
    assert!(said.stderr.contains("holds settings"), "{}", said.stderr);
    assert_eq!(part(&desk, "card", 2), part(&desk, "noobs.img", 2));
}

/// Catches: a larger card whose rest stays unused without a word.
#[test]
fn a_plan_says_why_partitions_keep_their_sizes_on_a_larger_card() {
    let desk = Desk::new();
    root_and_one_behind(&desk, "da");
    fill(&desk, "card.img", 2);
    desk.sh("gzip -1 -k card.img");
    blank(&desk, "card", 150 * MIB);
    let said = desk
        .expect(0, &["restore", "card.img.gz", "card", "--yes"])
        .stderr;
    assert!(
        said.contains("partition 2 lies behind partition 1"),
        "{said}"
    );
    assert!(said.contains("cardkeep shrink"), "{said}");
    assert_eq!(part(&desk, "card", 1), part(&desk, "card.img", 1));
    let said = desk.expect(3, &["restore", "card.img.gz", "card", "--yes", "--expand"]);
    assert!(said.stderr.contains("lies behind"), "{}", said.stderr);
    // No filesystem that could grow.
    let layout = "label: dos\nlabel-id: 0x41be4003\nstart=2048, size=40960, type=c";
    partition(&desk, "camera.img", 21, layout);
    format_fat(&desk, "camera.img", 1, "-F16 -n CAMERA");
    let said = desk
        .expect(0, &["restore", "camera.img", "card", "--yes"])
        .stderr;
    assert!(said.contains("holds no ext2, ext3 or ext4"), "{said}");
    // A pipe.
    let said = desk.sh(&format!(
        "{} restore - card --yes <camera.img 2>&1",
        env!("CARGO_BIN_EXE_cardkeep")
    ));
    assert!(said.contains("the content of a pipe"), "{said}");
}

/// Catches: a hint to use a card of the original's size where a far smaller one would do.
#[test]
fn a_card_that_is_too_small_is_told_which_one_would_do() {
    let desk = Desk::new();
    root_and_one_behind(&desk, "da");
    fill(&desk, "card.img", 2);
    blank(&desk, "card", 25 * MIB);
    let said = desk
        .expect(3, &["restore", "card.img", "card", "--yes"])
        .stderr;
    let hint = said.split("the smallest card that fits has ").nth(1);
    let bytes = hint
        .and_then(|hint| hint.split(' ').next())
        .unwrap_or(&said);
    let least: u64 = bytes.parse().unwrap();
    assert!(least < 70 * MIB, "{said}");
    blank(&desk, "card", least);
    desk.expect(0, &["restore", "card.img", "card", "--yes"]);
    blank(&desk, "card", least - 512);
    desk.expect(3, &["restore", "card.img", "card", "--yes"]);
}

/// Catches: 0.8 TB of a card of 3 TB that stay unused without a word.
#[test]
fn a_plan_says_where_an_mbr_ends() {
    let desk = Desk::new();
    root_and_one_behind(&desk, "da");
    desk.sh("truncate -s 3T card");
    let said = desk
        .expect(0, &["restore", "card.img", "card", "--dry-run"])
        .stderr;
    assert!(
        said.contains("an MBR can't describe more than 2.20 TB"),
        "{said}"
    );
}

/// Other programs write a smaller image as it is.
#[test]
fn the_report_of_a_smaller_image_says_that_other_programs_leave_it_small() {
    let desk = Desk::new();
    root_and_one_behind(&desk, "da");
    let said = desk.expect(0, &["backup", "card.img", "small.img.zst", "--shrink"]);
    let line = "other programs leave it at";
    assert!(said.stdout.contains(line), "{}", said.stdout);
}
