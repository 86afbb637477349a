#!/bin/bash
# sample.sh CARDKEEP OUT.img.zst
# Makes the sample card that the program carries: 128 MiB, MBR, FAT32 boot partition, ext4 root with
# the few files that a survey reads and some to look at. Needs root (owners), sfdisk, mkfs.vfat,
# mcopy and mke2fs; CARDKEEP is the program that packs it.
set -euo pipefail
cardkeep=$(readlink -f "$1") out=$2
export SOURCE_DATE_EPOCH=1735689600 LC_ALL=C.UTF-8 TZ=UTC
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mib=2048 boot_start=$((4 * 2048)) boot_sectors=$((40 * 2048)) sectors=$((128 * 2048))
root_start=$((boot_start + boot_sectors))
truncate -s $((sectors * 512)) "$work/card.img"
printf '%s\n' 'label: dos' 'label-id: 0x53414d50' \
  "start=$boot_start,size=$boot_sectors,type=c" \
  "start=$root_start,size=$((sectors - root_start)),type=83" |
  sfdisk -q --no-reread --no-tell-kernel "$work/card.img"

mkdir -p "$work/boot/overlays"
echo 'console=serial0,115200 console=tty1 root=PARTUUID=53414d50-02 rootfstype=ext4 fsck.repair=yes rootwait' > "$work/boot/cmdline.txt"
printf 'arm_64bit=1\ndtparam=audio=on\n' > "$work/boot/config.txt"
for i in $(seq 40); do seq $((i * 1000)) $((i * 1000 + 4000)) > "$work/boot/overlays/sample-$i.dtbo"; done
truncate -s $((boot_sectors * 512)) "$work/fat"
mkfs.vfat -F 32 -s 1 -n bootfs --invariant "$work/fat" > /dev/null
(cd "$work/boot" && find . -exec touch -d @$SOURCE_DATE_EPOCH {} + && mcopy -i "$work/fat" -s -m -o ./* ::)

root=$work/root
mkdir -p "$root"/{etc,usr/lib,home/pi/Documents,var/log,boot/firmware,tmp}
printf '%s\n' 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"' 'NAME="Debian GNU/Linux"' \
  'VERSION_ID="12"' 'VERSION_CODENAME=bookworm' 'ID=debian' > "$root/usr/lib/os-release"
ln -s ../usr/lib/os-release "$root/etc/os-release"
echo 'Raspberry Pi reference 2025-01-01' > "$root/etc/rpi-issue"
echo sample-pi > "$root/etc/hostname"
printf '%s\n' 'PARTUUID=53414d50-01 /boot/firmware vfat defaults 0 2' \
  'PARTUUID=53414d50-02 / ext4 defaults,noatime 0 1' > "$root/etc/fstab"
echo 'This card was made by cardkeep itself.' > "$root/home/pi/Documents/hello.txt"
for i in $(seq 200); do seq $i $((i * 13 + 2000)) > "$root/home/pi/Documents/table-$i.txt"; done
seq 300000 > "$root/var/log/syslog"
ln "$root/var/log/syslog" "$root/var/log/syslog.link"
truncate -s 5M "$root/home/pi/sparse.bin"
find "$root" -exec touch -h -d @$SOURCE_DATE_EPOCH {} +
truncate -s $(((sectors - root_start) * 512)) "$work/ext"
mke2fs -q -t ext4 -L rootfs -U 53414d50-0000-4000-8000-000000000002 -O '^64bit,^huge_file,metadata_csum' \
  -E hash_seed=53414d50-0000-4000-8000-0000000000ff,root_owner=0:0 -d "$root" "$work/ext"
dd if="$work/fat" of="$work/card.img" bs=1M seek=$((boot_start / mib)) conv=notrunc,sparse status=none
dd if="$work/ext" of="$work/card.img" bs=1M seek=$((root_start / mib)) conv=notrunc,sparse status=none
"$cardkeep" backup --quiet --force --level 19 "$work/card.img" "$out"
