#!/bin/bash
# guest.sh DIR
# Makes a virtual machine's kernel and first filesystem in DIR: `vmlinux` and `initrd.gz`, from the archive's own
# linux-image-amd64 and busybox. The machine knows USB card readers, SD slots and the filesystems of cards, and
# runs the commands that it finds in the folder it shares (lab/guest-init.sh); the tests drive it.
# Does nothing where DIR holds both, made by these scripts as they are.
# Needs apt-get with its lists loaded, busybox-static, kmod and xz; no root.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$1"
out=$(readlink -f "$1")
recipe=$(cat "$here/guest.sh" "$here/guest-init.sh" | sha256sum)
if [ "$(cat "$out/recipe" 2> /dev/null)" = "$recipe" ]; then exit 0; fi
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT

package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
(cd "$work" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package" && dpkg-deb -x "$package"_*.deb kernel)
version=$(ls "$work/kernel/lib/modules")
depmod -b "$work/kernel" "$version"

# Unpacked, and started as a guest that knows it is one (PVH): emulated, the kernel's own unpacking is slow.
packed=$work/kernel/boot/vmlinuz-$version
start=$(grep -abom1 $'\xFD7zXZ' "$packed" | head -1 | cut -d: -f1)
tail -c "+$((start + 1))" "$packed" | xz -dc --single-stream > "$work/vmlinux" || :
if [ "$(head -c 4 "$work/vmlinux")" != $'\x7fELF' ]; then echo "$packed holds no kernel packed with xz" >&2; exit 1; fi

root=$work/root
mkdir -p "$root"/{bin,sbin,dev,etc,host,mnt,proc,run/udev,sys,tmp} "$root/lib/modules/$version"
cp "$(command -v busybox)" "$root/bin/busybox"
for name in $("$root/bin/busybox" --list); do
  # It lists itself too.
  [ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
done
modules=(virtio_pci 9p 9pnet_virtio virtio_blk xhci_pci usb_storage sd_mod sdhci_pci mmc_block
  crc32c_generic ext4 vfat nls_cp437 nls_ascii nls_utf8)
for module in "${modules[@]}"; do
  modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
done | sort -u | while read -r file; do
  install -D -m 644 "$file" "$root/${file#"$work"/kernel/}"
done
cp "$work/kernel/lib/modules/$version"/modules.{order,builtin} "$root/lib/modules/$version/"
depmod -b "$root" "$version" 2> /dev/null
# Where the kernel looks for what it needs by itself.
ln -s ../bin/busybox "$root/sbin/modprobe"
printf '%s\n' root:x:0:0::/:/bin/sh pi:x:1000:1000::/:/bin/sh > "$root/etc/passwd"
install -m 755 "$here/guest-init.sh" "$root/init"
(cd "$root" && find . | LC_ALL=C sort | "$root/bin/busybox" cpio -o -H newc 2> /dev/null | gzip -1) > "$work/initrd.gz"
mv "$work/vmlinux" "$work/initrd.gz" "$out/"
echo "$recipe" > "$out/recipe"
