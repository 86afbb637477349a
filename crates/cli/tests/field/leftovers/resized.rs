//! What a card held before doesn't show through where partitions got another length or moved.

use cardkeep_testkit::skip_unless_tools;

use crate::desk::Desk;

/// What a card may have held: the program that makes it, and how it makes it in the file `b`.
/// `raid`, `zfs` and `found` are functions of `HELPERS`.
const OLD_KINDS: [(&str, &str); 11] = [
    ("mkfs.xfs", "mkfs.xfs -q -f --unsupported b 2>/dev/null"),
    (
        "cryptsetup",
        "printf key | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 \
         --pbkdf-force-iterations 1000 b -",
    ),
    ("mkfs.f2fs", "mkfs.f2fs -q b"),
    ("mkfs.exfat", "mkfs.exfat b"),
    ("mkfs.ntfs", "mkfs.ntfs -F -f -q b"),
    ("mkswap", "mkswap -q b"),
    ("mkfs.btrfs", "mkfs.btrfs -q -f --mixed b"),
    ("mke2fs", "mke2fs -q -F -t ext4 b"),
    ("python3", "raid 0 $(((size / 512 - 16) / 8 * 8)) b"),
    ("python3", "raid 2 8 b"),
    ("python3", "zfs b"),
];

/// Those of them that are known by their last bytes.
const AT_THE_END: [(&str, &str); 2] = [OLD_KINDS[8], OLD_KINDS[10]];

/// `raid MINOR SECTOR FILE` writes a superblock of md(4) of version 1.MINOR; `zfs FILE` the magic
/// numbers of the uberblocks in the four labels of a pool (ZFS On-Disk Specification, sections 1.2
/// and 1.3). `found FILE` says what is found on a card and in its partitions, whose first and last
/// sectors stand in the file `places`.
const HELPERS: &str = r#"
raid() { python3 - "$1" "$2" "$3" <<'P'
import struct, sys
minor, sector, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
sb = bytearray(256 + 2 * 2)
struct.pack_into('<IIII', sb, 0, 0xa92b4efc, 1, 0, 0)
sb[16:32] = bytes(range(16))
struct.pack_into('<QIIQII', sb, 64, 0, 1, 0, sector, 0, 2)
struct.pack_into('<QQQ', sb, 128, 4096 if minor else 0, sector, sector)
struct.pack_into('<I', sb, 220, 2)
words = sum(struct.unpack('<65I', sb[:260]))
struct.pack_into('<I', sb, 216, (words & 0xffffffff) + (words >> 32) & 0xffffffff)
with open(name, 'r+b') as f:
    f.seek(sector * 512)
    f.write(sb)
P
}
zfs() { python3 - "$1" <<'P'
import os, struct, sys
LABEL = 256 << 10
with open(sys.argv[1], 'r+b') as f:
    size = f.seek(0, os.SEEK_END) // LABEL * LABEL
    for label in (0, LABEL, size - 2 * LABEL, size - LABEL):
        for index in range(128):
            f.seek(label + (128 << 10) + index * 1024)
            f.write(struct.pack('<QQQQQ', 0x00bab10c, 5000, index, 0, 0))
P
}
found() {
    wipefs -n -p "$1" | cut -d, -f1,3,4
    while read -r start sectors; do
        dd if="$1" of=part bs=512 skip=$start count=$sectors conv=sparse status=none
        echo "at $start: $(wipefs -n -p part | cut -d, -f1,3,4 | tr '\n' ' ')"
        rm part
    done <places
}
"#;

/// A card of 156 MiB whose root can be resized if the swap behind it moves: `new.img`.
const NEW_CARD: &str = r#"
truncate -s 156M new.img
sfdisk -q new.img <<S
label: dos
label-id: 0x1ef70000
start=2048, size=8192, type=c
start=10240, size=159744, type=83
start=169984, size=147456, type=82
S
mkfs.vfat -n BOOT --offset 2048 new.img 4096 >&2
mkdir -p root/etc; echo NAME=Debian >root/etc/os-release
mke2fs -q -t ext4 -O ^resize_inode -d root -E offset=$((10240 * 512)) new.img 78M
truncate -s 72M s; mkswap -q s
dd if=s of=new.img bs=4k count=1 seek=$((169984 / 8)) conv=notrunc status=none
"#;

