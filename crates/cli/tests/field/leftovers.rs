//! What was on a card before, and what lies where no partition says it does.

mod resized;

use cardkeep_testkit::skip_unless_tools;

use crate::desk::Desk;

/// What `wipefs` finds in partition 2 and on the whole of a file; `$1` is the file, `$2` where the
/// partition begins and `$3` where it ends, in sectors.
const SIGNATURES: &str = r#"
signatures() {
    dd if="$1" of=part bs=512 skip="$2" count=$(($3 - $2)) conv=sparse status=none
    wipefs -n -p part
    wipefs -n -p "$1" | cut -d, -f2-
    blkid -p -o value -s TYPE part
    rm part
}
"#;

/// Makes `old`: a card of 120 MB whose second partition, of 80 MiB, holds btrfs with a RAID 1.0
/// superblock at its end, as the whole card does; each whole for `wipefs`.
const OLD_CARD: &str = r#"
raid() {
    # md(4): version 1.0 lies 8 sectors or a little more before the end, at a multiple of 4 KiB.
    at=$((($2 / 512 - 16) / 8 * 8 * 512))
    python3 - "$1" $(($3 + at)) $((at / 512)) <<'P'
import struct, sys
name, at, sector = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sb = bytearray(256 + 2 * 2)
struct.pack_into('<IIII', sb, 0, 0xa92b4efc, 1, 0, 0)
sb[16:32] = bytes(range(16))
struct.pack_into('<QIIQII', sb, 64, 0, 1, 0, sector, 0, 2)
struct.pack_into('<QQQ', sb, 128, 0, sector, sector)
struct.pack_into('<I', sb, 220, 2)
words = sum(struct.unpack('<65I', sb[:260]))
struct.pack_into('<I', sb, 216, (words & 0xffffffff) + (words >> 32) & 0xffffffff)
with open(name, 'r+b') as f:
    f.seek(at)
    f.write(sb)
P
}
truncate -s 80M b
truncate -s 120M old
sfdisk -q old <<S
label: dos
start=8192, size=8192, type=c
start=16384, size=163840, type=83
S
mkfs.btrfs -q -f --mixed b >&2 2>/dev/null || mkfs.btrfs -q -f -M b >&2
dd if=b of=old bs=1M seek=8 conv=notrunc status=none
rm b
raid old $((80 << 20)) $((8 << 20))
raid old $((120 << 20)) 0
dd if=old of=part bs=1M skip=8 count=80 status=none
wipefs -n part | grep -q linux_raid_member
wipefs -n part | grep -q btrfs
wipefs -n old | grep -q linux_raid_member
rm part
"#;

/// Makes `new.img`, partition 2 of which is swap, without a byte of the old card.
const SWAP_CARD: &str = r#"
truncate -s 120M new.img
sfdisk -q new.img <<S
label: dos
start=8192, size=8192, type=c
start=16384, size=163840, type=82
S
mkfs.vfat -n BOOT --offset 8192 new.img 4096 >&2
truncate -s 80M s
mkswap -q s
dd if=s of=new.img bs=4k count=1 seek=2048 conv=notrunc status=none
rm s
"#;

/// Makes `new.img`, partition 2 of which is ext4 with nothing at its end.
const EXT_CARD: &str = r#"
truncate -s 120M new.img
sfdisk -q new.img <<S
label: dos
start=8192, size=8192, type=c
start=16384, size=163840, type=83
S
mkfs.vfat -n BOOT --offset 8192 new.img 4096 >&2
mke2fs -q -t ext4 -O ^resize_inode -E offset=8388608 new.img 80M
"#;

const TOOLS: [&str; 6] = [
    "mkfs.btrfs",
    "mkfs.vfat",
    "mke2fs",
    "sfdisk",
    "wipefs",
    "python3",
];

fn expect_no_leftovers(desk: &Desk, from: &str, options: &[&str]) {
    desk.sh("cp --sparse=always old card");
    desk.expect(0, &[&["restore", from, "card", "--yes"], options].concat());
    let found = |name: &str| {
        let script = format!("{SIGNATURES}\nsignatures {name} 16384 180224");
        desk.sh(&script)
    };
    assert_eq!(found("card"), found("new.img"), "{from} {options:?}");
}

