#!/bin/bash
# small.sh CARD.img [MIB]   a card of MIB (default 640) in some seconds, to try the benchmarks with:
# MBR, FAT32, ext4, two fifths in use, junk in the free blocks. Its figures mean nothing. No root.
set -euo pipefail
image=$1 mib=${2:-640}
export SOURCE_DATE_EPOCH=1735689600 LC_ALL=C.UTF-8 TZ=UTC
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
boot_start=8192 boot_sectors=$((64 * 2048)) sectors=$((mib * 2048))
root_start=$((boot_start + boot_sectors))
rm -f "$image"
head -c $((mib << 20)) /dev/zero | tr '\0' '\132' > "$image"
head -c $((root_start * 512)) /dev/zero | dd of="$image" bs=1M conv=notrunc status=none
printf '%s\n' 'label: dos' 'label-id: 0x534d414c' \
  "start=$boot_start,size=$boot_sectors,type=c" \
  "start=$root_start,size=$((sectors - root_start)),type=83" |
  sfdisk -q --no-reread --no-tell-kernel "$image"
python3 - "$work" $((mib << 20)) << 'END'
import os, random, sys
work, budget = sys.argv[1], int(sys.argv[2]) * 2 // 5
rng = random.Random(7)
for top in ("boot", "root/usr/lib", "root/home/pi/Pictures", "root/var/cache"):
    os.makedirs(f"{work}/{top}")
number = 0
while budget > 0:
    size = min(int(rng.lognormvariate(10.5, 2)) + 1, 8_000_000)
    top = "boot" if number < 5 else rng.choice(("root/usr/lib", "root/home/pi/Pictures", "root/var/cache"))
    text = "".join(f"{rng.getrandbits(32):x} line of a text\n" for _ in range(200)).encode()
    with open(f"{work}/{top}/f{number:05d}", "wb") as f:
        f.write(rng.randbytes(size) if number % 2 else (text * (size // len(text) + 1))[:size])
    number, budget = number + 1, budget - size
END
truncate -s $((boot_sectors * 512)) "$work/fat"
mkfs.vfat -F 32 -s 1 -n bootfs --invariant "$work/fat" > /dev/null
(cd "$work/boot" && mcopy -i "$work/fat" -s -m -o ./* ::)
dd if="$work/fat" of="$image" bs=1M seek=$((boot_start * 512)) oflag=seek_bytes conv=notrunc status=none
mke2fs -q -F -t ext4 -b 4096 -E "nodiscard,offset=$((root_start * 512))" -d "$work/root" "$image" \
  $(((sectors - root_start) / 2))k
sfdisk -q --verify "$image"
