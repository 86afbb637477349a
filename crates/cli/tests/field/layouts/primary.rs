//! Primary partitions behind the system's.

use super::card::{
    Known, MIB, assert_same_to_blkid, blank, fill, format_fat, format_root, format_swap, part,
    partition, round,
};
use crate::desk::Desk;

/// DietPi as it is downloaded: boot, root, and 1 MiB of FAT12 with the settings last.
#[test]
fn the_settings_of_dietpi_move_with_the_end_of_its_root() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x7d1e7000\nstart=8192, size=32768, type=c\n\
                  start=40960, size=163840, type=83\nstart=204800, size=2048, type=c";
    partition(&desk, "dietpi.img", 101, layout);
    format_fat(&desk, "dietpi.img", 1, "-F16 -n BOOT");
    format_root(&desk, "dietpi.img", 2, "-L rootfs");
    format_fat(&desk, "dietpi.img", 3, "-F12 -s1 -n DIETPISETUP");
    let known = Known {
        desk: &desk,
        name: "dietpi.img",
        resized: 2,
        whole: &[],
    };
    let said = round(&known);
    assert!(said[0].contains("partition 2 (rootfs)"), "{}", said[0]);
    assert!(said[0].contains("partition 3 moves"), "{}", said[0]);
}

/// A swap partition last, as many a distribution leaves it: its header moves, and no page of it is
/// read.
#[test]
fn a_swap_area_behind_the_system_moves_without_its_pages() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x5a3b0001\nstart=8192, size=32768, type=c\n\
                  start=40960, size=163840, type=83\nstart=204800, size=40960, type=82";
    partition(&desk, "card.img", 120, layout);
    format_fat(&desk, "card.img", 1, "-F16 -n BOOT");
    format_root(&desk, "card.img", 2, "-L rootfs");
    // Pages that were swapped out once.
    fill(&desk, "card.img", 3);
    format_swap(&desk, "card.img", 3);
    let known = Known {
        desk: &desk,
        name: "card.img",
        resized: 2,
        whole: &[],
    };
    round(&known);
    let (old, new) = (part(&desk, "card.img", 3), part(&desk, "small.img", 3));
    assert_same_to_blkid(&desk, ("card.img", &old), ("small.img", &new));
    blank(&desk, "card", 120 * MIB);
    desk.expect(0, &["restore", "small.img", "card", "--yes"]);
    let new = part(&desk, "card", 3);
    assert_same_to_blkid(&desk, ("card.img", &old), ("card", &new));
}

/// What nobody knows is moved as it is.
#[test]
fn bytes_that_nobody_knows_move_as_they_are() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x5a3b0002\nstart=2048, size=163840, type=83\n\
                  start=167936, size=20480, type=da\nstart=190000, size=4096, type=7f";
    partition(&desk, "card.img", 100, layout);
    format_root(&desk, "card.img", 1, "-L rootfs");
    fill(&desk, "card.img", 2);
    fill(&desk, "card.img", 3);
    round(&Known {
        desk: &desk,
        name: "card.img",
        resized: 1,
        whole: &[2, 3],
    });
}