#[test]
fn what_a_card_held_before_does_not_show_through_free_space() {
    if skip_unless_tools(
        "what_a_card_held_before_does_not_show_through_free_space",
        &TOOLS,
    ) {
        return;
    }
    for new_card in [SWAP_CARD, EXT_CARD] {
        let desk = Desk::new();
        desk.sh(&format!("{OLD_CARD}\n{new_card}"));
        desk.expect(0, &["backup", "new.img", "own.img.zst"]);
        desk.sh("zstd -q new.img -o others.img.zst; gzip -k new.img");
        for from in ["own.img.zst", "new.img", "others.img.zst", "new.img.gz"] {
            for options in [&["--no-expand"][..], &["--no-expand", "--delta"]] {
                expect_no_leftovers(&desk, from, options);
            }
        }
        desk.sh("cp --sparse=always old card");
        let piped = format!(
            "gzip -dc new.img.gz | '{}' restore - card --yes >&2",
            env!("CARGO_BIN_EXE_cardkeep")
        );
        desk.sh(&piped);
        desk.sh(&format!(
            "{SIGNATURES}\n[ \"$(signatures card 16384 180224)\" = \"$(signatures new.img 16384 180224)\" ]"
        ));
    }
}

#[test]
fn a_larger_card_shows_no_raid_of_its_past_behind_the_image() {
    if skip_unless_tools(
        "a_larger_card_shows_no_raid_of_its_past_behind_the_image",
        &TOOLS,
    ) {
        return;
    }
    let desk = Desk::new();
    desk.sh(&format!(
        "{OLD_CARD}\n{EXT_CARD}\nrm new.img.gz 2>/dev/null || true"
    ));
    // The card is the larger one: 120 MB more, of which the end holds a RAID superblock.
    desk.sh("truncate -s 240M old; tail -c 65536 <(head -c 120M old) | dd of=old bs=64k seek=$((240 * 16 - 1)) conv=notrunc status=none");
    for options in [
        &["--no-expand"][..],
        &["--no-expand", "--delta"],
        &["--expand"],
    ] {
        desk.sh("cp --sparse=always old card");
        desk.expect(
            0,
            &[&["restore", "new.img", "card", "--yes"], options].concat(),
        );
        let end = desk.sh("tail -c 1M card | tr -d '\\0' | wc -c");
        assert_eq!(end.trim(), "0", "{options:?}");
        desk.sh("! wipefs -n card | grep raid");
        let root = "dd if=card of=part bs=1M skip=8 status=none; e2fsck -fn part >&2; rm part";
        if options == ["--expand"] {
            desk.sh(root);
        }
    }
}