/// Makes the card `card` of `$len` bytes that holds a kind of content, made by `$make`, wherever the
/// later card has something: as a whole, and in each partition from the second on.
const OLD_CARD: &str = r#"
old_at() {
    size=$2
    rm -f b; truncate -s $size b
    eval "$make" >&2
    test -n "$(wipefs -n -p b)"
    dd if=b of=card bs=64k oflag=seek_bytes seek=$1 conv=notrunc,sparse status=none
    rm b
}
rm -f card; truncate -s $len card
old_at 0 $len
tail -n +2 places >later
while read -r start sectors; do old_at $((start * 512)) $((sectors * 512)); done <later
"#;

/// Runs `call`, a restore onto `card`, onto a card of `len` bytes that was blank before and onto cards
/// that held one of `kinds` in the places where the partitions come to lie; nothing of that is found
/// afterwards.
fn expect_nothing_left(desk: &Desk, kinds: &[(&str, &str)], call: &[&str], len: u64) {
    desk.sh(&format!("rm -f card; truncate -s {len} card"));
    desk.expect(0, call);
    let clean = desk.sh(&format!(
        "{HELPERS}
         sfdisk -l -o Start,Sectors card | sed -n '/Start/,$p' | tail -n +2 >places
         found card"
    ));
    for (tool, make) in kinds {
        if skip_unless_tools(&format!("what was made by `{make}`"), &[tool]) {
            continue;
        }
        desk.sh(&format!("{HELPERS}\nlen={len}; make='{make}'\n{OLD_CARD}"));
        desk.expect(0, call);
        let found = desk.sh(&format!("{HELPERS}\nfound card"));
        assert_eq!(found, clean, "{call:?}: {make}");
    }
}

#[test]
fn what_a_card_held_before_does_not_show_where_partitions_moved() {
    let name = "what_a_card_held_before_does_not_show_where_partitions_moved";
    let tools = ["mkfs.vfat", "mke2fs", "mkswap", "sfdisk", "wipefs"];
    if skip_unless_tools(name, &tools) {
        return;
    }
    let desk = Desk::new();
    desk.sh(NEW_CARD);
    let restore = ["restore", "new.img", "card", "--yes"];
    // Shorter, and with another place for the swap.
    expect_nothing_left(&desk, &OLD_KINDS, &restore, 150 << 20);
    desk.sh("! grep -q '^ *169984 ' places");
    // Longer; what is compared isn't wiped at its end beforehand.
    let compared = [&restore[..], &["--delta"]].concat();
    expect_nothing_left(&desk, &OLD_KINDS, &compared, 200 << 20);
    desk.sh("! grep -q '^ *169984 ' places");
}

/// A stream whose table doesn't lie at its beginning: logical partitions have a record each. The
/// partition that grows ends within the card.
#[test]
fn what_a_card_held_before_does_not_show_at_the_end_of_what_grows_out_of_a_stream() {
    let name = "what_a_card_held_before_does_not_show_at_the_end_of_what_grows_out_of_a_stream";
    let tools = ["mkfs.vfat", "mke2fs", "sfdisk", "wipefs"];
    if skip_unless_tools(name, &tools) {
        return;
    }
    let desk = Desk::new();
    desk.sh(r#"
        truncate -s 60M new.img
        sfdisk -q new.img <<S
label: dos
label-id: 0x1ef70001
1: start=2048, size=8192, type=c
2: start=10240, size=112640, type=5
5: start=12288, size=110592, type=83
S
        mkfs.vfat -n BOOT --offset 2048 new.img 4096 >&2
        mkdir -p root/etc; echo NAME=Debian >root/etc/os-release
        mke2fs -q -t ext4 -O ^resize_inode -d root -E offset=$((12288 * 512)) new.img 54M
        gzip -1 new.img"#);
    let call = ["restore", "new.img.gz", "card", "--yes", "--expand=80MiB"];
    expect_nothing_left(&desk, &AT_THE_END, &call, 100 << 20);
}
