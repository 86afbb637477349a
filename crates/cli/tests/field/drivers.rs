//! Appliances: a root that is packed and read-only, and what they put behind it in its partition.

use std::fs;

use cardkeep_block::Extent;
use cardkeep_testkit::{
    Answer, Fault, FaultDisk, Loop, Mount, SectorSize, skip, skip_unless_fuse, skip_unless_root,
    skip_unless_tools,
};
use serde_json::{Value, json};

use crate::desk::Desk;

const MIB: u64 = 1 << 20;
/// The second partition of each card here.
const ROOT: u64 = 20 * MIB;
const ROOT_LEN: u64 = 40 * MIB;
const CARD_LEN: u64 = 64 * MIB;
/// What is on a card before it is written.
const RUBBISH: u8 = 0xa5;
/// OpenWrt's overlay begins at a multiple of this (`ROOTDEV_OVERLAY_ALIGN` in fstools).
const OVERLAY_ALIGNMENT: u64 = 64 << 10;

const SQUASHFS_TOOLS: [&str; 2] = ["mksquashfs", "unsquashfs"];
const EROFS_TOOLS: [&str; 2] = ["mkfs.erofs", "fsck.erofs"];

/// Makes `card.img` with a FAT to boot from and an empty second partition, and a tree of files to
/// put there, `tree`.
fn card(desk: &Desk) {
    desk.sh(&format!(
        "truncate -s {CARD_LEN} card.img
         printf 'start=8192, size=32768, type=c, bootable\\nstart=40960, size=81920, type=83\\n' \
             | sfdisk -q --no-reread card.img
         mkfs.vfat -F 16 -n BOOT --offset 8192 card.img 16384 >/dev/null
         mkdir -p tree/etc tree/bin
         echo console=ttyS0 > cmdline.txt
         mcopy -i card.img@@4194304 cmdline.txt ::
         echo appliance > tree/etc/hostname
         seq 1 200000 > tree/bin/numbers
         head -c 3000000 /dev/urandom > tree/bin/busybox"
    ));
}

/// Puts the file `name` at `start` of `card.img`.
fn put(desk: &Desk, name: &str, start: u64) {
    desk.sh(&format!(
        "dd if={name} of=card.img bs=4k seek={} conv=notrunc status=none",
        start / 4096
    ));
}

/// Makes `root.squashfs` of the tree, puts it into the second partition, and returns its length with
/// its padding.
fn squashfs(desk: &Desk) -> u64 {
    desk.sh("mksquashfs tree root.squashfs -comp xz -noappend -all-root -quiet -no-progress");
    put(desk, "root.squashfs", ROOT);
    fs::metadata(desk.path("root.squashfs")).unwrap().len()
}

/// Makes `root.erofs` of the tree, puts it into the second partition, and returns its length.
fn erofs(desk: &Desk) -> u64 {
    desk.sh(
        "mkfs.erofs -zlz4hc -U 12345678-1234-1234-1234-123456789abc root.erofs tree \
         >/dev/null",
    );
    put(desk, "root.erofs", ROOT);
    fs::metadata(desk.path("root.erofs")).unwrap().len()
}

/// What `info` says of the second partition.
fn second(desk: &Desk, name: &str, code: i32) -> Value {
    let answer = desk.expect(code, &["info", name, "--json"]);
    answer.json()["contents"]["partitions"][1].clone()
}