/// Makes `card.img` with a filesystem of 60 MiB, `$FS`, in a partition of 30 MiB that nothing follows.
const LONGER: &str = r#"
truncate -s 120M card.img
sfdisk -q card.img <<S
label: dos
start=8192, size=8192, type=c
start=16384, size=61440, type=83
S
mkfs.vfat -n BOOT --offset 8192 card.img 4096 >&2
mkdir t; for i in $(seq 1 40); do head -c 1000000 /dev/urandom >t/f$i; done
case $FS in
ext4) mke2fs -q -t ext4 -d t -E offset=8388608 card.img 60M;;
*) mkfs.vfat -F 32 -s 1 --offset 16384 card.img 61440 >&2; mcopy -i card.img@@8388608 t/* ::;;
esac
"#;

#[test]
fn a_filesystem_longer_than_its_partition_is_kept_to_its_end() {
    let name = "a_filesystem_longer_than_its_partition_is_kept_to_its_end";
    if skip_unless_tools(name, &["mke2fs", "mkfs.vfat", "mcopy", "sfdisk"]) {
        return;
    }
    for (fs, check) in [("ext4", "e2fsck -fn"), ("fat", "fsck.fat -n")] {
        let desk = Desk::new();
        desk.sh(&format!("FS={fs}\n{LONGER}"));
        // Somebody has to look at it: exit code 9.
        let answer = desk.expect(9, &["backup", "card.img", "own.img.zst"]);
        let told = "partition 2 has 31457280 bytes, but its filesystem 62914560";
        assert!(answer.stderr.contains(told), "{}", answer.stderr);
        assert!(answer.stderr.contains("sfdisk -N2"), "{}", answer.stderr);
        desk.sh("gzip -k card.img");
        for from in ["own.img.zst", "card.img.gz", "card.img"] {
            desk.filled("card", 120 << 20, 0xA5);
            let code = desk.run(&["restore", from, "card", "--yes"]).code;
            assert!(matches!(code, 0 | 9), "{from}: {code}");
            desk.sh(&format!(
                "dd if=card of=part bs=1M skip=8 count=60 status=none
                 {check} part >&2
                 for f in t/*; do {}; done
                 rm part",
                match fs {
                    "ext4" => "debugfs -R \"dump ${f#t/} out\" part 2>/dev/null; cmp $f out",
                    _ => "mcopy -n -i part ::${f#t/} out; cmp $f out; rm out",
                }
            ));
        }
    }
}

#[test]
fn firmware_far_before_the_first_partition_is_copied() {
    if skip_unless_tools(
        "firmware_far_before_the_first_partition_is_copied",
        &["mkfs.vfat", "sfdisk"],
    ) {
        return;
    }
    let desk = Desk::new();
    desk.sh("
        truncate -s 120M box.img
        echo 'start=204800, size=16384, type=c' | sfdisk -q -X dos box.img
        mkfs.vfat -n BOOT --offset 204800 box.img 8192 >&2
        head -c 20000000 /dev/urandom | dd of=box.img bs=1M seek=70 conv=notrunc status=none
        gzip -k box.img");
    let answer = desk.expect(0, &["backup", "box.img", "own.img.zst"]);
    let told = "104857600 bytes before the first partition";
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
    for from in ["own.img.zst", "box.img", "box.img.gz"] {
        desk.filled("card", 120 << 20, 0xA5);
        desk.expect(0, &["restore", from, "card", "--yes"]);
        desk.sh("cmp -n 104857600 box.img card");
    }
}

#[test]
fn a_card_with_noted_errors_says_which_partition_to_check() {
    let name = "a_card_with_noted_errors_says_which_partition_to_check";
    if skip_unless_tools(name, &["mke2fs", "debugfs", "sfdisk", "e2fsck"]) {
        return;
    }
    let desk = Desk::new();
    desk.sh("
        truncate -s 120M card.img
        printf 'start=2048, size=2048\\nstart=16384, size=229376\\n' | sfdisk -q -X dos card.img
        truncate -s 112M fs
        mke2fs -q -t ext4 fs
        debugfs -w -R 'ssv state 3' fs 2>/dev/null
        dd if=fs of=card.img bs=1M seek=8 conv=notrunc status=none");
    desk.sh("truncate -s 60M small; truncate -s 200M large");
    let refused: [&[&str]; 3] = [
        &["backup", "card.img", "s.img.zst", "--shrink"],
        &["restore", "card.img", "small", "--yes"],
        &["restore", "card.img", "large", "--yes", "--expand"],
    ];
    for call in refused {
        let answer = desk.run(call);
        assert_ne!(answer.code, 0, "{call:?}");
        for words in ["noted errors", "sudo e2fsck -f /dev/sdX2"] {
            assert!(answer.stderr.contains(words), "{call:?}: {}", answer.stderr);
        }
    }
    // What it says helps.
    desk.sh("e2fsck -fy fs >&2 || [ $? = 1 ]; dd if=fs of=card.img bs=1M seek=8 conv=notrunc status=none");
    for call in refused {
        desk.expect(0, call);
    }
}

#[test]
fn no_table_is_told_apart_from_a_damaged_one() {
    let desk = Desk::new();
    desk.sh("truncate -s 40M none.img; mke2fs -q -t ext4 none.img");
    let answer = desk.expect(0, &["info", "none.img"]);
    assert!(
        answer
            .stdout
            .contains("table    none: there are no partitions")
    );
    desk.sh("
        truncate -s 40M bad.img
        printf 'start=2048, size=8192\\nstart=20480, size=8192\\n' | sfdisk -q -X dos bad.img
        printf '\\000\\010\\000\\000' | dd of=bad.img bs=1 seek=470 conv=notrunc status=none");
    let answer = desk.expect(9, &["info", "bad.img"]);
    assert!(
        answer
            .stdout
            .contains("table    damaged: it can't be trusted")
    );
}
