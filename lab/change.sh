#!/bin/bash
# change.sh CARD.img BYTES [SEED]   lets the card's second partition live for a day (see change.py)
# Needs root and loop devices.
set -euo pipefail
image=$1; shift
here=$(dirname "$(readlink -f "$0")")
read -r start size < <(sfdisk -J "$image" | python3 -c '
import json, sys
p = json.load(sys.stdin)["partitiontable"]["partitions"][1]
print(p["start"], p["size"])')
mnt=$(mktemp -d) loop=
trap 'mountpoint -q "$mnt" && umount "$mnt"; [ -z "$loop" ] || losetup -d "$loop"; rmdir "$mnt"' EXIT
loop=$(losetup -f --show -o $((start * 512)) --sizelimit $((size * 512)) "$image")
mount -t ext4 -o noatime,nodiscard "$loop" "$mnt"
python3 "$here/change.py" "$mnt" "$@"
umount "$mnt"
e2fsck -fn "$loop" | tail -1
