//! Layouts and filesystems that were right at the first try, and have to stay so.
//!
//! Each card is backed up, and restored onto a file of its size that is full of stale bytes. Then every
//! filesystem's own checker finds nothing, and every file is what it was.

use std::path::{Path, PathBuf};

use cardkeep_testkit::{Tool, skip_unless_root, skip_unless_tools};
use serde_json::Value;

use crate::desk::Desk;

/// What lies on a target where a restore writes nothing.
const STALE: u8 = 0xA5;
/// What all tests of this room need.
const TOOLS: [&str; 8] = [
    "sfdisk",
    "mke2fs",
    "e2fsck",
    "debugfs",
    "mkfs.vfat",
    "fsck.fat",
    "mcopy",
    "blkid",
];

/// A table with a boot partition of 40 MiB at 4 MiB and one of 64 MiB behind it, on 120 MiB.
const TWO_PARTITIONS: &str = "truncate -s 120M card.img
sfdisk -q card.img <<S
label: dos
label-id: 0xfea70000
start=8192, size=81920, type=c
start=90112, size=131072, type=83
S
mkfs.vfat -F32 -s1 -n BOOT --offset 8192 card.img 40960 >/dev/null
";

/// A tree of small and larger files in the folder `tree`.
const TREE: &str = "mkdir -p tree/etc tree/home
echo featpi >tree/etc/hostname
for i in $(seq 1 24); do
  head -c $((i*83000)) /dev/urandom >tree/home/f$i
  echo $i >tree/home/small$i
done
";

/// A partition of a card in a file.
struct Place {
    number: u64,
    offset: u64,
    sectors: u64,
    kind: String,
}

/// Returns the partitions of a card that hold something.
fn places(card: &Path) -> Vec<Place> {
    let said = Tool::new("sfdisk").arg("--json").arg(card).run();
    let said: Value = serde_json::from_str(&said).unwrap();
    let parts = said["partitiontable"]["partitions"].as_array().unwrap();
    let name = card.to_str().unwrap();
    let parts = parts.iter().map(|part| Place {
        number: part["node"].as_str().unwrap()[name.len()..]
            .parse()
            .unwrap(),
        offset: part["start"].as_u64().unwrap() * 512,
        sectors: part["size"].as_u64().unwrap(),
        kind: kind_at(card, part["start"].as_u64().unwrap() * 512),
    });
    parts.filter(|place| !place.kind.is_empty()).collect()
}

fn kind_at(card: &Path, offset: u64) -> String {
    let probed = Tool::new("blkid")
        .args(["-p", "-o", "value", "-s", "TYPE", "-O"])
        .arg(offset.to_string())
        .arg(card);
    probed.outcome().1.trim().to_owned()
}

/// Judges the partition of `copy` that lies where `place` lies on `card`.
fn judge(desk: &Desk, card: &Path, copy: &Path, place: &Place) {
    let Place { offset, number, .. } = place;
    let (own, new) = (
        desk.path(&format!("own{number}")),
        desk.path(&format!("new{number}")),
    );
    for (from, to) in [(card, &own), (copy, &new)] {
        std::fs::create_dir(to).unwrap();
        match place.kind.as_str() {
            "vfat" => {
                let part = format!("{}@@{offset}", from.display());
                Tool::new("mcopy")
                    .args(["-s", "-n", "-i", &part, "::"])
                    .arg(to)
                    .run();
            }
            kind if kind.starts_with("ext") => {
                let part = format!("{}?offset={offset}", from.display());
                let request = format!("rdump / {}", to.display());
                Tool::new("debugfs").args(["-R", &request, &part]).run();
            }
            other => panic!("partition {number} holds {other}"),
        }
    }
    Tool::new("diff")
        .args(["-r", "--no-dereference"])
        .args([&own, &new])
        .run();
    match place.kind.as_str() {
        "vfat" => check_fat(desk, card, copy, place),
        _ => {
            let part = cut_out(desk, copy, place);
            Tool::new("e2fsck").arg("-fn").arg(part).run();
        }
    }
}

