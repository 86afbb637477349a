#!/bin/bash
# roundtrip.sh CARDKEEP CARD.img WORKDIR
# Backs a card up, puts the image onto a medium full of 0xA5, and lets others judge: e2fsck, fsck.fat,
# the kernel's mount and rsync (content, modes, owners, times, links, attributes, ACLs).
# Only what the image says is used or zero is written, so that a byte that its map forgot shows.
# Needs root, loop devices, zstd, e2fsprogs, dosfstools, mtools, rsync, python3, and room for two cards.
set -euo pipefail
cardkeep=$(readlink -f "$1") card=$(readlink -f "$2") work=$3
mkdir -p "$work"
image=$work/roundtrip.img.zst raw=$work/roundtrip.raw copy=$work/roundtrip.img
mnt=$(mktemp -d) loops=()
finish() {
  for m in "$mnt"/*; do if mountpoint -q "$m"; then umount "$m"; fi; done
  for l in "${loops[@]}"; do losetup -d "$l"; done
  rm -rf "$mnt" "$image" "$raw" "$copy"
}
trap finish EXIT
rm -f "$image" "$raw" "$copy"

"$cardkeep" backup --quiet "$card" "$image"
zstd -dq --sparse "$image" -o "$raw"
"$cardkeep" info --quiet --json "$image" > "$mnt/info.json"
head -c "$(stat -c %s "$card")" /dev/zero | tr '\0' '\245' > "$copy"
python3 - "$mnt/info.json" "$raw" "$copy" <<'PY'
import json, os, sys
info = json.load(open(sys.argv[1]))
src, dst = os.open(sys.argv[2], os.O_RDONLY), os.open(sys.argv[3], os.O_RDWR)
for state in ("used", "zero"):
    total = 0
    for start, length in info["map"][state]:
        total += length
        while length:
            part = min(length, 1 << 20)
            os.pwrite(dst, os.pread(src, part, start) if state == "used" else bytes(part), start)
            start, length = start + part, length - part
    print(f"{state}: {total} bytes")
PY

read -r s1 n1 s2 n2 < <(sfdisk -J "$copy" | python3 -c '
import json, sys
p = json.load(sys.stdin)["partitiontable"]["partitions"]
print(p[0]["start"], p[0]["size"], p[1]["start"], p[1]["size"])')
attach() { loops+=("$(losetup -r -f --show -o $(($2 * 512)) --sizelimit $(($3 * 512)) "$1")"); }
attach "$card" "$s1" "$n1"; attach "$copy" "$s1" "$n1"
attach "$card" "$s2" "$n2"; attach "$copy" "$s2" "$n2"
echo "--- fsck.fat"; fsck.fat -n "${loops[1]}"
echo "--- e2fsck"; e2fsck -fn "${loops[3]}"
mkdir "$mnt"/{fat1,fat2,one,two}
echo "--- boot files"
mcopy -i "${loops[0]}" -s -m :: "$mnt/fat1/" && mcopy -i "${loops[1]}" -s -m :: "$mnt/fat2/"
diff -r "$mnt/fat1" "$mnt/fat2" && find "$mnt/fat2" -type f | wc -l
echo "--- root files"
mount -t ext4 -o ro,noload "${loops[2]}" "$mnt/one"
mount -t ext4 -o ro "${loops[3]}" "$mnt/two"
differences=$(rsync -aHAXn --checksum --delete --itemize-changes "$mnt/one/" "$mnt/two/")
[ -z "$differences" ] || { echo "$differences" | head -20; exit 1; }
find "$mnt/two" | wc -l
echo "equal"
