//! Appliances: many partitions, roots that are read only, one filesystem for all data.

use cardkeep_testkit::skip_unless_tools;

use super::card::{
    Known, MIB, blank, bytes_of, fill, format_ext, format_fat, format_root, part, partition, round,
};
use crate::desk::Desk;

/// Home Assistant OS (buildroot-external/partitions.cfg of home-assistant/operating-system): two slots
/// of kernel and system, a raw partition for the boot state, an overlay, and the data last. The second
/// slot of the system is empty until the first update.
fn home_assistant(desk: &Desk) {
    let guid = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    let mut layout = "label: gpt\n".to_owned();
    for (name, mib) in [
        ("hassos-kernel0", 2),
        ("hassos-system0", 4),
        ("hassos-kernel1", 2),
        ("hassos-system1", 4),
        ("hassos-bootstate", 2),
        ("hassos-overlay", 8),
        ("hassos-data", 44),
    ] {
        if layout.lines().count() == 1 {
            layout.push_str("start=2048, size=8MiB, type=uefi, name=hassos-boot\n");
        }
        layout.push_str(&format!("size={mib}MiB, type={guid}, name={name}\n"));
    }
    partition(desk, "haos.img", 76, &layout);
    format_fat(desk, "haos.img", 1, "-n HASSOS-BOOT");
    desk.sh("mkdir -p system/usr/lib kernel
         echo 'NAME=\"Home Assistant OS\"' >system/usr/lib/os-release
         head -c 3000000 /dev/urandom >system/usr/lib/libc.so
         head -c 1500000 /dev/urandom >kernel/Image
         mksquashfs kernel k.sqfs -quiet -no-progress >/dev/null
         if command -v mkfs.erofs >/dev/null; then mkfs.erofs system.fs system >/dev/null 2>&1
         else mksquashfs system system.fs -quiet -no-progress >/dev/null; fi");
    for (number, file) in [(2, "k.sqfs"), (3, "system.fs"), (4, "k.sqfs")] {
        let place = part(desk, "haos.img", number);
        desk.sh(&format!(
            "dd if={file} of=haos.img bs=64k oflag=seek_bytes seek={} conv=notrunc status=none",
            place.start
        ));
    }
    desk.sh("mkdir -p overlay/etc data/supervisor
         echo homeassistant >overlay/etc/hostname
         for i in 1 2 3 4 5 6 7 8; do head -c 1800000 /dev/urandom >data/supervisor/f$i; done");
    format_ext(desk, "haos.img", 7, "overlay", "-L hassos-overlay");
    format_ext(desk, "haos.img", 8, "data", "-L hassos-data");
}

#[test]
fn the_data_of_home_assistant_is_what_is_resized_and_all_slots_stay() {
    let name = "the_data_of_home_assistant_is_what_is_resized_and_all_slots_stay";
    if skip_unless_tools(
        name,
        &["mksquashfs", "mke2fs", "sfdisk", "sgdisk", "mkfs.vfat"],
    ) {
        return;
    }
    let desk = Desk::new();
    home_assistant(&desk);
    let known = Known {
        desk: &desk,
        name: "haos.img",
        resized: 8,
        whole: &[2, 3, 4, 5, 6],
    };
    let said = round(&known);
    assert!(said[0].contains("partition 8 (hassos-data)"), "{}", said[0]);
    let info = desk.expect(0, &["info", "haos.img"]).stdout;
    for name in ["HASSOS-BOOT", "hassos-overlay", "hassos-data"] {
        assert!(info.contains(name), "{info}");
    }
    for card in ["small.img", "haos.img"] {
        let said = desk.sh(&format!("sgdisk -v {card}"));
        assert!(said.contains("No problems found"), "{said}");
    }
    // Through an image to a smaller and a larger card, which the slots take as they are.
    desk.expect(0, &["backup", "haos.img", "haos.img.zst"]);
    for len in [64 * MIB, 110 * MIB] {
        blank(&desk, "card", len);
        let said = desk.expect(0, &["restore", "haos.img.zst", "card", "--yes"]);
        assert!(
            said.stderr.contains("partition 8 (hassos-data)"),
            "{}",
            said.stderr
        );
        let data = known.judge("card");
        assert_eq!(data.len > 44 * MIB, len > 76 * MIB);
        let overlay = |name: &str| bytes_of(&desk, name, &part(&desk, name, 7)).len();
        assert_eq!(overlay("card"), overlay("haos.img"));
    }
}

/// The boot code in the first sector knows where GRUB's core lies by its sector number; cloud images
/// have it before the root, where it stays.
#[test]
fn a_bios_boot_partition_behind_the_root_keeps_its_place_and_the_plan_says_why() {
    let name = "a_bios_boot_partition_behind_the_root_keeps_its_place_and_the_plan_says_why";
    if skip_unless_tools(name, &["sgdisk", "mke2fs", "sfdisk"]) {
        return;
    }
    let desk = Desk::new();
    desk.sh("truncate -s 110M card.img
         sgdisk -n1:2048:+80M -t1:8300 -c1:root -n2:0:+1M -t2:ef02 -n3:0:+20M -t3:8300 card.img >/dev/null");
    format_root(&desk, "card.img", 1, "-L root");
    fill(&desk, "card.img", 2);
    let why = "partition 2 would have to move, and the boot code in the first sector finds it";
    let said = desk
        .expect(3, &["backup", "card.img", "s.img", "--shrink"])
        .stderr;
    assert!(said.contains(why), "{said}");
    blank(&desk, "card", 150 * MIB);
    let said = desk
        .expect(0, &["restore", "card.img", "card", "--yes"])
        .stderr;
    assert!(said.contains(why), "{said}");
    for number in [1, 2, 3] {
        assert_eq!(part(&desk, "card", number), part(&desk, "card.img", number));
    }
    let boot = part(&desk, "card.img", 2);
    assert!(bytes_of(&desk, "card", &boot) == bytes_of(&desk, "card.img", &boot));
    let said = desk
        .expect(3, &["restore", "card.img", "card", "--yes", "--expand"])
        .stderr;
    assert!(said.contains(why), "{said}");
    blank(&desk, "card", 90 * MIB);
    let said = desk
        .expect(3, &["restore", "card.img", "card", "--yes"])
        .stderr;
    assert!(said.contains(why), "{said}");
}