/// Compares what fsck.fat finds in both: some of these filesystems are odd from the beginning.
fn check_fat(desk: &Desk, card: &Path, copy: &Path, place: &Place) {
    let said = [card, copy].map(|whole| {
        let part = cut_out(desk, whole, place);
        Tool::new("fsck.fat").arg("-n").arg(part).outcome()
    });
    assert_eq!(said[0], said[1]);
}

/// Returns a file with what lies in `place` of a card: not every tool heeds an offset everywhere.
fn cut_out(desk: &Desk, card: &Path, place: &Place) -> PathBuf {
    let part = desk.path("part");
    Tool::new("dd")
        .arg(format!("if={}", card.display()))
        .arg(format!("of={}", part.display()))
        .arg(format!("skip={}", place.offset))
        .arg(format!("count={}", place.sectors * 512))
        .args([
            "bs=1M",
            "iflag=skip_bytes,count_bytes",
            "conv=sparse",
            "status=none",
        ])
        .run();
    part
}

/// Backs up `card.img`, restores it onto stale bytes, and judges the partitions.
fn round_trip(desk: &Desk) -> PathBuf {
    desk.expect(0, &["backup", "card.img", "image.img.zst", "--quiet"]);
    restored(desk)
}

/// Restores `image.img.zst`, a backup of `card.img`, and judges the partitions.
fn restored(desk: &Desk) -> PathBuf {
    let card = desk.path("card.img");
    let len = std::fs::metadata(&card).unwrap().len();
    let copy = desk.filled("copy.img", len, STALE);
    desk.expect(
        0,
        &["restore", "image.img.zst", "copy.img", "--yes", "--quiet"],
    );
    for option in ["--dump", "--verify"] {
        let said = [&card, &copy].map(|path| {
            let said = Tool::new("sfdisk").arg(option).arg(path).run();
            said.replace(&path.display().to_string(), "")
        });
        assert_eq!(said[0], said[1]);
    }
    let places = places(&card);
    assert!(
        !places.is_empty(),
        "a card without filesystems proves nothing"
    );
    for place in &places {
        judge(desk, &card, &copy, place);
    }
    copy
}

/// Makes a card whose second partition was made by mke2fs with `options`, then changed by `more`.
fn ext_card(desk: &Desk, options: &str, more: &str) {
    desk.sh(&format!(
        "{TWO_PARTITIONS}{TREE}truncate -s 64M ext
mke2fs -q -F {options} -d tree ext >/dev/null 2>&1
{more}
dd if=ext of=card.img bs=1M oflag=seek_bytes seek=$((90112*512)) conv=notrunc status=none"
    ));
}

/// Filesystems made with `options`, one after the other.
fn ext_features(test: &str, all_options: &[&str]) {
    if skip_unless_tools(test, &TOOLS) {
        return;
    }
    for options in all_options {
        let desk = Desk::new();
        // mke2fs counts no quota of the files that it copies.
        ext_card(&desk, options, "e2fsck -fy ext >/dev/null || true");
        round_trip(&desk);
    }
}

#[test]
fn ext_filesystems_with_odd_layouts_come_back() {
    ext_features(
        "ext_filesystems_with_odd_layouts_come_back",
        &[
            "-t ext4 -O bigalloc -C 16384",
            "-t ext4 -O meta_bg,^resize_inode",
            "-t ext4 -O sparse_super2",
            "-t ext4 -b 1024 -O ^resize_inode,^has_journal",
            "-t ext4 -O ^flex_bg,^extent,^64bit,uninit_bg,^metadata_csum",
            "-t ext4 -I 1024 -O inline_data",
            "-t ext4 -E packed_meta_blocks=1",
            "-t ext2",
        ],
    );
}

