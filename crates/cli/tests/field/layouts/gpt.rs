//! GUID partition tables and hybrid MBRs.

use super::card::{
    Known, fill, format_ext, format_fat, format_root, format_swap, len_of, part, parts, round,
};
use crate::desk::Desk;

fn judge_gpt(desk: &Desk, name: &str) {
    let said = desk.sh(&format!("sgdisk -v {name}"));
    assert!(said.contains("No problems found"), "{said}");
}

/// The numbers are in another order than the places, and types, GUIDs, names and attributes stay.
#[test]
fn what_lies_behind_the_root_of_a_gpt_moves_and_keeps_number_and_name() {
    let desk = Desk::new();
    desk.sh("truncate -s 130M card.img
         sgdisk -n14:2048:+4M -t14:da00 -n15:0:+16M -t15:ef00 -n1:0:+70M -t1:8305 -c1:root \
                -A1:set:59 -n3:0:+20M -t3:8200 -c3:swap -n2:0:+10M -t2:da00 -c2:firmware \
                -A2:set:2 card.img >/dev/null");
    fill(&desk, "card.img", 14);
    format_fat(&desk, "card.img", 15, "-F16 -n EFI");
    format_root(&desk, "card.img", 1, "-L cloudimg-rootfs");
    format_swap(&desk, "card.img", 3);
    fill(&desk, "card.img", 2);
    let known = Known {
        desk: &desk,
        name: "card.img",
        resized: 1,
        whole: &[14, 2],
    };
    round(&known);
    judge_gpt(&desk, "small.img");
    let len = len_of(&desk, "small.img");
    assert!(len < 100 << 20, "{len}");
}

/// Ubuntu's cloud image: the root is number 1 and lies last, an ext4 for booting before it.
#[test]
fn the_root_of_a_cloud_image_is_resized_and_not_its_boot_partition() {
    let desk = Desk::new();
    desk.sh("truncate -s 130M card.img
         sgdisk -n14:2048:+4M -t14:ef02 -n15:0:+16M -t15:ef00 -n16:0:+30M -t16:8300 -n1:0:0 \
                -t1:8305 -c1:cloudimg-rootfs card.img >/dev/null; mkdir b; echo k >b/vmlinuz");
    fill(&desk, "card.img", 14);
    format_fat(&desk, "card.img", 15, "-F16 -n UEFI");
    format_ext(&desk, "card.img", 16, "b", "-L BOOT");
    format_root(&desk, "card.img", 1, "-L cloudimg-rootfs -O ^has_journal");
    round(&Known {
        desk: &desk,
        name: "card.img",
        resized: 1,
        whole: &[14],
    });
    judge_gpt(&desk, "small.img");
}

/// Firmware that reads MBRs only finds the moved partition there too.
#[test]
fn a_hybrid_mbr_follows_what_moves() {
    let desk = Desk::new();
    desk.sh("truncate -s 130M card.img
         sgdisk -n1:2048:+16M -t1:0700 -n2:0:+70M -t2:8300 -n3:0:+20M -t3:0700 card.img >/dev/null
         sgdisk -h 1:3 card.img >/dev/null");
    let disk = desk.sh("sfdisk -l -Y dos card.img | tail -5");
    // sfdisk tells a hybrid's GPT alone; the partitions are asked for by sgdisk's numbers.
    assert_eq!(parts(&desk, "card.img").len(), 3, "{disk}");
    format_fat(&desk, "card.img", 1, "-F16 -n BOOT");
    format_root(&desk, "card.img", 2, "-L root");
    format_fat(&desk, "card.img", 3, "-F16 -n DATA");
    round(&Known {
        desk: &desk,
        name: "card.img",
        resized: 2,
        whole: &[],
    });
    judge_gpt(&desk, "small.img");
    let moved = part(&desk, "small.img", 3);
    let record = desk.sh("od -An -t u4 -j 454 -N 4 small.img; od -An -t u4 -j 470 -N 4 small.img; od -An -t u4 -j 486 -N 4 small.img");
    let starts: Vec<u64> = record
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(
        starts.contains(&(moved.start / 512)),
        "{starts:?} {moved:?}"
    );
}
