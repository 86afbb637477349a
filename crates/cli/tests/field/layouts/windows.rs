//! NTFS and exFAT behind the root: both copies of their boot sectors follow when they move.

use cardkeep_testkit::skip_unless_tools;

use super::card::{MIB, Part, blank, bytes_of, format_root, len_of, part, partition};
use crate::desk::Desk;

/// A card of 110 MiB with a root and 20 MiB behind it, which `make` fills as the file `b`; `$start` is
/// the partition's first sector.
fn card(desk: &Desk, kind: &str, make: &str) -> Part {
    let layout = format!(
        "label: dos\nlabel-id: 0x3e5f0001\nstart=2048, size=163840, type=83\n\
         start=165888, size=40960, type={kind}"
    );
    partition(desk, "card.img", 110, &layout);
    format_root(desk, "card.img", 1, "-L root");
    desk.sh(&format!(
        "start=165888; truncate -s 20M b
         {make}
         dd if=b of=card.img bs=64k oflag=seek_bytes seek=$((start * 512)) conv=notrunc status=none"
    ));
    part(desk, "card.img", 2)
}

/// Restores the card to smaller and larger ones; the filesystem passes `check` as the file `own`, and
/// its bytes differ from those before in `places` only.
fn expect_moved(desk: &Desk, old: &Part, check: &str, places: &[(usize, usize)]) {
    let whole = len_of(desk, "card.img");
    let before = bytes_of(desk, "card.img", old);
    for len in [whole - 15 * MIB, whole + 40 * MIB] {
        blank(desk, "card", len);
        desk.expect(0, &["restore", "card.img", "card", "--yes"]);
        let new = part(desk, "card", 2);
        assert_ne!(new.start, old.start);
        let after = bytes_of(desk, "card", &new);
        std::fs::write(desk.path("own"), &after).unwrap();
        desk.sh(&format!("start={}\n{check}", new.start / 512));
        let is_in = |at: usize| {
            places
                .iter()
                .any(|&(from, len)| (from..from + len).contains(&at))
        };
        let pairs = before.iter().zip(&after).enumerate();
        let differing = pairs.filter(|(_, (one, other))| one != other);
        for (at, _) in differing {
            assert!(is_in(at), "byte {at} differs");
        }
    }
}

#[test]
fn both_boot_sectors_of_ntfs_learn_where_the_partition_lies() {
    let name = "both_boot_sectors_of_ntfs_learn_where_the_partition_lies";
    if skip_unless_tools(name, &["mkfs.ntfs", "ntfsfix", "mke2fs", "sfdisk"]) {
        return;
    }
    let desk = Desk::new();
    let old = card(&desk, "7", "mkfs.ntfs -F -f -q -p $start b >/dev/null 2>&1");
    let copy = 20 * MIB as usize - 512;
    // ntfsfix compares the boot sectors byte by byte.
    let check = "ntfsfix -n own | grep -i 'alternate boot sector' | grep -q OK
         [ $(od -An -tu4 -j28 -N4 own) = $start ]
         [ $(tail -c 512 own | od -An -tu4 -j28 -N4) = $start ]";
    expect_moved(&desk, &old, check, &[(0x1c, 4), (copy + 0x1c, 4)]);
}

#[test]
fn both_boot_regions_of_exfat_learn_where_the_partition_lies() {
    let name = "both_boot_regions_of_exfat_learn_where_the_partition_lies";
    if skip_unless_tools(
        name,
        &["mkfs.exfat", "fsck.exfat", "mke2fs", "python3", "sfdisk"],
    ) {
        return;
    }
    let desk = Desk::new();
    // mkfs.exfat leaves 0 as the place; Windows writes it.
    let make = "mkfs.exfat b >/dev/null
         python3 - b $start <<'P'
import struct, sys
with open(sys.argv[1], 'r+b') as f:
    for region in (0, 12 * 512):
        f.seek(region)
        boot = bytearray(f.read(11 * 512))
        struct.pack_into('<Q', boot, 0x40, int(sys.argv[2]))
        total = 0
        for at, byte in enumerate(boot):
            if at not in (106, 107, 112):
                total = (((total & 1) << 31) + (total >> 1) + byte) & 0xffffffff
        f.seek(region)
        f.write(boot + struct.pack('<I', total) * 128)
P
         fsck.exfat -n b >&2";
    let old = card(&desk, "7", make);
    // fsck.exfat and the kernel refuse a boot region whose checksum is wrong.
    let check = "fsck.exfat -n own >&2
         [ $(od -An -tu8 -j64 -N8 own) = $start ]
         [ $(od -An -tu8 -j$((12 * 512 + 64)) -N8 own) = $start ]
         dd if=own of=copy bs=512 skip=12 count=12 status=none; cmp -n 6144 own copy";
    let region = 12 * 512;
    let places = [
        (64, 8),
        (11 * 512, 512),
        (region + 64, 8),
        (region + 11 * 512, 512),
    ];
    expect_moved(&desk, &old, check, &places);
}
