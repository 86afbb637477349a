#!/bin/bash
# rootfs.sh OUT.tar.zst
# A Raspberry Pi root tree out of real Debian arm64 packages, without emulation: the packages are
# downloaded by a private apt and unpacked natively (dpkg-deb), not configured. Takes a few minutes
# and about 1 GB of downloads. Needs root (owners and modes), zstd, and Debian's archive keyring.
# PKGS may name other packages.
set -euo pipefail
out=$(readlink -f "$1")
suite=${SUITE:-bookworm}
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1735689600}
pkgs=${PKGS:-base-files base-passwd bash coreutils dpkg apt systemd-sysv udev dbus ifupdown
  isc-dhcp-client iproute2 iputils-ping raspi-firmware linux-image-arm64 firmware-brcm80211
  initramfs-tools zstd openssh-server sudo python3 ca-certificates cron rsyslog logrotate sqlite3
  curl nano less wpasupplicant parted fdisk dosfstools e2fsprogs build-essential git vim nodejs
  ffmpeg chromium golang-go fonts-dejavu firmware-misc-nonfree python3-numpy}
# The mirrors are the ones that this system's own apt uses.
mirror_of() { apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
  awk -v r="$1" '$2==r{print $1; exit}'; }
mirror=${MIRROR:-$(mirror_of "$suite")} security=${SECURITY:-$(mirror_of "$suite-security")}
work=${WORKDIR:-$(mktemp -d)}
trap 'rm -rf "$work"' EXIT
root=$work/root apt=$work/apt
mkdir -p "$root" "$apt"/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial,log}
: > "$apt/status"
key=/usr/share/keyrings/debian-archive-keyring.gpg
{ echo "deb [arch=arm64 signed-by=$key] $mirror $suite main non-free-firmware"
  [ -z "$security" ] || echo "deb [arch=arm64 signed-by=$key] $security $suite-security main non-free-firmware"
} > "$apt/etc/sources.list"
cat > "$apt/apt.conf" <<CONF
Dir::Etc "$apt/etc"; Dir::State "$apt/state"; Dir::State::status "$apt/status";
Dir::Cache "$apt/cache"; Dir::Log "$apt/log"; Debug::NoLocking "true"; APT::Sandbox::User "root";
APT::Architecture "arm64"; APT::Architectures "arm64"; APT::Install-Recommends "false";
Acquire::Languages "none";
CONF
export APT_CONFIG=$apt/apt.conf
apt-get -qq update
# shellcheck disable=SC2086  # a list of words
apt-get -qq -y --download-only install $pkgs > "$work/apt.log"
unset APT_CONFIG
for deb in "$apt"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" |
    tar -C "$root" -x --keep-directory-symlink --numeric-owner
done
# What configuring the packages would have left behind and a survey wants to see.
echo pihole > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tpihole\n' > "$root/etc/hosts"
printf '%s\n' 'proc /proc proc defaults 0 0' \
  'PARTUUID=43415244-01 /boot/firmware vfat defaults 0 2' \
  'PARTUUID=43415244-02 / ext4 defaults,noatime 0 1' > "$root/etc/fstab"
mkdir -p "$root/boot/firmware" "$root/home/pi"
cp -r "$root"/usr/lib/raspi-firmware/* "$root/boot/firmware/"
cp "$root"/boot/vmlinuz-* "$root/boot/firmware/kernel8.img"
echo 'console=tty1 root=PARTUUID=43415244-02 rootfstype=ext4 fsck.repair=yes rootwait' \
  > "$root/boot/firmware/cmdline.txt"
tar -C "$root" --sort=name --numeric-owner --xattrs --clamp-mtime --mtime="@$SOURCE_DATE_EPOCH" \
  -cf - . | zstd -q -3 -T0 -f -o "$out"
du -sxm "$root"