#[test]
fn ext_filesystems_with_odd_features_come_back() {
    ext_features(
        "ext_filesystems_with_odd_features_come_back",
        &[
            "-t ext4 -O encrypt,verity,ea_inode,large_dir",
            "-t ext4 -O casefold -E encoding=utf8",
            "-t ext4 -O quota,project -I 256",
            "-t ext4 -O orphan_file,metadata_csum_seed,stable_inodes",
            "-t ext4 -O ^64bit,^huge_file",
            "-t ext4 -O ^metadata_csum,64bit -g 2048",
            "-t ext4 -O mmp -E mmp_update_interval=1",
            "-t ext3",
        ],
    );
}

#[test]
fn a_cloud_image_whose_root_is_number_one_and_lies_last_comes_back() {
    let test = "a_cloud_image_whose_root_is_number_one_and_lies_last_comes_back";
    if skip_unless_tools(test, &TOOLS) || skip_unless_tools(test, &["sgdisk"]) {
        return;
    }
    let desk = Desk::new();
    desk.sh(&format!(
        "{TREE}truncate -s 300M card.img
sgdisk -n14:2048:+4M -t14:ef02 -n15:0:+36M -t15:ef00 -n16:0:+60M -t16:8300 -n1:0:0 -t1:8305 \
  -c1:cloudimg-rootfs -A1:set:59 card.img >/dev/null
head -c 4194304 /dev/urandom | dd of=card.img bs=1M seek=1 conv=notrunc status=none
start() {{ sgdisk -i$1 card.img | awk '/First sector/ {{print $3}}'; }}
size() {{ sgdisk -i$1 card.img | awk '/Partition size/ {{print $3}}'; }}
mkfs.vfat -F32 -s1 -n UEFI --offset $(start 15) card.img $(($(size 15)/2)) >/dev/null
mkdir boot; head -c 9000000 /dev/urandom >boot/vmlinuz
mke2fs -q -t ext4 -L BOOT -d boot -E offset=$(($(start 16)*512)) card.img $(($(size 16)/2))k
mke2fs -q -t ext4 -L cloudimg-rootfs -O 64bit,metadata_csum,^has_journal -d tree \
  -E offset=$(($(start 1)*512)) card.img $(($(size 1)/2))k"
    ));
    let copy = round_trip(&desk);
    let said = Tool::new("sgdisk").arg("--verify").arg(&copy).run();
    assert!(said.contains("No problems found"), "{said}");
    // The BIOS boot partition holds code and no filesystem: all of it is content.
    desk.sh("cmp -n 4194304 -i 1048576 card.img copy.img");
}

/// Makes a card of NOOBS with this table, this partition of settings and this one with the root.
fn noobs_card(desk: &Desk, table: &str, settings: (u64, u64), boot: u64, root: (u64, u64)) {
    desk.sh(&format!(
        "{TREE}truncate -s 400M card.img
sfdisk -q --no-tell-kernel card.img <<S
label: dos
label-id: 0x000a24f9
unit: sectors
{table}
S
mkfs.vfat -F16 -n RECOVERY --offset 8192 card.img 40960 >/dev/null
mkfs.vfat -F32 -s1 -n BOOT --offset {boot} card.img 40959 >/dev/null
mkdir settings; echo '{{\"os\":\"raspbian\"}}' >settings/installed_os.json
echo root=PARTUUID=000a24f9-07 rootwait >cmdline.txt
mcopy -i card.img@@$(({boot}*512)) cmdline.txt ::
mke2fs -q -t ext4 -L SETTINGS -d settings -E offset=$(({}*512)) card.img {}k
mke2fs -q -t ext4 -L root -d tree -E offset=$(({}*512)) card.img {}k",
        settings.0, settings.1, root.0, root.1
    ));
}

#[test]
fn noobs_cards_come_back_wherever_their_settings_lie() {
    let test = "noobs_cards_come_back_wherever_their_settings_lie";
    if skip_unless_tools(test, &TOOLS) {
        return;
    }
    // Until 1.5 the settings were a primary partition at the end; later a logical one with odd starts.
    let primary = "start=8192, size=81920, type=e
start=90112, size=655360, type=5
start=753664, size=65536, type=83
start=92160, size=81920, type=c
start=176128, size=569344, type=83";
    let logical = "1: start=8192, size=180000, type=e
2: start=188193, size=631007, type=5
5: start=188416, size=65534, type=83
6: start=253952, size=81919, type=c
7: start=335872, size=483327, type=83";
    for (table, settings, boot, root) in [
        (primary, (753_664, 32_768), 92_160, (176_128, 284_672)),
        (logical, (188_416, 32_767), 253_952, (335_872, 241_660)),
    ] {
        let desk = Desk::new();
        noobs_card(&desk, table, settings, boot, root);
        round_trip(&desk);
    }
}

