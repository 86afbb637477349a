//! Cards as the kernel shows them: told apart, copied, and put back.

use std::path::Path;

use cardkeep_testkit::{Insertion, Tool};

use crate::bench::{QUICK, here, on_bench};

#[test]
fn cards_in_readers_and_slots_are_told_apart_and_go_there_and_back() {
    on_bench(
        "cards_in_readers_and_slots_are_told_apart_and_go_there_and_back",
        |bench| {
            let locked = Insertion {
                is_locked: true,
                ..QUICK
            };
            let sample = bench.sample("first.img");
            let from = bench.plug("first", &sample, locked);
            let target = bench.used_up("second.img", 160);
            let to = bench.plug("second", &target, QUICK);

            let devices = bench.list();
            assert_eq!(devices.len(), 3, "{devices:?}");
            for device in &devices {
                assert_eq!(device["removable"], true, "{device}");
                assert_eq!(device["system"], false, "{device}");
                let is_slot = device["path"] == "/dev/mmcblk0";
                let transport = if is_slot { "SD/MMC" } else { "USB" };
                assert_eq!(device["transport"], transport, "{device}");
                assert_eq!(device["read_only"], device["serial"] == "first", "{device}");
            }

            for (card, image) in [(from.as_str(), "usb.img.zst"), ("/dev/mmcblk0", "slot.img")] {
                let words = format!("backup {card} {image}");
                drop(bench.cardkeep(&words).expect(0));
                bench.assert_whole(image);
            }
            let refused = bench.cardkeep(&format!("restore --yes slot.img {from}"));
            let refused = refused.expect(3).stderr;
            assert!(refused.contains("write-protected"), "{refused}");
            drop(
                bench
                    .cardkeep(&format!("restore --yes usb.img.zst {to}"))
                    .expect(0),
            );
            drop(
                bench
                    .cardkeep(&format!("verify usb.img.zst --against {to}"))
                    .expect(0),
            );

            let trees = [from, to].map(|card| bench.guest.run(&tree_of(&card)).expect(0).stdout);
            assert!(trees[0].lines().count() > 20, "{}", trees[0]);
            assert_eq!(trees[0], trees[1]);

            bench.guest.unplug("second");
            let image = bench.shared("usb.img.zst");
            here(
                ["verify", "--against"]
                    .map(Path::new)
                    .into_iter()
                    .chain([target.as_path(), &image]),
            );
            assert_filesystems_are_clean(&target);
        },
    );
}

/// Returns the command that prints all files of a card, as the kernel has them.
fn tree_of(card: &str) -> String {
    let tree = "find . -type f | sort | xargs md5sum; find . -type l | xargs ls -l; \
        find . | sort | xargs stat -c '%n %a %u %g %Y'";
    // As the partition is called: sda1, mmcblk0p1.
    let part = |number: u8, kind: &str| {
        let path = format!("$(ls -d {card}*{number} | tail -n 1)");
        format!(
            "mount -r -t {kind} {path} /mnt && cd /mnt && {{ {tree}; cd /host; }} && umount /mnt"
        )
    };
    format!("{} && {}", part(1, "vfat"), part(2, "ext4"))
}

/// Has sfdisk, fsck.fat and e2fsck look at a card.
fn assert_filesystems_are_clean(card: &Path) {
    Tool::new("sfdisk").args(["-q", "--verify"]).arg(card).run();
    let places = Tool::new("sfdisk")
        .args(["-q", "-l", "-o", "start,sectors"])
        .arg(card)
        .run();
    let numbers: Vec<u64> = places
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [boot, boot_len, root, root_len] = numbers[..] else {
        panic!("two partitions: {places}");
    };
    for (start, len, judge, words) in [
        (boot, boot_len, "fsck.fat", ["-n", "-v"]),
        (root, root_len, "e2fsck", ["-f", "-n"]),
    ] {
        let part = card.with_extension(judge);
        let copy = [
            "bs=512".to_owned(),
            format!("skip={start}"),
            format!("count={len}"),
            "status=none".into(),
        ];
        let files = [
            format!("if={}", card.display()),
            format!("of={}", part.display()),
        ];
        Tool::new("dd").args(copy.into_iter().chain(files)).run();
        Tool::new(judge).args(words).arg(&part).run();
    }
}
