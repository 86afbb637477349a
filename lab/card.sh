#!/bin/bash
# card.sh ROOTFS.tar.zst CARD.img [BYTES]
# A Raspberry Pi OS card as pi-gen lays it out (RPi-Distro/pi-gen, export-image/prerun.sh): MBR,
# FAT32 boot partition of 512 MiB at 8 MiB, ext4 root (^64bit,^huge_file, metadata_csum) made small
# and grown to the end of the card as the first boot does. BYTES defaults to a real 8 GB card.
# Needs root and loop devices.
set -euo pipefail
tarball=$(readlink -f "$1") image=$2 bytes=${3:-7948206080}
boot_start=16384 boot_sectors=$((512 * 2048))
root_start=$((boot_start + boot_sectors)) sectors=$((bytes / 512))
work=$(mktemp -d) loop=
trap 'mountpoint -q "$work/root" && umount "$work/root"; [ -z "$loop" ] || losetup -d "$loop"; rm -rf "$work"' EXIT
rm -f "$image"
truncate -s "$bytes" "$image"
printf '%s\n' 'label: dos' 'label-id: 0x43415244' \
  "start=$boot_start,size=$boot_sectors,type=c" \
  "start=$root_start,size=$((sectors - root_start)),type=83" |
  sfdisk -q --no-reread --no-tell-kernel "$image"

mkdir "$work/root" "$work/boot"
loop=$(losetup -f --show -o $((root_start * 512)) "$image")
mkfs.ext4 -q -b 4096 -I 256 -L rootfs -U 43415244-0000-4000-8000-000000000002 \
  -O '^64bit,^huge_file,^orphan_file,metadata_csum' "$loop" 3500M
[ "$bytes" -lt 4300000000 ] || resize2fs "$loop" > /dev/null 2>&1
mount -o noatime,nodiscard "$loop" "$work/root"
zstd -dcq "$tarball" | tar -C "$work/root" -x --numeric-owner --xattrs
mv "$work/root/boot/firmware/"* "$work/boot/"
umount "$work/root"
losetup -d "$loop"; loop=

truncate -s $((boot_sectors * 512)) "$work/fat"
mkfs.vfat -F 32 -s 4 -n bootfs --invariant "$work/fat" > /dev/null
(cd "$work/boot" && mcopy -i "$work/fat" -s -m -o ./* ::)
dd if="$work/fat" of="$image" bs=1M seek=$((boot_start * 512)) oflag=seek_bytes conv=notrunc,sparse status=none
sfdisk -q --verify "$image"