/// A boot partition of 68 MiB, made by mkfs.vfat with `options`, with files that were deleted between
/// others, then changed by `more`.
fn fat_card(desk: &Desk, options: &str, more: &str) {
    desk.sh(&format!(
        "truncate -s 72M card.img
printf 'label: dos\\nstart=8192, size=139264, type=c\\n' | sfdisk -q card.img
printf '3000\\n3001\\n9000\\n' >bad
truncate -s 68M fat
mkfs.vfat -F32 -s1 -n BOOT {options} fat >/dev/null
for i in $(seq 1 12); do
  head -c $((100000+i*997)) /dev/urandom >k$i.img; mcopy -i fat k$i.img ::
done
for i in 3 7 11; do mdel -i fat ::k$i.img; done
head -c 400000 /dev/urandom >frag.bin; mcopy -i fat frag.bin ::
poke() {{ dd of=fat bs=1 seek=$1 conv=notrunc status=none; }}
{more}
dd if=fat of=card.img bs=1M seek=4 conv=notrunc status=none"
    ));
}

#[test]
fn boot_partitions_with_faults_that_users_report_come_back_with_all_their_files() {
    let test = "boot_partitions_with_faults_that_users_report_come_back_with_all_their_files";
    if skip_unless_tools(test, &TOOLS) {
        return;
    }
    let differing = "printf '\\377\\377\\377\\17' | \
        poke $((32*512 + $(od -An -tu4 -j36 -N4 fat)*512 + 60000*4))";
    for (fault, options, more, code) in [
        ("bad clusters are marked", "-l bad", "true", 0),
        ("the dirty flag is set", "", "printf '\\1' | poke 65", 0),
        (
            "the count of free clusters is wrong",
            "",
            "printf '\\5\\0' | poke 1000",
            0,
        ),
        ("the copies of the FAT differ", "", differing, 9),
    ] {
        let desk = Desk::new();
        fat_card(&desk, options, more);
        let said = desk.run(&["backup", "card.img", "image.img.zst", "--quiet"]);
        assert_eq!(said.code, code, "{fault}: {}", said.stderr);
        restored(&desk);
    }
}

#[test]
fn a_file_of_thousands_of_extents_comes_back() {
    let test = "a_file_of_thousands_of_extents_comes_back";
    if skip_unless_root(test) || skip_unless_tools(test, &TOOLS) {
        return;
    }
    let desk = Desk::new();
    ext_card(&desk, "-t ext4 -b 1024", SCATTERED);
    let extents = desk.sh("debugfs -R 'stat /vm' ext 2>/dev/null | grep -o '([0-9-]*):' | wc -l");
    let extents: u64 = extents.trim().parse().unwrap();
    assert!(extents > 4000, "{extents}");
    round_trip(&desk);
}

/// Lets the kernel write a file whose blocks lie far apart, since each block between them is taken.
const SCATTERED: &str = "mkdir mnt
device=$(losetup -f --show ext)
trap 'umount mnt; losetup -d $device' EXIT
mount $device mnt
python3 - <<'P'
import os
filler = open('mnt/filler', 'wb'); scattered = open('mnt/vm', 'wb')
for i in range(5000):
    os.pwrite(scattered.fileno(), os.urandom(1024), i * 3 * 1024)
    os.pwrite(filler.fileno(), b'Z' * 3072, i * 3072)
    if i % 64 == 0:
        os.fsync(scattered.fileno()); os.fsync(filler.fileno())
P
rm mnt/filler
umount mnt; losetup -d $device; trap - EXIT";
