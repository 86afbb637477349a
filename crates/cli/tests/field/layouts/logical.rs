//! Extended partitions, before, around and behind the system's partition.

use super::card::{
    Known, fill, format_ext, format_fat, format_root, format_swap, partition, round,
};
use crate::desk::Desk;

/// NOOBS before 1.5: root is the last logical partition, and the settings lie behind the extended one.
#[test]
fn the_settings_of_noobs_move_behind_its_root_and_keep_their_size() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x000ec1b2\nstart=8192, size=32768, type=e\n\
                  start=40960, size=214112, type=5\nstart=262144, size=16384, type=83\n\
                  start=43008, size=32768, type=c\nstart=77824, size=177248, type=83";
    partition(&desk, "noobs.img", 140, layout);
    format_fat(&desk, "noobs.img", 1, "-F16 -n RECOVERY");
    format_fat(&desk, "noobs.img", 5, "-F16 -s1 -n boot");
    format_root(&desk, "noobs.img", 6, "-L root");
    desk.sh("mkdir set; echo '{}' >set/installed_os.json");
    format_ext(&desk, "noobs.img", 3, "set", "-L SETTINGS");
    let known = Known {
        desk: &desk,
        name: "noobs.img",
        resized: 6,
        whole: &[],
    };
    let said = round(&known);
    assert!(said[0].contains("partition 6 (root)"), "{}", said[0]);
}

/// NOOBS 2.x: odd starts, the settings before the root.
#[test]
fn the_root_of_noobs_is_resized_where_it_is_the_last_logical_partition() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x000a24f9\nunit: sectors\n1: start=8192, size=32000, type=e\n\
                  2: start=40961, size=238239, type=5\n5: start=43008, size=16382, type=83\n\
                  6: start=61440, size=32767, type=c\n7: start=98304, size=180896, type=83";
    partition(&desk, "noobs.img", 137, layout);
    format_fat(&desk, "noobs.img", 1, "-F16 -n RECOVERY");
    desk.sh("mkdir set; echo '{}' >set/installed_os.json");
    format_ext(&desk, "noobs.img", 5, "set", "-L SETTINGS");
    format_fat(&desk, "noobs.img", 6, "-F16 -s1 -n BOOT");
    format_root(&desk, "noobs.img", 7, "-L root");
    let known = Known {
        desk: &desk,
        name: "noobs.img",
        resized: 7,
        whole: &[],
    };
    let said = round(&known);
    assert!(said[0].contains("partition 7 (root)"), "{}", said[0]);
}

/// The chain of logical partitions goes on behind the root, and the extended one ends later still.
#[test]
fn logical_partitions_behind_the_root_move_with_their_records() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x00e0b001\nstart=2048, size=22528, type=c\n\
                  start=24576, size=290816, type=f\nstart=319488, size=8192, type=da\n\
                  start=26624, size=16384, type=da\nstart=45056, size=159744, type=83\n\
                  start=206848, size=20480, type=82\nstart=229376, size=73728, type=c";
    partition(&desk, "card.img", 160, layout);
    format_fat(&desk, "card.img", 1, "-F16 -n BOOT");
    fill(&desk, "card.img", 3);
    fill(&desk, "card.img", 5);
    format_root(&desk, "card.img", 6, "-L root");
    format_swap(&desk, "card.img", 7);
    format_fat(&desk, "card.img", 8, "-F32 -s1 -n DATA");
    round(&Known {
        desk: &desk,
        name: "card.img",
        resized: 6,
        whole: &[3, 5],
    });
}

/// A primary root with a whole extended partition behind it: the chain moves as it is.
#[test]
fn an_extended_partition_behind_the_root_moves_whole() {
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x00e0b002\nstart=2048, size=163840, type=83\n\
                  start=165888, size=73728, type=5\nstart=167936, size=20480, type=82\n\
                  start=190464, size=32768, type=c\nstart=225280, size=8192, type=da";
    partition(&desk, "card.img", 120, layout);
    format_root(&desk, "card.img", 1, "-L root");
    format_swap(&desk, "card.img", 5);
    format_fat(&desk, "card.img", 6, "-F16 -n DATA");
    fill(&desk, "card.img", 7);
    round(&Known {
        desk: &desk,
        name: "card.img",
        resized: 1,
        whole: &[7],
    });
}