/// Backs up `card.img`, restores it to a card full of rubbish, and asserts that the second partition is
/// the same to the last byte.
fn there_and_back(desk: &Desk) {
    desk.expect(0, &["backup", "card.img", "copy.img.zst"]);
    desk.filled("back.img", CARD_LEN, RUBBISH);
    desk.expect(0, &["restore", "copy.img.zst", "back.img", "--yes"]);
    assert_same_root(desk, "back.img");
    // Through a pipe, where nothing can be looked up.
    desk.filled("piped.img", CARD_LEN, RUBBISH);
    desk.sh(&format!(
        "cat card.img | {} restore - piped.img --yes 2>&1",
        env!("CARGO_BIN_EXE_cardkeep")
    ));
    assert_same_root(desk, "piped.img");
    desk.sh("cmp -n 4194304 card.img piped.img
         dd if=back.img of=boot.fat bs=4M skip=1 count=4 status=none
         fsck.vfat -n boot.fat");
}

fn assert_same_root(desk: &Desk, name: &str) {
    desk.sh(&format!("cmp -i {ROOT} -n {ROOT_LEN} card.img {name}"));
}

#[test]
fn an_overlay_behind_a_squashfs_comes_back_whole() {
    let test = "an_overlay_behind_a_squashfs_comes_back_whole";
    if skip_unless_tools(test, &SQUASHFS_TOOLS) {
        return;
    }
    let desk = Desk::new();
    card(&desk);
    let len = squashfs(&desk);
    // As OpenWrt finds it: no table says where it lies.
    let overlay = ROOT + len.next_multiple_of(OVERLAY_ALIGNMENT);
    desk.sh(&format!(
        "mkdir -p overlay/upper/etc
         echo 'the user changed this' > overlay/upper/etc/config
         truncate -s 16M overlay.ext4
         mke2fs -q -t ext4 -L rootfs_data -d overlay overlay.ext4
         dd if=overlay.ext4 of=card.img bs=64k seek={} conv=notrunc status=none",
        overlay / OVERLAY_ALIGNMENT
    ));
    let root = second(&desk, "card.img", 0);
    assert_eq!(root["content"], "squashfs", "{root}");
    assert_eq!(root["fs"]["size_bytes"], len, "{root}");
    assert_eq!(root["fs"]["compression"], "xz", "{root}");
    assert_eq!(root["free_bytes"], 0, "{root}");
    there_and_back(&desk);
    desk.sh(&format!(
        "unsquashfs -q -no-progress -d unpacked -o {ROOT} back.img >/dev/null
         diff -r tree unpacked
         e2fsck -fn 'back.img?offset={overlay}' 2>&1
         debugfs -R 'cat /upper/etc/config' 'back.img?offset={overlay}' 2>/dev/null \
             | grep -x 'the user changed this'"
    ));
}

#[test]
fn zeros_behind_a_squashfs_stay_zeros_so_that_no_old_overlay_is_found() {
    let test = "zeros_behind_a_squashfs_stay_zeros_so_that_no_old_overlay_is_found";
    if skip_unless_tools(test, &SQUASHFS_TOOLS) {
        return;
    }
    let desk = Desk::new();
    card(&desk);
    let len = squashfs(&desk);
    let root = second(&desk, "card.img", 0);
    assert!(root["zero_bytes"].as_u64().unwrap() >= 8 * MIB, "{root}");
    assert_eq!(root["free_bytes"], 0, "{root}");
    assert!(root["used_bytes"].as_u64().unwrap() >= len, "{root}");
    there_and_back(&desk);
}

#[test]
fn an_erofs_root_comes_back_whole() {
    let test = "an_erofs_root_comes_back_whole";
    if skip_unless_tools(test, &EROFS_TOOLS) {
        return;
    }
    let desk = Desk::new();
    card(&desk);
    let len = erofs(&desk);
    // A tree of hashes, as dm-verity has it.
    desk.sh("head -c 100000 /dev/urandom > hashes");
    put(&desk, "hashes", ROOT + len);
    let root = second(&desk, "card.img", 0);
    assert_eq!(root["content"], "erofs", "{root}");
    assert_eq!(root["fs"]["size_bytes"], len, "{root}");
    assert_eq!(root["fs"]["uuid"], "12345678-1234-1234-1234-123456789abc");
    assert_eq!(root["fs"]["compression"], "lz4", "{root}");
    assert_eq!(root["free_bytes"], 0, "{root}");
    there_and_back(&desk);
    desk.sh(&format!(
        "dd if=back.img of=back.erofs bs=4k skip={} count={} status=none
         fsck.erofs --extract=unpacked back.erofs
         diff -r tree unpacked",
        ROOT / 4096,
        len / 4096
    ));
}

#[test]
fn info_tells_how_a_packed_root_was_made() {
    let test = "info_tells_how_a_packed_root_was_made";
    if skip_unless_tools(test, &SQUASHFS_TOOLS) {
        return;
    }
    let desk = Desk::new();
    card(&desk);
    desk.sh(
        "mksquashfs tree root.squashfs -comp zstd -noappend -quiet -no-progress -mkfs-time 1700000000",
    );
    put(&desk, "root.squashfs", ROOT);
    let root = second(&desk, "card.img", 0);
    assert_eq!(root["fs"]["created_seconds"], 1_700_000_000, "{root}");
    let said = desk.expect(0, &["info", "card.img"]).stdout;
    assert!(said.contains("zstd, made 2023-11-14"), "{said}");
    assert!(said.contains("squashfs"), "{said}");
}

/// Catches: believing a superblock against the partition that it lies in.
#[test]
fn a_superblock_that_lies_makes_all_of_the_partition_used() {
    let test = "a_superblock_that_lies_makes_all_of_the_partition_used";
    if skip_unless_tools(test, &[SQUASHFS_TOOLS[0], EROFS_TOOLS[0]]) {
        return;
    }
    let whole_and_told = |desk: &Desk, code: i32, words: &str| {
        let answer = desk.expect(code, &["info", "card.img", "--json"]);
        let root = answer.json()["contents"]["partitions"][1].clone();
        assert_eq!(root["used_bytes"], ROOT_LEN, "{root}");
        let told = answer.json()["troubles"].to_string();
        assert!(told.contains(words), "{told}");
    };
    let desk = Desk::new();
    card(&desk);
    squashfs(&desk);
    // bytes_used of 1 TiB; then blocks of 2^25 bytes.
    poke(&desk, ROOT + 0x28, &(1u64 << 40).to_le_bytes());
    whole_and_told(
        &desk,
        9,
        "partition 2 has 41943040 bytes, but its filesystem 1099511627776",
    );
    squashfs(&desk);
    poke(&desk, ROOT + 0x16, &[25]);
    whole_and_told(&desk, 9, "25 is impossible for block_log");
    erofs(&desk);
    poke(&desk, ROOT + 1024 + 0x24, &[0xFF; 4]);
    whole_and_told(&desk, 9, "the checksum of its superblock");
}

fn poke(desk: &Desk, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let card = fs::File::options().write(true).open(desk.path("card.img"));
    card.unwrap().write_all_at(bytes, offset).unwrap();
}

/// Catches: an overlay that is cut off, because the squashfs in front of it is all that a partition is
/// believed to need.
#[test]
fn a_smaller_card_does_not_cut_what_lies_behind_a_squashfs() {
    let test = "a_smaller_card_does_not_cut_what_lies_behind_a_squashfs";
    if skip_unless_tools(test, &SQUASHFS_TOOLS) {
        return;
    }
    let desk = Desk::new();
    card(&desk);
    squashfs(&desk);
    desk.sh("echo changed > settings");
    put(&desk, "settings", ROOT + ROOT_LEN - 4096);
    desk.filled("small.img", 40 * MIB, RUBBISH);
    let answer = desk.run(&["restore", "card.img", "small.img", "--yes"]);
    assert_ne!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("too small"), "{}", answer.stderr);
    // Nor is an image whole that ends before the overlay does.
    desk.sh("head -c 41943040 card.img > cut.img");
    let Answer { code, stderr, .. } = desk.run(&["backup", "cut.img", "copy.img.zst"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("used bytes are missing"), "{stderr}");
}

#[test]
fn bytes_lost_in_a_squashfs_are_told_by_what_lay_there() {
    let test = "bytes_lost_in_a_squashfs_are_told_by_what_lay_there";
    if skip_unless_fuse(test) || skip_unless_tools(test, &SQUASHFS_TOOLS) {
        return;
    }
    let desk = Desk::new();
    card(&desk);
    squashfs(&desk);
    let bytes = fs::read(desk.path("root.squashfs")).unwrap();
    let bytes_used = u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap());
    let tables = (bytes_used - 1) / 512 * 512;
    let disk = FaultDisk::over(&desk.path("card.img"), SectorSize::Bytes512).unwrap();
    let lost = [ROOT + MIB, ROOT + tables, ROOT + ROOT_LEN - 512];
    for start in lost {
        disk.declare(Fault::Unreadable(Extent::between(start, start + 512)));
    }
    let path = disk.path().to_str().unwrap();
    let words = [
        "backup",
        path,
        "copy.img.zst",
        "--retries",
        "0",
        "--json",
        "--force",
    ];
    let answer = desk.expect(9, &words);
    let lost = answer.json()["lost"].clone();
    let told: Vec<Value> = lost
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["what"].clone())
        .collect();
    assert_eq!(told[0], "packed contents of files", "{lost}");
    assert!(
        told.contains(&json!("directories and lookup tables")),
        "{lost}"
    );
    assert!(
        answer.stderr.contains("in partition 2"),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_kernel_mounts_what_was_restored() {
    let test = "the_kernel_mounts_what_was_restored";
    if skip_unless_root(test) || skip_unless_tools(test, &[SQUASHFS_TOOLS[0], EROFS_TOOLS[0]]) {
        return;
    }
    let kinds = fs::read_to_string("/proc/filesystems").unwrap();
    type Maker = fn(&Desk) -> u64;
    let makers: [(&str, Maker); 2] = [("squashfs", squashfs), ("erofs", erofs)];
    for (kind, make) in makers {
        if !kinds.contains(kind) {
            skip(test, &format!("a kernel with {kind}"));
            continue;
        }
        let desk = Desk::new();
        card(&desk);
        make(&desk);
        there_and_back(&desk);
        let extent = Extent::between(ROOT, ROOT + ROOT_LEN);
        let device = Loop::attach_extent(&desk.path("back.img"), extent);
        let mount = Mount::new(device.path(), "ro").unwrap();
        desk.sh(&format!("diff -r tree {}", mount.path().display()));
    }
}
